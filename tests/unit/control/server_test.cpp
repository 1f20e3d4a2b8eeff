#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "control/client.h"
#include "control/server.h"
#include "fakes/fake_port.h"

using namespace yado;
using namespace yado::control;
using testing::HasSubstr;
using testing::StartsWith;

namespace {

class ControlSocket : public testing::Test {
  protected:
    ControlSocket() {
        char pattern[] = "/tmp/yado-test-XXXXXX";
        folder_ = mkdtemp(pattern);
        path_ = folder_ + "/control.sock";
        limits_.request_time = std::chrono::milliseconds(300);
        limits_.connections = 4;
        limits_.drain_time = std::chrono::milliseconds(500);
    }
    ~ControlSocket() override {
        server_.reset();
        std::filesystem::remove_all(folder_);
    }
    void SetUp() override {
        auto server = Server::start(path_, port_, limits_);
        ASSERT_TRUE(server) << server.error().message();
        server_ = std::move(*server);
    }
    Client client() { return std::move(*Client::connect(path_, std::chrono::seconds(5))); }

    Fd raw() const {
        Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
        path_.copy(address.sun_path, sizeof address.sun_path - 1);
        EXPECT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
        return fd;
    }
    /// Reads until `wanted` came or the other side closed; at most 5 s.
    static std::string read_until(int fd, std::string_view wanted) {
        std::string all;
        char piece[4096];
        pollfd ready{fd, POLLIN, 0};
        while (all.find(wanted) == all.npos || wanted.empty()) {
            if (poll(&ready, 1, 5000) <= 0) return all + "<timeout>";
            const ssize_t count = read(fd, piece, sizeof piece);
            if (count <= 0) break;
            all.append(piece, static_cast<size_t>(count));
        }
        return all;
    }
    static std::string read_all(int fd) { return read_until(fd, {}); }
    /// Sends as much as the other side takes.
    static void send_text(int fd, std::string_view text) {
        while (!text.empty()) {
            const ssize_t sent = send(fd, text.data(), text.size(), MSG_NOSIGNAL);
            if (sent <= 0) return;
            text.remove_prefix(static_cast<size_t>(sent));
        }
    }
    std::string typed(size_t wanted) {
        std::string all;
        while (all.size() < wanted) {
            std::byte room[256];
            const size_t count = port_.console().take_input(room);
            all.append(reinterpret_cast<char*>(room), count);
            if (count == 0) std::this_thread::yield();
        }
        return all;
    }

