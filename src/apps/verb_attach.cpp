// yado attach and yado detach: disks that come and go while a guest runs.
#include <poll.h>
#include <sys/socket.h>

#include <chrono>
#include <filesystem>

#include "apps/reach.h"
#include "apps/verbs.h"

namespace yado::apps {

namespace {

constexpr auto kOpenTime = std::chrono::seconds(60);  // an image may lie on a server

/// The guest's process has another working folder.
void make_absolute(std::string& path) {
    if (path.find("://") == path.npos && !path.empty()) path = std::filesystem::absolute(path);
}

/// The events of a guest from now on.
class Events {
  public:
    static Result<Events> follow(const std::string& socket) {
        auto client = YADO_TRY(control::Client::connect(socket));
        return Events(YADO_TRY(std::move(client).stream(fmt::format("/v1/events?after={}", ~0ull), control::Client::Direction::Read)));
    }

    /// The next one. Errors: TimedOut, Unreachable (the guest ended).
    Result<api::Event> next(std::chrono::steady_clock::time_point deadline) {
        constexpr std::string_view kData = "data: ";
        for (;;) {
            const std::string line = YADO_TRY(next_line(deadline));
            if (line.starts_with(kData)) return api::event_from_json(std::string_view(line).substr(kData.size()));
        }
    }

  private:
    explicit Events(control::Client::Stream stream) : socket_(std::move(stream.socket)), text_(std::move(stream.first)) {}

    Result<std::string> next_line(std::chrono::steady_clock::time_point deadline) {
        size_t end = 0;
        while ((end = text_.find('\n')) == text_.npos) YADO_TRY(receive(deadline));
        std::string line = text_.substr(0, end);
        text_.erase(0, end + 1);
        return line;
    }
    Result<> receive(std::chrono::steady_clock::time_point deadline) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
        pollfd ready{socket_.get(), POLLIN, 0};
        if (poll(&ready, 1, static_cast<int>(std::max<int64_t>(left.count(), 0))) == 0) return fail(ErrorKind::TimedOut, "no event in time");
        char piece[4096];
        const ssize_t count = recv(socket_.get(), piece, sizeof piece, 0);
        if (count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR)) return fail(ErrorKind::Unreachable, "the guest ended");
        text_.append(piece, static_cast<size_t>(std::max<ssize_t>(count, 0)));
        return {};
    }

    Fd socket_;
    std::string text_;
};

/// Waits until the disk's image is closed.
Result<> await_removal(Events& events, const DetachOptions& options) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(options.timeout_seconds);
    for (;;) {
        const auto event = events.next(deadline);
        if (!event && event.error().kind() == ErrorKind::TimedOut)
            return fail(ErrorKind::TimedOut,
                        "guest {} has not let go of {} within {} s: it keeps it for now; ask again, or yado detach --force pulls it out", options.name,
                        options.id, options.timeout_seconds);
        if (!event) return std::unexpected(event.error().within("guest " + options.name));
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
    const auto answer = client.post("/v1/disks", api::to_json(*disk));
    if (!answer) return std::unexpected(answer.error().within("guest " + options.name));
    fmt::print("{}\n", YADO_TRY(api::device_from_json(*answer)).id);
    return {};
}

Result<> detach_disk(const DetachOptions& options) {
    const auto found = YADO_TRY(find_living(options.name));
    Events events = YADO_TRY(Events::follow(found.socket()));
    auto client = YADO_TRY(reach(options.name));
    const auto asked = client.remove(fmt::format("/v1/disks/{}{}", options.id, options.force ? "?force=1" : ""));
    if (!asked) return std::unexpected(asked.error().within("guest " + options.name));
    return await_removal(events, options);
}

}  // namespace yado::apps
