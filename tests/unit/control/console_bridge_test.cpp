#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "base/fd.h"
#include "control/console_bridge.h"

using namespace yado;
using namespace yado::control;

namespace {

class Bridged : public testing::Test {
  protected:
    Bridged() {
        char pattern[] = "/tmp/yado-test-XXXXXX";
        folder_ = mkdtemp(pattern);
    }
    ~Bridged() override { std::filesystem::remove_all(folder_); }
    void print(std::string_view text) { hub_.output(std::as_bytes(std::span(text))); }
    static std::string read_exactly(int fd, size_t wanted) {
        std::string all;
        char piece[256];
        pollfd ready{fd, POLLIN, 0};
        while (all.size() < wanted && poll(&ready, 1, 5000) > 0) {
            const ssize_t count = read(fd, piece, sizeof piece);
            if (count <= 0) break;
            all.append(piece, static_cast<size_t>(count));
        }
        return all;
    }
    std::string typed(size_t wanted) {
        std::string all;
        while (all.size() < wanted) {
            std::byte room[64];
            const size_t count = hub_.take_input(room);
            all.append(reinterpret_cast<char*>(room), count);
            if (count == 0) std::this_thread::yield();
        }
        return all;
    }
    std::string folder_;
    api::ConsoleHub hub_;
};

TEST_F(Bridged, AFileGetsAllThatWasPrintedBeforeTheBridgeIsGone) {
    const std::string path = folder_ + "/log";
    print("early ");
    {
        const auto bridge = ConsoleBridge::start({api::ConsoleKind::File, path}, hub_);
        ASSERT_TRUE(bridge) << bridge.error().message();
        EXPECT_EQ((*bridge)->where(), "file " + path);
        print("late");
    }
    std::string text;
    std::getline(std::ifstream(path), text);
    EXPECT_EQ(text, "early late");
}

TEST_F(Bridged, AFileThatCannotBeMadeIsNamed) {
    const auto bridge = ConsoleBridge::start({api::ConsoleKind::File, folder_ + "/no/log"}, hub_);
    ASSERT_FALSE(bridge);
    EXPECT_EQ(bridge.error().kind(), ErrorKind::NotFound);
    EXPECT_NE(bridge.error().message().find("/no/log"), std::string::npos);
}

TEST_F(Bridged, APtyCarriesBothWays) {
    const auto bridge = ConsoleBridge::start({api::ConsoleKind::Pty, ""}, hub_);
    ASSERT_TRUE(bridge) << bridge.error().message();
    const std::string name = (*bridge)->where().substr(4);
    const Fd fd(open(name.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC));
    ASSERT_TRUE(fd);
    print("login: ");
    EXPECT_EQ(read_exactly(fd.get(), 7), "login: ");
    ASSERT_EQ(write(fd.get(), "root\n", 5), 5);
    EXPECT_EQ(typed(5), "root\n");
}

TEST_F(Bridged, ASocketCarriesBothWaysAndSurvivesAHangUp) {
    const std::string path = folder_ + "/s";
    const auto bridge = ConsoleBridge::start({api::ConsoleKind::Socket, path}, hub_);
    ASSERT_TRUE(bridge) << bridge.error().message();
    for (int round = 0; round < 2; ++round) {
        const Fd fd(socket(AF_UNIX, SOCK_STREAM, 0));
        sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
        path.copy(address.sun_path, sizeof address.sun_path - 1);
        ASSERT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
        std::string got;
        ASSERT_EQ(write(fd.get(), "x", 1), 1);
        EXPECT_EQ(typed(1), "x");  // connected: what is printed from now on arrives
        print("abc");
        EXPECT_EQ(read_exactly(fd.get(), 3), "abc");
    }
}

TEST_F(Bridged, ASocketPathThatExistsIsAConflict) {
    std::ofstream(folder_ + "/s") << "x";
    const auto bridge = ConsoleBridge::start({api::ConsoleKind::Socket, folder_ + "/s"}, hub_);
    ASSERT_FALSE(bridge);
    EXPECT_EQ(bridge.error().kind(), ErrorKind::Conflict);
}

}  // namespace
