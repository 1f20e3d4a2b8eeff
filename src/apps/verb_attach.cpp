// yado attach and yado detach: disks that come and go while a guest runs.
#include <chrono>
#include <filesystem>

#include "apps/guest_events.h"
#include "apps/reach.h"
#include "apps/verbs.h"

namespace yado::apps {

namespace {

constexpr auto kOpenTime = std::chrono::seconds(60);  // an image may lie on a server

/// The guest's process has another working folder.
void make_absolute(std::string& path) {
    if (path.find("://") == path.npos && !path.empty()) path = std::filesystem::absolute(path);
}

/// Waits until the disk's image is closed.
Result<> await_removal(GuestEvents& events, const DetachOptions& options) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(options.timeout_seconds);
    for (;;) {
        const auto event = within_guest(events.next(deadline), options.name);
        if (!event && event.error().kind() == ErrorKind::TimedOut)
            return fail(ErrorKind::TimedOut,
                        "guest {} has not let go of {} within {} s: it keeps it for now; ask again, or yado detach --force pulls it out", options.name,
                        options.id, options.timeout_seconds);
        if (!event) return std::unexpected(event.error());
        if (event->kind != "disk-removed") continue;
        if (event->detail == options.id) return {};
        if (event->detail.starts_with(options.id + ": ")) return fail(ErrorKind::Failed, "guest {}: {}", options.name, event->detail);
    }
}

}  // namespace

Result<> attach_disk(const AttachOptions& options) {
    const auto found = YADO_TRY(find_living(options.name));
    auto disk = api::parse_disk(options.disk);
    if (!disk) return std::unexpected(disk.error().within("--disk"));
    make_absolute(disk->path);
    auto client = YADO_TRY(control::Client::connect(found.socket(), kOpenTime));
    const std::string answer = YADO_TRY(within_guest(client.post("/v1/disks", api::to_json(*disk)), options.name));
    fmt::print("{}\n", YADO_TRY(api::device_from_json(answer)).id);
    return {};
}

Result<> detach_disk(const DetachOptions& options) {
    const auto found = YADO_TRY(find_living(options.name));
    GuestEvents events = YADO_TRY(GuestEvents::follow(found.socket()));
    auto client = YADO_TRY(reach(options.name));
    YADO_TRY(within_guest(client.remove(fmt::format("/v1/disks/{}{}", options.id, options.force ? "?force=1" : "")), options.name));
    return await_removal(events, options);
}

}  // namespace yado::apps
