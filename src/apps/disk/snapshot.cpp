// snapshot create, list, delete, rollback: those inside an image that no guest uses.
#include <ctime>

#include "apps/disk/json.h"
#include "apps/disk/session.h"
#include "apps/text.h"

namespace yado::apps {

namespace {

std::string time_text(int64_t seconds) {
    const time_t time = seconds;
    tm parts{};
    char text[32];
    if (!gmtime_r(&time, &parts) || strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0) return "?";
    return text;
}

Result<storage::SnapshotVerb> verb_of(const std::string& word) {
    if (word == "create") return storage::SnapshotVerb::Create;
    if (word == "delete") return storage::SnapshotVerb::Delete;
    if (word == "rollback") return storage::SnapshotVerb::Rollback;
    return fail(ErrorKind::Usage, "there is no verb disk snapshot {}", word);
}

}  // namespace

nlohmann::ordered_json to_json(const std::vector<storage::Snapshot>& snapshots) {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const storage::Snapshot& s : snapshots)
        list.push_back({{"id", s.id}, {"name", s.name}, {"size", s.disk_size.value()}, {"vm_state_size", s.vm_state_size.value()}, {"time", time_text(s.seconds)}});
    return list;
}

Result<> disk_snapshot(const std::string& verb, const ImageOption& image, const std::string& name) {
    DiskSession session;
    const storage::SnapshotVerb what = YADO_TRY(verb_of(verb));
    const std::string format = YADO_TRY(session.format_of(image, Guess::Refused));
    return session.wait(storage::change_snapshot(session.executor(), image.path, format, what, name));
}

Result<> disk_snapshot_list(const ImageOption& image, Format format) {
    DiskSession session;
    const std::string known = YADO_TRY(session.format_of(image, Guess::Allowed));
    const auto info = YADO_TRY(session.wait(storage::read_info(session.executor(), image.path, known)));
    if (format == Format::Json) {
        fmt::print("{}\n", text_of(to_json(info.snapshots)));
        return {};
    }
    std::vector<std::vector<std::string>> rows = {{"ID", "NAME", "SIZE", "TIME"}};
    for (const storage::Snapshot& s : info.snapshots)
        rows.push_back({storage::printable(s.id), storage::printable(s.name), api::to_string(s.disk_size), time_text(s.seconds)});
    print_table(rows);
    return {};
}

}  // namespace yado::apps
