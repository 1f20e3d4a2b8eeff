// info, check, compare.
#include <sys/stat.h>

#include "apps/disk/json.h"
#include "apps/disk/session.h"
#include "apps/text.h"

namespace yado::apps {

namespace {

using Json = nlohmann::ordered_json;
using storage::printable;

/// What the file takes on the host.
Bytes allocated(const std::string& path) {
    struct stat st{};
    return stat(path.c_str(), &st) == 0 ? Bytes(static_cast<uint64_t>(st.st_blocks) * 512) : Bytes(0);
}

Json to_json(const std::string& path, const storage::ImageInfo& info) {
    Json json{{"path", path}, {"format", info.format}, {"variant", info.variant}, {"size", info.size.value()}, {"allocated", allocated(path).value()}};
    if (info.cluster_size) json["cluster_size"] = info.cluster_size->value();
    if (info.backing) json["backing"] = {{"path", info.backing->path}, {"format", info.backing->format}};
    json["snapshots"] = apps::to_json(info.snapshots);
    json["details"] = Json::object();
    for (const auto& [key, value] : info.details) json["details"][key] = value;
    return json;
}

void print_info(const std::string& path, const storage::ImageInfo& info) {
    std::vector<std::vector<std::string>> rows = {{"IMAGE", path},
                                                  {"format", info.variant.empty() ? info.format : fmt::format("{}, {}", info.format, info.variant)},
                                                  {"size", api::to_string(info.size)},
                                                  {"on disk", api::to_string(Bytes(allocated(path).value() >> 10 << 10))}};
    if (info.cluster_size) rows.push_back({"cluster size", api::to_string(*info.cluster_size)});
    if (info.backing)
        rows.push_back({"backing file", fmt::format("{} (format {})", printable(info.backing->path),
                                                    info.backing->format.empty() ? "not named" : printable(info.backing->format))});
    for (const auto& [key, value] : info.details) rows.push_back({printable(key), printable(value)});
    if (!info.snapshots.empty()) rows.push_back({"snapshots", fmt::format("{}", info.snapshots.size())});
    print_table(rows);
}

void print_report(const storage::CheckReport& report) {
    for (const std::string& finding : report.findings) fmt::print("{}\n", printable(finding));
    if (report.total > 0) fmt::print("{} of {} clusters in use\n", report.allocated, report.total);
    if (report.repaired > 0) fmt::print("{} repaired\n", report.repaired);
    if (report.errors == 0 && report.leaks == 0) fmt::print("no errors\n");
    else fmt::print("{} errors, {} leaked clusters{}\n", report.errors, report.leaks, report.errors == 0 ? " (space is lost, no data)" : "");
}

Result<storage::Repair> repair_of(const std::string& text) {
    if (text.empty()) return storage::Repair::No;
    if (text == "leaks") return storage::Repair::Leaks;
    if (text == "all") return storage::Repair::All;
    return fail(ErrorKind::Usage, "--repair {}: choose leaks or all", text);
}

}  // namespace

Result<> disk_info(const ImageOption& image, Format format) {
    DiskSession session;
    const std::string known = YADO_TRY(session.format_of(image, Guess::Allowed));
    const storage::ImageInfo info = YADO_TRY(session.wait(storage::read_info(session.executor(), image.path, known)));
    if (format == Format::Json) fmt::print("{}\n", text_of(to_json(image.path, info)));
    else print_info(image.path, info);
    return {};
}

Result<int> disk_check(const ImageOption& image, const std::string& repair, Format format) {
    DiskSession session;
    const storage::Repair what = YADO_TRY(repair_of(repair));
    const std::string known = YADO_TRY(session.format_of(image, what == storage::Repair::No ? Guess::Allowed : Guess::Refused));
    const auto report = YADO_TRY(session.wait(storage::check_image(session.executor(), image.path, known, what)));
    if (format == Format::Json) {
        fmt::print("{}\n", text_of(Json{{"errors", report.errors}, {"leaks", report.leaks}, {"repaired", report.repaired}, {"allocated", report.allocated},
                                        {"total", report.total}, {"findings", report.findings}}));
    } else {
        print_report(report);
    }
    return report.errors == 0 ? 0 : 1;
}

Result<int> disk_compare(const ImageOption& left, const ImageOption& right, Format format) {
    DiskSession session;
    auto a = YADO_TRY(session.chain_of(left, Guess::Allowed));
    auto b = YADO_TRY(session.chain_of(right, Guess::Allowed));
    const storage::Control control = session.control();
    const auto result = YADO_TRY(session.wait(storage::compare(session.executor(), std::move(a), std::move(b), control)));
    if (format == Format::Json) {
        Json json{{"same", result.same()}, {"sizes", {result.left.value(), result.right.value()}}};
        if (result.difference) json["difference"] = result.difference->value();
        fmt::print("{}\n", text_of(json));
    } else if (!result.same()) {
        fmt::print("the images differ at byte {}\n", result.difference->value());
    } else if (result.left != result.right) {
        fmt::print("the images are alike, but for {} bytes of zeroes that one has more\n",
                   (std::max(result.left, result.right) - std::min(result.left, result.right)).value());
    } else {
        fmt::print("the images are alike\n");
    }
    return result.same() ? 0 : 1;
}

}  // namespace yado::apps
