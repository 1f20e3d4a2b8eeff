#include "apps/guest_events.h"

#include <poll.h>
#include <sys/socket.h>

namespace yado::apps {

Result<GuestEvents> GuestEvents::follow(const std::string& socket) {
    auto client = YADO_TRY(control::Client::connect(socket));
    return GuestEvents(YADO_TRY(std::move(client).stream(fmt::format("/v1/events?after={}", ~0ull), control::Client::Direction::Read)));
}

Result<api::Event> GuestEvents::next(std::chrono::steady_clock::time_point deadline) {
    constexpr std::string_view kData = "data: ";
    for (;;) {
        const std::string line = YADO_TRY(next_line(deadline));
        if (line.starts_with(kData)) return api::event_from_json(std::string_view(line).substr(kData.size()));
    }
}

Result<std::string> GuestEvents::next_line(std::chrono::steady_clock::time_point deadline) {
    size_t end = 0;
    while ((end = text_.find('\n')) == text_.npos) YADO_TRY(receive(deadline));
    std::string line = text_.substr(0, end);
    text_.erase(0, end + 1);
    return line;
}

Result<> GuestEvents::receive(std::chrono::steady_clock::time_point deadline) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    pollfd ready{socket_.get(), POLLIN, 0};
    if (poll(&ready, 1, static_cast<int>(std::max<int64_t>(left.count(), 0))) == 0) return fail(ErrorKind::TimedOut, "no event in time");
    char piece[4096];
    const ssize_t count = recv(socket_.get(), piece, sizeof piece, 0);
    if (count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR)) return fail(ErrorKind::Unreachable, "the guest ended");
    text_.append(piece, static_cast<size_t>(std::max<ssize_t>(count, 0)));
    return {};
}

}  // namespace yado::apps
