#include "apps/image/store.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "api/guest_config.h"

namespace yado::apps {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

std::string default_path() {
    if (const char* forced = getenv("YADO_IMAGE_DIR"); forced && *forced) return forced;
    if (geteuid() == 0) return "/var/cache/yado/images";
    if (const char* cache = getenv("XDG_CACHE_HOME"); cache && *cache) return std::string(cache) + "/yado/images";
    const char* home = getenv("HOME");
    return std::string(home && *home ? home : "/tmp") + "/.cache/yado/images";
}

std::string text_of(const Json& json, const char* key) {
    const auto item = json.find(key);
    return item != json.end() && item->is_string() ? item->get<std::string>() : "";
}

Result<Image> read_image(const std::string& folder, const std::string& name) {
    std::ifstream in(folder + "/image.json");
    if (!in) return fail(ErrorKind::NotFound, "no image named {}; yado image build debian makes one, yado image ls lists them", name);
    const Json json = Json::parse(in, nullptr, false);
    if (!json.is_object()) return fail(ErrorKind::Corrupt, "{}/image.json is damaged; build the image again with --force", folder);
    const auto path = [&](const char* key) { return text_of(json, key).empty() ? "" : folder + "/" + text_of(json, key); };
    Image image{.name = name, .kernel = path("kernel"), .initrd = path("initrd"), .disk = path("disk"), .append = text_of(json, "append"),
                .format = text_of(json, "format"), .built = text_of(json, "built"), .description = text_of(json, "description")};
    struct stat st {};
    if (stat(image.disk.c_str(), &st) != 0) return fail(ErrorKind::Corrupt, "image {}: {} is missing; build the image again with --force", name, image.disk);
    image.size = Bytes(static_cast<uint64_t>(st.st_size));
    image.allocated = Bytes(static_cast<uint64_t>(st.st_blocks) * 512);
    return image;
}

}  // namespace

Result<ImageStore> ImageStore::open() {
    const std::string path = default_path();
    std::error_code error;
    fs::create_directories(path, error);
    if (error) return std::unexpected(errno_error(error.value(), "image directory " + path));
    return ImageStore(path);
}

Result<Image> ImageStore::find(const std::string& name) const {
    YADO_TRY(api::check_name(name));
    return read_image(folder_of(name), name);
}

std::vector<Image> ImageStore::list() const {
    std::vector<Image> images;
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(path_, ignored)) {
        const std::string name = entry.path().filename();
        if (!api::check_name(name)) continue;
        if (auto image = find(name)) images.push_back(std::move(*image));
    }
    std::ranges::sort(images, {}, &Image::name);
    return images;
}

Result<> ImageStore::describe(const std::string& folder, const Image& image) {
    const Json json = {{"kernel", image.kernel}, {"initrd", image.initrd}, {"disk", image.disk}, {"format", image.format},
                       {"append", image.append}, {"built", image.built},   {"description", image.description}};
    std::ofstream out(folder + "/image.json");
    out << json.dump(2) << "\n";
    out.close();
    if (!out) return fail_errno(folder + "/image.json");
    return {};
}

std::string to_json(const std::vector<Image>& images) {
    Json list = Json::array();
    for (const Image& i : images)
        list.push_back({{"name", i.name}, {"description", i.description}, {"built", i.built}, {"size", i.size.value()},
                        {"allocated", i.allocated.value()}, {"kernel", i.kernel}, {"initrd", i.initrd}, {"disk", i.disk}, {"append", i.append}});
    return list.dump();
}

}  // namespace yado::apps
