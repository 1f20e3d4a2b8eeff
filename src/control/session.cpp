#include "control/session.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/rfc7230.hpp>
#include <boost/beast/http/write.hpp>

namespace yado::control {

namespace net = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;

namespace {
constexpr size_t kMaxWaitingEvents = 256;
constexpr auto kTypingRetry = std::chrono::milliseconds(20);
/// A stream without news says so once in a while, so that a client that vanished is noticed.
constexpr auto kQuiet = std::chrono::seconds(15);

auto into(beast::error_code& error) { return net::redirect_error(net::use_awaitable, error); }
}  // namespace

Session::Session(Socket socket, api::GuestPort& port, const Limits& limits, const bool& closing)
    : stream_(std::move(socket)), buffer_(limits.header_bytes + 64 * 1024), poked_timer_(stream_.get_executor()), port_(port),
      limits_(limits), closing_(closing) {}

net::awaitable<void> Session::serve() {
    while (!closing_ && co_await serve_one() == Next::Request) {
    }
    beast::error_code ignored;
    stream_.socket().shutdown(Socket::shutdown_both, ignored);
}

net::awaitable<void> Session::turn_away() {
    Answer refusal = error_answer(Error(ErrorKind::Conflict, "too many connections; close some"));
    refusal.status = 503;
    co_await answer(std::move(refusal), false);
}

void Session::finish() {
    poked_ = true;
    poked_timer_.cancel();
    if (reading_) stream_.cancel();
}

void Session::cut() {
    gone_ = true;
    poked_timer_.cancel();
    stream_.close();
}

net::awaitable<Session::Next> Session::serve_one() {
    Parser parser;
    parser.header_limit(static_cast<uint32_t>(limits_.header_bytes));
    parser.body_limit(limits_.body_bytes);
    stream_.expires_after(limits_.request_time);
    beast::error_code error;
    reading_ = true;
    co_await http::async_read(stream_, buffer_, parser, into(error));
    reading_ = false;
    if (error) co_return co_await refuse_malformed(error);

    const auto& message = parser.get();
    const std::string_view target(message.target().data(), message.target().size());
    const std::string_view method(message.method_string().data(), message.method_string().size());
    const Request request{method, target, message.body()};
    const Routed routed = route_request(request);
    if (!routed.route) co_return co_await answer(routed.refusal, message.keep_alive());
    switch (routed.route->operation) {
    case api::Operation::GetEvents: co_await stream_events(target); co_return Next::Close;
    case api::Operation::GetConsole: {
        const auto wanted = message[http::field::upgrade];
        co_await stream_console(target, wanted == "yado-console");
        co_return Next::Close;
    }
    default: co_return co_await answer(perform(routed, request, port_), message.keep_alive());
    }
}

net::awaitable<Session::Next> Session::refuse_malformed(beast::error_code error) {
    if (error.category() != http::make_error_code(http::error::bad_method).category() || error == http::error::end_of_stream ||
        error == http::error::partial_message)
        co_return Next::Close;  // hung up or timed out: nobody to answer
    Answer refusal = error_answer(Error(ErrorKind::Usage, "malformed request: " + error.message()));
    if (error == http::error::body_limit) refusal.status = 413;
    if (error == http::error::header_limit || error == http::error::buffer_overflow) refusal.status = 431;
    co_await answer(std::move(refusal), false);
    co_return Next::Close;
}

net::awaitable<Session::Next> Session::answer(Answer answer, bool keep_alive) {
    http::response<http::string_body> response;
    response.version(11);
    response.result(answer.status);
    response.set(http::field::server, "yado");
    if (!answer.content_type.empty()) response.set(http::field::content_type, answer.content_type);
    if (!answer.allow.empty()) response.set(http::field::allow, answer.allow);
    response.body() = std::move(answer.body);
    if (answer.status != 204) response.content_length(response.body().size());
    response.keep_alive(keep_alive);
    stream_.expires_after(limits_.write_time);
    beast::error_code error;
    co_await http::async_write(stream_, response, into(error));
    co_return !error && keep_alive ? Next::Request : Next::Close;
}

net::awaitable<bool> Session::write(std::string_view bytes) {
    stream_.expires_after(limits_.write_time);
    beast::error_code error;
    co_await net::async_write(stream_, net::buffer(bytes.data(), bytes.size()), into(error));
    co_return !error;
}

net::awaitable<bool> Session::start_stream(std::string head) {
    co_return co_await write(head + "Server: yado\r\nCache-Control: no-store\r\n\r\n");
}

void Session::poke() {
    if (poke_posted_.exchange(true)) return;
    net::post(stream_.get_executor(), [weak = weak_from_this()] {
        const auto self = weak.lock();
        if (!self) return;
        self->poke_posted_ = false;
        self->poked_ = true;
        self->poked_timer_.cancel();
    });
}

net::awaitable<void> Session::wait_for_poke() {
    if (!poked_ && !gone_ && !closing_) {
        poked_timer_.expires_after(kQuiet);
        beast::error_code ignored;
        co_await poked_timer_.async_wait(into(ignored));
    }
    poked_ = false;
}

net::awaitable<void> Session::read_typing(api::ConsoleHub::Typist typist) {
    std::string bytes(buffer_.size(), '\0');
    net::buffer_copy(net::buffer(bytes), buffer_.data());
    beast::error_code error;
    while (!error && !gone_) {
        std::string_view rest = bytes;
        while (!rest.empty() && !gone_ && !closing_) {
            rest.remove_prefix(typist.write(rest));
            if (rest.empty()) break;
            net::steady_timer retry(stream_.get_executor(), kTypingRetry);
            beast::error_code ignored;
            co_await retry.async_wait(into(ignored));
        }
        bytes.resize(512);
        bytes.resize(co_await stream_.async_read_some(net::buffer(bytes), into(error)));
    }
}

void Session::listen_to_client(std::optional<api::ConsoleHub::Typist> typist) {
    stream_.expires_never();
    auto reader = [](std::shared_ptr<Session> self, std::optional<api::ConsoleHub::Typist> typist) -> net::awaitable<void> {
        if (typist) {
            co_await self->read_typing(std::move(*typist));
        } else {
            char ignored[64];  // nothing is expected: this waits for the hang-up
            beast::error_code error;
            while (!error) co_await self->stream_.async_read_some(net::buffer(ignored), into(error));
        }
        self->gone_ = true;
        self->poked_timer_.cancel();
    };
    net::co_spawn(stream_.get_executor(), reader(shared_from_this(), std::move(typist)), net::detached);
}

net::awaitable<void> Session::stream_events(std::string_view target) {
    const auto after = query_number(target, "after");
    if (!after) {
        co_await answer(error_answer(after.error()), false);
        co_return;
    }
    std::vector<api::Event> past;
    const auto subscription = port_.events().subscribe(after->value_or(0), past, [this, weak = weak_from_this()](const api::Event& event) {
        net::post(stream_.get_executor(), [weak, event] {
            const auto self = weak.lock();
            if (!self) return;
            if (self->events_.size() < kMaxWaitingEvents) self->events_.push_back(event);
            else self->events_lost_ = true;
            self->poke();
        });
    });
    events_.insert(events_.begin(), past.begin(), past.end());
    bool good = co_await start_stream("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n");
    listen_to_client(std::nullopt);
    while (good && !gone_ && !events_lost_) {
        if (events_.empty()) {
            if (closing_) break;
            co_await wait_for_poke();
            if (events_.empty() && !closing_) good = co_await write(": still here\n\n");
            continue;
        }
        const api::Event event = std::move(events_.front());
        events_.pop_front();
        good = co_await write(fmt::format("id: {}\nevent: {}\ndata: {}\n\n", event.number, event.kind, api::to_json(event)));
    }
}

Result<uint64_t> Session::console_start(std::string_view target) {
    const auto from = YADO_TRY(query_number(target, "from"));
    const auto tail = YADO_TRY(query_number(target, "tail"));
    const uint64_t end = port_.console().end_cursor();
    if (tail) return end - std::min(end, *tail);
    return from.value_or(0);
}

net::awaitable<void> Session::stream_console(std::string_view target, bool upgrade) {
    api::ConsoleHub& hub = port_.console();
    const auto start = console_start(target);
    auto typist = upgrade ? hub.type() : Result<api::ConsoleHub::Typist>(api::ConsoleHub::Typist());
    if (!start || !typist) {
        co_await answer(error_answer(start ? typist.error() : start.error()), false);
        co_return;
    }
    const auto watch = hub.watch([this] { poke(); });
    bool good = co_await start_stream(
        upgrade ? "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: yado-console\r\n"
                : "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nConnection: close\r\n");
    listen_to_client(upgrade ? std::optional(std::move(*typist)) : std::nullopt);
    uint64_t cursor = *start;
    while (good && !gone_) {
        const auto chunk = hub.read(cursor);
        cursor = chunk.next;
        if (chunk.lost > 0) good = co_await write(fmt::format("\r\n[yado: {} bytes of console output were lost]\r\n", chunk.lost));
        if (good && !chunk.bytes.empty()) good = co_await write(chunk.bytes);
        if (chunk.end || (closing_ && chunk.bytes.empty())) break;
        if (chunk.bytes.empty()) co_await wait_for_poke();
    }
}

}  // namespace yado::control
