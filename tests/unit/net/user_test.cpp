// The user network answers ARP and DHCP, forwards ports and refuses nonsense.
#include "net/user.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/fd.h"
#include "net/none.h"

namespace yado::net {
namespace {

using Frame = std::vector<std::byte>;
constexpr uint8_t kGuestMac[] = {0x52, 0x54, 0, 0x12, 0x34, 0x56};

struct Sink final : link::FrameSink {
    bool deliver(std::span<const std::byte> frame) override {
        if (!room) return false;
        frames.emplace_back(frame.begin(), frame.end());
        return true;
    }
    std::vector<Frame> frames;
    bool room = true;
};

void put(Frame& f, std::initializer_list<int> bytes) {
    for (const int b : bytes) f.push_back(static_cast<std::byte>(b));
}
void put_mac(Frame& f) {
    for (const uint8_t b : kGuestMac) f.push_back(static_cast<std::byte>(b));
}
uint8_t at(const Frame& f, size_t i) { return static_cast<uint8_t>(f[i]); }

/// "Who has 10.0.2.`last`?" from 10.0.2.15 (RFC 826).
Frame arp_request(int last) {
    Frame f;
    put(f, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff});
    put_mac(f);
    put(f, {8, 6, 0, 1, 8, 0, 6, 4, 0, 1});
    put_mac(f);
    put(f, {10, 0, 2, 15, 0, 0, 0, 0, 0, 0, 10, 0, 2, last});
    return f;
}

uint16_t checksum(std::span<const std::byte> data) {
    uint32_t sum = 0;
    for (size_t i = 0; i + 1 < data.size(); i += 2) sum += load_be<uint16_t>(&data[i]);
    while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<uint16_t>(~sum);
}

/// DHCPDISCOVER (RFC 2131) in UDP without a checksum.
Frame dhcp_discover() {
    Frame f;
    put(f, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff});
    put_mac(f);
    put(f, {8, 0});
    put(f, {0x45, 0, 0x01, 0x48, 0, 0, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255});
    store_be<uint16_t>(&f[24], checksum(std::span(f).subspan(14, 20)));
    put(f, {0, 68, 0, 67, 0x01, 0x34, 0, 0});
    const size_t bootp = f.size();
    put(f, {1, 1, 6, 0, 1, 2, 3, 4});
    f.resize(bootp + 28);
    put_mac(f);
    f.resize(bootp + 236);
    put(f, {0x63, 0x82, 0x53, 0x63, 53, 1, 1, 255});
    f.resize(bootp + 300);
    return f;
}

class UserNet : public testing::Test {
  protected:
    std::unique_ptr<link::PacketBackend> open(const UserConfig& config = {}) {
        auto r = make_user(executor_, config);
        EXPECT_TRUE(r.has_value()) << r.error().message();
        (*r)->attach(&sink_);
        return std::move(*r);
    }
    template <typename Condition>
    bool turn_until(Condition condition) {
        for (int i = 0; i < 200 && !condition(); ++i) executor_.run_once(std::chrono::milliseconds(20));
        return condition();
    }
    io::Executor executor_;
    Sink sink_;
};

TEST_F(UserNet, AnswersArpForTheHost) {
    const auto net = open();
    net->send(arp_request(2));
    ASSERT_EQ(sink_.frames.size(), 1u);
    EXPECT_EQ(at(sink_.frames[0], 21), 2);   // a reply
    EXPECT_EQ(at(sink_.frames[0], 31), 2);   // from 10.0.2.2
    EXPECT_EQ(net->counters().sent, 1u);
    EXPECT_EQ(net->counters().received, 1u);
}

TEST_F(UserNet, OffersAnAddressByDhcp) {
    const auto net = open();
    net->send(dhcp_discover());
    ASSERT_TRUE(turn_until([&] { return !sink_.frames.empty(); }));
    const Frame& offer = sink_.frames.back();
    ASSERT_GT(offer.size(), 14u + 20 + 8 + 20);
    EXPECT_EQ(load_be<uint32_t>(&offer[14 + 20 + 8 + 16]), 0x0a00020fu);  // yiaddr
}

TEST_F(UserNet, KeepsFramesWhileTheGuestHasNoRoom) {
    const auto net = open();
    sink_.room = false;
    net->send(arp_request(2));
    EXPECT_TRUE(sink_.frames.empty());
    sink_.room = true;
    net->ready();
    EXPECT_EQ(sink_.frames.size(), 1u);
}

TEST_F(UserNet, DropsFramesThatAreTooShortOrTooLong) {
    const auto net = open();
    net->send(Frame(3));
    net->send(Frame(70'000));
    EXPECT_EQ(net->counters().send_drops, 1u);
    EXPECT_TRUE(sink_.frames.empty());
}

/// A port that was free a moment ago.
uint16_t free_port() {
    const Fd fd(socket(AF_INET, SOCK_STREAM, 0));
    sockaddr_in a{.sin_family = AF_INET, .sin_port = 0, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
    socklen_t size = sizeof a;
    EXPECT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&a), size), 0);
    EXPECT_EQ(getsockname(fd.get(), reinterpret_cast<sockaddr*>(&a), &size), 0);
    return ntohs(a.sin_port);
}

Forward to_guest(uint16_t host_port, uint16_t guest_port) {
    return {.protocol = Forward::Protocol::Tcp, .host = {htonl(INADDR_LOOPBACK)}, .host_port = host_port, .guest_port = guest_port};
}

TEST_F(UserNet, SendsTheGuestASynForAForwardedConnection) {
    const uint16_t port = free_port();
    const auto net = open({.forwards = {to_guest(port, 22)}});
    net->send(arp_request(2));  // the network learns the guest's address
    executor_.run_once(std::chrono::milliseconds(1));
    const Fd client(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    const sockaddr_in a{.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
    connect(client.get(), reinterpret_cast<const sockaddr*>(&a), sizeof a);
    const auto is_syn = [](const Frame& f) {
        return f.size() >= 54 && at(f, 23) == 6 && load_be<uint16_t>(&f[36]) == 22 && at(f, 47) == 2;
    };
    EXPECT_TRUE(turn_until([&] { return std::ranges::any_of(sink_.frames, is_syn); }));
}

TEST_F(UserNet, SaysThatAForwardedPortIsTaken) {
    const uint16_t port = free_port();
    const UserConfig config{.forwards = {to_guest(port, 22)}};
    const auto net = open(config);
    const auto second = make_user(executor_, config);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().kind(), ErrorKind::Conflict);
}

TEST(None, CountsWhatItDrops) {
    const auto net = make_none();
    net->send(Frame(60));
    EXPECT_EQ(net->counters().send_drops, 1u);
}

}  // namespace
}  // namespace yado::net