    fakes::FakePort port_;
    Limits limits_;
    std::string folder_, path_;
    std::unique_ptr<Server> server_;
};

TEST_F(ControlSocket, OnlyItsUserMayConnect) {
    struct stat st {};
    ASSERT_EQ(stat(path_.c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 0777, 0600u);
}

TEST_F(ControlSocket, AnswersWhatTheGuestSaysOfItself) {
    Client c = client();
    EXPECT_EQ(api::guest_info_from_json(*c.get("/v1/guest"))->engine, "bt");
    EXPECT_EQ(api::devices_from_json(*c.get("/v1/devices"))->at(0).id, "disk0");
    EXPECT_EQ(api::counters_from_json(*c.get("/v1/counters"))->at("vcpu0.exits"), 7u);
    EXPECT_EQ(api::engine_stats_from_json(*c.get("/v1/engine"))->vcpus.at(0).groups.at(0).counters.at("follow"), 3u);
    EXPECT_THAT(*c.get("/v1/openapi.json"), StartsWith("{\"openapi\":\"3.1.0\""));
}

TEST_F(ControlSocket, VerbsReachTheGuestAndConflictsComeBack) {
    Client c = client();
    EXPECT_TRUE(c.post("/v1/pause"));
    EXPECT_EQ(port_.info().state, api::RunState::Paused);
    const auto again = c.post("/v1/pause");
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().kind(), ErrorKind::Conflict);
    EXPECT_EQ(again.error().message(), "the guest is paused");
    EXPECT_TRUE(c.post("/v1/resume"));
    EXPECT_TRUE(c.post("/v1/reset"));
    EXPECT_TRUE(c.post("/v1/power-button"));
}

TEST_F(ControlSocket, DisksComeAndGo) {
    Client c = client();
    const auto added = c.post("/v1/disks", R"({"path":"/srv/data.img","id":"data1","readonly":true})");
    ASSERT_TRUE(added) << added.error().message();
    EXPECT_EQ(api::device_from_json(*added)->id, "data1");
    EXPECT_EQ(c.post("/v1/disks", R"({"path":"/srv/data.img","id":"data1"})").error().kind(), ErrorKind::Conflict);
    EXPECT_EQ(c.post("/v1/disks", R"({"path":"/srv/missing.img"})").error().kind(), ErrorKind::NotFound);
    EXPECT_TRUE(c.remove("/v1/disks/data1"));
    EXPECT_EQ(c.remove("/v1/disks/data1?force=1").error().kind(), ErrorKind::NotFound);
}

TEST_F(ControlSocket, AnAttachedDiskIsAnswered201AndADetachedOne204) {
    const Fd fd = raw();
    send_text(fd.get(), "POST /v1/disks HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\n{\"path\":\"/\"}DELETE /v1/disks/disk1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    const std::string answers = read_all(fd.get());
    EXPECT_THAT(answers, StartsWith("HTTP/1.1 201 "));
    EXPECT_THAT(answers, HasSubstr("HTTP/1.1 204 "));
}

TEST_F(ControlSocket, ADiskThatIsDescribedWrongIsRefusedByItsKey) {
    Client c = client();
    EXPECT_EQ(c.post("/v1/disks", "{").error().kind(), ErrorKind::Usage);
    EXPECT_THAT(c.post("/v1/disks", R"({"path":"/a","colour":"red"})").error().message(), HasSubstr("unknown key \"colour\""));
    EXPECT_EQ(c.remove("/v1/disks/disk1?force=maybe").error().kind(), ErrorKind::Usage);
}

TEST_F(ControlSocket, APathWithAnIdTakesOneSegment) {
    Client c = client();
    EXPECT_EQ(c.remove("/v1/disks/").error().kind(), ErrorKind::NotFound);
    EXPECT_EQ(c.remove("/v1/disks/a/b").error().kind(), ErrorKind::NotFound);
    EXPECT_THAT(c.get("/v1/disks/a").error().message(), HasSubstr("takes DELETE"));
    EXPECT_THAT(c.remove("/v1/disks").error().message(), HasSubstr("takes GET, POST"));
}

TEST_F(ControlSocket, AnUnknownPathIsNotFound) {
    const auto answer = client().get("/v1/nothing");
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().kind(), ErrorKind::NotFound);
}

TEST_F(ControlSocket, AWrongMethodNamesTheRightOnes) {
    const Fd fd = raw();
    send_text(fd.get(), "DELETE /v1/console HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    const std::string answer = read_all(fd.get());
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 405 "));
    EXPECT_THAT(answer, HasSubstr("Allow: GET, POST\r\n"));
    EXPECT_THAT(answer, HasSubstr("\"kind\":\"usage\""));
}

TEST_F(ControlSocket, GarbageGets400AndTheConnectionIsClosed) {
    const Fd fd = raw();
    send_text(fd.get(), "\x16\x03\x01garbage\r\n\r\n");
    EXPECT_THAT(read_all(fd.get()), StartsWith("HTTP/1.1 400 "));
    EXPECT_TRUE(client().get("/v1/guest"));
}

TEST_F(ControlSocket, HugeHeadersGet431) {
    const Fd fd = raw();
    send_text(fd.get(), "GET /v1/guest HTTP/1.1\r\nX: " + std::string(20'000, 'a') + "\r\n\r\n");
    EXPECT_THAT(read_all(fd.get()), StartsWith("HTTP/1.1 431 "));
    EXPECT_TRUE(client().get("/v1/guest"));
}

TEST_F(ControlSocket, ABodyBeyondTheLimitGets413WithoutBeingRead) {
    const Fd fd = raw();
    send_text(fd.get(), "POST /v1/console HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n");
    EXPECT_THAT(read_all(fd.get()), StartsWith("HTTP/1.1 413 "));
}

TEST_F(ControlSocket, ASlowRequestIsCutOff) {
    const Fd fd = raw();
    send_text(fd.get(), "GET /v1/gu");
    EXPECT_EQ(read_all(fd.get()), "");
    EXPECT_TRUE(client().get("/v1/guest"));
}

TEST_F(ControlSocket, ConnectionsBeyondTheLimitGet503AndPlacesAreGivenBack) {
    {
        std::vector<Fd> fds;
        for (size_t i = 0; i < limits_.connections; ++i) {
            fds.push_back(raw());
            send_text(fds.back().get(), "GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n");
            EXPECT_THAT(read_until(fds.back().get(), "\r\n\r\n"), StartsWith("HTTP/1.1 200 "));
        }
        const Fd one_more = raw();
        EXPECT_THAT(read_all(one_more.get()), StartsWith("HTTP/1.1 503 "));
    }
    auto answer = client().get("/v1/guest");
    for (int i = 0; i < 1000 && !answer; ++i) answer = client().get("/v1/guest");
    EXPECT_TRUE(answer);
}

TEST_F(ControlSocket, PipelinedRequestsAreAnsweredInOrder) {
    const Fd fd = raw();
    send_text(fd.get(), "POST /v1/pause HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\nGET /v1/guest HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    const std::string answer = read_all(fd.get());
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 204 "));
    EXPECT_THAT(answer, HasSubstr("\"state\":\"paused\""));
}

TEST_F(ControlSocket, EventsComeAsTheyHappenWithThePastFirst) {
    port_.events().add("started");
    auto stream = client().stream("/v1/events", Client::Direction::Read);
    ASSERT_TRUE(stream) << stream.error().message();
    port_.events().add("crashed", "triple fault");
    const std::string text = stream->first + read_until(stream->socket.get(), "triple fault");
    EXPECT_THAT(text, HasSubstr("id: 1\nevent: started\ndata: {\"number\":1,"));
    EXPECT_THAT(text, HasSubstr("id: 2\nevent: crashed\n"));
}

TEST_F(ControlSocket, SeveralWatchTheConsole) {
    port_.print("boot ");
    auto a = client().stream("/v1/console", Client::Direction::Read);
    auto b = client().stream("/v1/console?tail=3", Client::Direction::Read);
    ASSERT_TRUE(a && b);
    port_.print("login:");
    EXPECT_EQ(a->first + read_until(a->socket.get(), "login:"), "boot login:");
    EXPECT_EQ(b->first + read_until(b->socket.get(), "login:"), "ot login:");
}

TEST_F(ControlSocket, OneTypesAndTheSecondIsInConflict) {
    auto typist = client().stream("/v1/console", Client::Direction::ReadAndWrite);
    ASSERT_TRUE(typist) << typist.error().message();
    send_text(typist->socket.get(), "root\n");
    EXPECT_EQ(typed(5), "root\n");
    const auto second = client().stream("/v1/console", Client::Direction::ReadAndWrite);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().kind(), ErrorKind::Conflict);
    EXPECT_EQ(client().post("/v1/console", "x").error().kind(), ErrorKind::Conflict);
}

TEST_F(ControlSocket, ATypistWhoLeavesMakesRoomForTheNext) {
    {
        auto typist = client().stream("/v1/console", Client::Direction::ReadAndWrite);
        ASSERT_TRUE(typist);
    }
    auto next = client().post("/v1/console", "x");
    for (int i = 0; i < 1000 && !next; ++i) next = client().post("/v1/console", "x");
    EXPECT_TRUE(next);
    EXPECT_EQ(typed(1), "x");
}

TEST_F(ControlSocket, MoreThanTheGuestTakesIsTypedAsItReads) {
    auto typist = client().stream("/v1/console", Client::Direction::ReadAndWrite);
    ASSERT_TRUE(typist);
    const std::string text(3 * api::ConsoleHub::kInputRoom, 'k');
    send_text(typist->socket.get(), text);
    EXPECT_EQ(typed(text.size()), text);
}

TEST_F(ControlSocket, TheTerminalsSizeReachesTheDevice) {
    std::pair<int, int> size{};
    port_.console().set_resized([&](uint16_t columns, uint16_t rows) { size = {columns, rows}; });
    EXPECT_TRUE(client().post("/v1/console/size?columns=80&rows=25"));
    EXPECT_EQ(size, std::pair(80, 25));
    EXPECT_EQ(client().post("/v1/console/size?columns=80").error().kind(), ErrorKind::Usage);
    EXPECT_EQ(client().post("/v1/console/size?columns=80000&rows=1").error().kind(), ErrorKind::Usage);
    EXPECT_EQ(client().get("/v1/events?after=-1").error().kind(), ErrorKind::Usage);
}

TEST_F(ControlSocket, StreamsEndWhenTheConsoleEnds) {
    auto stream = client().stream("/v1/console", Client::Direction::Read);
    ASSERT_TRUE(stream);
    port_.print("bye");
    port_.console().close();
    EXPECT_EQ(stream->first + read_all(stream->socket.get()), "bye");
}

TEST_F(ControlSocket, ClosingLetsStreamsReadWhatIsLeft) {
    auto events = client().stream("/v1/events", Client::Direction::Read);
    ASSERT_TRUE(events);
    port_.events().add("powered-off");
    server_->close();
    server_.reset();
    EXPECT_THAT(events->first + read_all(events->socket.get()), HasSubstr("event: powered-off"));
    EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(ControlSocket, ClosingCutsAClientThatDoesNotRead) {
    const Fd fd = raw();
    send_text(fd.get(), "GET /v1/console HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_THAT(read_until(fd.get(), "\r\n\r\n"), StartsWith("HTTP/1.1 200"));
    port_.print(std::string(api::ConsoleHub::kHistory, 'x'));
    for (int i = 0; i < 64; ++i) port_.print(std::string(api::ConsoleHub::kHistory, 'y'));
    server_->close();  // ends, and within drain_time
    server_.reset();
}

TEST_F(ControlSocket, RandomRequestsDoNoHarm) {
    uint32_t seed = 12345;
    const auto random = [&] { return seed = seed * 1664525 + 1013904223, seed >> 8; };
    const std::string_view parts[] = {"GET ", "POST ", "/v1/guest", "/v1/console", "?tail=", " HTTP/1.1", "\r\n", "\r\n\r\n", "Content-Length: ",
                                      "5", "99999999999999999999", "Transfer-Encoding: chunked\r\n", "Upgrade: yado-console\r\n", ":", "\0x\xff"};
    for (int round = 0; round < 200; ++round) {
        const Fd fd = raw();
        std::string text;
        for (unsigned i = random() % 12; i > 0; --i) text += parts[random() % std::size(parts)];
        send_text(fd.get(), text);
        shutdown(fd.get(), SHUT_WR);
    }
    auto answer = client().get("/v1/guest");
    for (int i = 0; i < 1000 && !answer; ++i) answer = client().get("/v1/guest");
    EXPECT_TRUE(answer);
}

TEST(ControlClient, NobodyListeningIsUnreachableAndNoSocketNotFound) {
    EXPECT_EQ(Client::connect("/tmp/yado-test-nothing/control.sock").error().kind(), ErrorKind::NotFound);
}

}  // namespace
