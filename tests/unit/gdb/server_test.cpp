// Sockets: connections over a unix socket and over loopback, driven by hand on the test's own thread.
#include "gdb/server.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <future>
#include <thread>

#include "fakes/debug_port.h"
#include "gdb/packet.h"

namespace yado::gdb {
namespace {

using fakes::FakeDebugPort;

/// One end of a connection; reads block for at most ten seconds.
class Client {
  public:
    explicit Client(const std::string& path) : fd_(socket(AF_UNIX, SOCK_STREAM, 0)) {
        sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
        path.copy(address.sun_path, sizeof address.sun_path - 1);
        EXPECT_EQ(connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
        limit();
    }
    explicit Client(uint16_t port) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        EXPECT_EQ(connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
        limit();
    }
    void say(std::string_view bytes) { EXPECT_EQ(send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size())); }
    /// The next `size` bytes, or what came before the end.
    std::string hear(size_t size) {
        std::string text(size, '\0');
        const ssize_t count = recv(fd_.get(), text.data(), size, MSG_WAITALL);
        text.resize(count < 0 ? 0 : static_cast<size_t>(count));
        return text;
    }
    bool hung_up() { return hear(1).empty(); }

  private:
    void limit() {
        const timeval wait{.tv_sec = 10, .tv_usec = 0};
        setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    }
    Fd fd_;
};

class ServerTest : public testing::Test {
  protected:
    ~ServerTest() override {
        server.reset();  // needs the executor
        port.executor().stop();
        thread.join();
        std::filesystem::remove_all(folder);
    }
    void start(const api::GdbConfig& config) {
        auto listening = Server::listen(config, port);
        ASSERT_TRUE(listening) << listening.error().message();
        server = std::move(*listening);
        ASSERT_TRUE(server->serve());
    }
    void start_unix() { start({.kind = api::GdbKind::Unix, .address = {}, .path = path}); }
    /// Runs f on the executor, where the fake belongs.
    void on_executor(const std::function<void()>& f) {
        std::promise<void> done;
        port.executor().post([&] {
            f();
            done.set_value();
        });
        done.get_future().get();
    }

    std::filesystem::path folder = std::filesystem::temp_directory_path() / ("yado-gdb-" + std::to_string(getpid()));
    std::string path = (std::filesystem::create_directories(folder), folder / "gdb.sock");
    FakeDebugPort port;
    std::thread thread{[this] { port.executor().run(); }};
    std::unique_ptr<Server> server;
};

TEST_F(ServerTest, PacketsAreAcknowledgedAndAnswered) {
    start_unix();
    Client client(path);
    client.say("+" + frame("?"));
    EXPECT_EQ(client.hear(1 + frame("T02thread:1;").size()), "+" + frame("T02thread:1;"));
}

TEST_F(ServerTest, AfterQStartNoAckModeNothingIsAcknowledged) {
    start_unix();
    Client client(path);
    client.say(frame("QStartNoAckMode"));
    EXPECT_EQ(client.hear(7), "+" + frame("OK"));
    client.say("+" + frame("qAttached"));
    EXPECT_EQ(client.hear(5), frame("1"));
}

TEST_F(ServerTest, ADamagedPacketIsAskedForAgainAndALostAnswerSentAgain) {
    start_unix();
    Client client(path);
    client.say("$qAttached#00");
    EXPECT_EQ(client.hear(1), "-");
    client.say(frame("qAttached"));
    EXPECT_EQ(client.hear(6), "+" + frame("1"));
    client.say("-");
    EXPECT_EQ(client.hear(5), frame("1"));
}

TEST_F(ServerTest, AStopComesOutByItself) {
    start_unix();
    Client client(path);
    client.say(frame("c"));
    EXPECT_EQ(client.hear(1), "+");
    on_executor([&] { port.stop({1, cpu::DebugStop{cpu::DebugReason::Step, {}}}); });
    EXPECT_EQ(client.hear(frame("T05thread:2;").size()), frame("T05thread:2;"));
}

TEST_F(ServerTest, CtrlCInterrupts) {
    start_unix();
    Client client(path);
    client.say(frame("c"));
    EXPECT_EQ(client.hear(1), "+");
    client.say("\x03");
    EXPECT_EQ(client.hear(frame("T02thread:1;").size()), frame("T02thread:1;"));
}

TEST_F(ServerTest, ASecondClientIsHungUpOnAndTheNextMayComeOnceTheFirstHasLeft) {
    start_unix();
    {
        Client first(path);
        first.say(frame("qAttached"));
        EXPECT_EQ(first.hear(6), "+" + frame("1"));
        EXPECT_TRUE(Client(path).hung_up());
        first.say(frame("D"));
        EXPECT_EQ(first.hear(7), "+" + frame("OK"));
        EXPECT_TRUE(first.hung_up());
    }
    Client next(path);
    next.say(frame("qAttached"));
    EXPECT_EQ(next.hear(6), "+" + frame("1"));
}

TEST_F(ServerTest, WhoSpeaksNoProtocolOfOursIsHungUpOnAndStopsNoGuest) {
    start({.kind = api::GdbKind::Tcp, .address = "127.0.0.1", .path = {}});
    Client browser(static_cast<uint16_t>(std::stoi(server->where().substr(server->where().find(':') + 1))));
    browser.say("POST / HTTP/1.1\r\nHost: localhost\r\n\r\n" + frame("k"));
    EXPECT_TRUE(browser.hung_up());
    on_executor([&] {
        EXPECT_EQ(port.listener, nullptr);
        EXPECT_FALSE(port.killed);
    });
}

TEST_F(ServerTest, AnswersThatAreNotReadHoldBackWhatIsAsked) {
    start_unix();
    Client client(path);
    client.say(frame("QStartNoAckMode"));
    EXPECT_EQ(client.hear(7), "+" + frame("OK"));
    const std::string question = frame("m1000,2000"), answer = frame(std::string(0x4000, '0'));
    for (int n = 0; n < 100; ++n) client.say(question);  // 1.6 MB of answers
    for (int n = 0; n < 100; ++n) ASSERT_EQ(client.hear(answer.size()), answer) << n;
}

TEST_F(ServerTest, TheGuestsEndIsToldAndEndsTheConnection) {
    start_unix();
    Client client(path);
    client.say(frame("c"));
    EXPECT_EQ(client.hear(1), "+");
    on_executor([&] { port.end({.reason = api::StopReason::PoweredOff}); });
    EXPECT_EQ(client.hear(7), frame("W00"));
    EXPECT_TRUE(client.hung_up());
}

TEST_F(ServerTest, TheUnixSocketIsOursAloneAndGoesWithTheServer) {
    start_unix();
    struct stat st {};
    ASSERT_EQ(stat(path.c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 0777, 0600u);
    const auto second = Server::listen({.kind = api::GdbKind::Unix, .address = {}, .path = path}, port);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().kind(), ErrorKind::Conflict);
    server.reset();
    EXPECT_NE(stat(path.c_str(), &st), 0);
}

TEST_F(ServerTest, APathTooLongIsAUsageError) {
    const auto listening = Server::listen({.kind = api::GdbKind::Unix, .address = {}, .path = std::string(200, 'x')}, port);
    ASSERT_FALSE(listening);
    EXPECT_EQ(listening.error().kind(), ErrorKind::Usage);
}

}  // namespace
}  // namespace yado::gdb
