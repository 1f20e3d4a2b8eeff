// One connection of the control socket. Everything runs on the server's thread; only poke() may come from any thread.
#pragma once

#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <deque>
#include <memory>

#include "control/answer.h"
#include "control/server.h"

namespace yado::control {

class Session : public std::enable_shared_from_this<Session> {
  public:
    using Socket = boost::asio::local::stream_protocol::socket;
    Session(Socket socket, api::GuestPort& port, const Limits& limits, const bool& closing);

    /// Serves requests until the client leaves, misbehaves, or the server closes. Keep a shared_ptr for as long.
    boost::asio::awaitable<void> serve();
    /// Answers 503: too many connections.
    boost::asio::awaitable<void> turn_away();
    /// The server closes: streams come to their end, an idle connection is cut.
    void finish();
    /// Ends everything now; the coroutines unwind by themselves.
    void cut();

  private:
    using Stream = boost::beast::basic_stream<boost::asio::local::stream_protocol>;
    using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;
    enum class Next : uint8_t { Request, Close };

    boost::asio::awaitable<Next> serve_one();
    boost::asio::awaitable<Next> refuse_malformed(boost::beast::error_code error);
    boost::asio::awaitable<Next> answer(Answer answer, bool keep_alive);
    boost::asio::awaitable<void> stream_events(std::string_view target);
    boost::asio::awaitable<void> stream_console(std::string_view target, bool upgrade);
    boost::asio::awaitable<bool> start_stream(std::string head);
    boost::asio::awaitable<bool> write(std::string_view bytes);
    boost::asio::awaitable<void> read_typing(api::ConsoleHub::Typist typist);
    boost::asio::awaitable<void> wait_for_poke();
    Result<uint64_t> console_start(std::string_view target);
    void listen_to_client(std::optional<api::ConsoleHub::Typist> typist);
    void poke();

    Stream stream_;
    boost::beast::flat_buffer buffer_;
    boost::asio::steady_timer poked_timer_;
    api::GuestPort& port_;
    const Limits& limits_;
    const bool& closing_;
    bool gone_ = false;       ///< the client hung up while a stream ran
    bool poked_ = false;
    bool reading_ = false;    ///< a request is awaited: finish() may cancel that
    std::atomic<bool> poke_posted_{false};  ///< one posted poke at a time, however chatty the guest
    std::deque<api::Event> events_;
    bool events_lost_ = false;
};

}  // namespace yado::control
