#include "control/client.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include "api/guest_info.h"

namespace yado::control {

namespace http = boost::beast::http;

namespace {

constexpr size_t kMaxAnswer = 16 << 20;
constexpr size_t kMaxHead = 16 << 10;

std::string head_of(std::string_view method, std::string_view target, size_t body_size, std::string_view extra) {
    return fmt::format("{} {} HTTP/1.1\r\nHost: guest\r\nContent-Length: {}\r\n{}\r\n", method, target, body_size, extra);
}

Error error_of(unsigned status, std::string_view body) {
    if (auto error = api::error_from_json(body); error && !error->message().empty()) return *error;
    return Error(ErrorKind::Failed, fmt::format("the guest answered with HTTP status {}", status));
}

}  // namespace

Result<Client> Client::connect(const std::string& socket_path, Nanoseconds patience) {
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    if (socket_path.size() >= sizeof address.sun_path) return fail(ErrorKind::Usage, "{}: path too long for a socket", socket_path);
    socket_path.copy(address.sun_path, sizeof address.sun_path - 1);
    Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket) return fail_errno("socket");
    if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        if (errno == EAGAIN) return fail(ErrorKind::Unreachable, "{}: too many wait to be served", socket_path);
        return fail_errno("control socket " + socket_path);
    }
    return Client(std::move(socket), patience);
}

Result<> Client::send_all(std::string_view bytes) {
    while (!bytes.empty()) {
        pollfd ready{socket_.get(), POLLOUT, 0};
        if (poll(&ready, 1, static_cast<int>(patience_ / std::chrono::milliseconds(1))) == 0)
            return fail(ErrorKind::TimedOut, "the guest takes no request");
        const ssize_t sent = send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN && errno != EINTR) return fail(ErrorKind::Unreachable, "the guest hung up");
        bytes.remove_prefix(static_cast<size_t>(std::max<ssize_t>(sent, 0)));
    }
    return {};
}

Result<size_t> Client::receive(std::string& into) {
    char piece[16 * 1024];
    for (;;) {
        pollfd ready{socket_.get(), POLLIN, 0};
        const int found = poll(&ready, 1, static_cast<int>(patience_ / std::chrono::milliseconds(1)));
        if (found == 0) return fail(ErrorKind::TimedOut, "the guest does not answer");
        const ssize_t count = recv(socket_.get(), piece, sizeof piece, 0);
        if (count < 0 && (errno == EAGAIN || errno == EINTR)) continue;
        if (count < 0) return fail(ErrorKind::Unreachable, "the guest hung up");
        into.append(piece, static_cast<size_t>(count));
        return static_cast<size_t>(count);
    }
}

Result<Client::Reply> Client::exchange(std::string_view method, std::string_view target, std::string_view body) {
    // A server that refuses early answers without reading all: look at the answer before the send's failure.
    const auto sent = send_all(head_of(method, target, body.size(), "") + std::string(body));
    http::response_parser<http::string_body> parser;
    parser.body_limit(kMaxAnswer);
    parser.eager(true);
    std::string bytes;
    while (!parser.is_done()) {
        const auto count = receive(bytes);
        if (!count) return std::unexpected(sent ? count.error() : sent.error());
        boost::system::error_code error;
        if (*count == 0) {
            if (!parser.got_some()) return fail(ErrorKind::Unreachable, "the guest hung up");
            parser.put_eof(error);
            break;
        }
        const size_t used = parser.put(boost::asio::buffer(bytes), error);
        bytes.erase(0, used);
        if (error && error != http::error::need_more) return fail(ErrorKind::Corrupt, "the guest's answer is malformed: {}", error.message());
    }
    if (!parser.is_done()) return fail(ErrorKind::Unreachable, "the guest hung up in its answer");
    return Reply{parser.get().result_int(), std::move(parser.get().body())};
}

Result<std::string> Client::ask(std::string_view method, std::string_view target, std::string_view body) {
    Reply reply = YADO_TRY(exchange(method, target, body));
    if (reply.status / 100 != 2) return std::unexpected(error_of(reply.status, reply.body));
    return std::move(reply.body);
}

Result<Client::Stream> Client::stream(std::string_view target, Direction direction) && {
    const bool both = direction == Direction::ReadAndWrite;
    YADO_TRY(send_all(head_of("GET", target, 0, both ? "Connection: Upgrade\r\nUpgrade: yado-console\r\n" : "")));
    std::string bytes;
    size_t end = bytes.npos;
    while ((end = bytes.find("\r\n\r\n")) == bytes.npos) {
        if (bytes.size() > kMaxHead) return fail(ErrorKind::Corrupt, "the guest's answer is malformed");
        if (YADO_TRY(receive(bytes)) == 0) return fail(ErrorKind::Unreachable, "the guest hung up");
    }
    if (bytes.starts_with(both ? "HTTP/1.1 101 " : "HTTP/1.1 200 ")) return Stream{std::move(socket_), bytes.substr(end + 4)};
    std::string body = bytes.substr(end + 4);
    while (YADO_TRY(receive(body)) != 0) {  // a refusal closes the connection
    }
    return std::unexpected(error_of(static_cast<unsigned>(atoi(bytes.c_str() + 9)), body));
}

}  // namespace yado::control
