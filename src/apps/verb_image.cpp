#include <unistd.h>

#include <chrono>

#include "apps/image/debian.h"
#include "apps/text.h"
#include "apps/verbs.h"

namespace yado::apps {

Result<> image_build(const std::string& what, const std::string& name, const std::string& size, bool force) {
    if (what != "debian") return fail(ErrorKind::Usage, "unknown image \"{}\"; known images are debian", what);
    const std::string as = name.empty() ? what : name;
    YADO_TRY(api::check_name(as));
    const Bytes bytes = YADO_TRY(api::parse_size(size));
    const auto store = YADO_TRY(ImageStore::open());
    const auto began = std::chrono::steady_clock::now();
    const auto seconds = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count(); };
    YADO_TRY(build_debian(store, as, bytes, force, [&](std::string_view step) { fmt::print(stderr, "[{:5.1f} s] {}\n", seconds(), step); }));
    const Image image = YADO_TRY(store.find(as));
    fmt::print("{}: {}, {} on disk\n", as, image.description, api::to_string(Bytes(image.allocated.value() >> 20 << 20)));
    return {};
}

Result<> image_names() {
    for (const Image& image : YADO_TRY(ImageStore::open()).list()) fmt::print("{}\n", image.name);
    return {};
}

Result<> image_list(Format format) {
    const auto store = YADO_TRY(ImageStore::open());
    const auto images = store.list();
    if (format == Format::Json) {
        fmt::print("{}\n", to_json(images));
        return {};
    }
    std::vector<std::vector<std::string>> rows = {{"NAME", "SIZE", "ON DISK", "BUILT", "WHAT"}};
    for (const Image& image : images)
        rows.push_back({image.name, api::to_string(image.size), api::to_string(Bytes(image.allocated.value() >> 20 << 20)), image.built, image.description});
    print_table(rows);
    return {};
}

}  // namespace yado::apps
