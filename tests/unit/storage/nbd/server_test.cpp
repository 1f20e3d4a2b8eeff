// The server: hostile clients, bounds, several clients at once.
#include "nbd/nbd_fixture.h"

namespace yado::storage {
namespace {

using nbd::BytesOut;

class NbdServerTest : public NbdTest {
  protected:
    NbdServerTest() : server_(TestServer::Config{.path = file("a.img", 1 << 20, 'a'), .socket = socket(), .export_name = "e"}) {}
    void expect_alive() { EXPECT_TRUE(wait(must_open(server_.uri())->close())); }
    static constexpr uint16_t kRead = 0, kWrite = 1, kDisconnect = 2, kFlush = 3, kBlockStatus = 7;
    TestServer server_;
};

TEST_F(NbdServerTest, UnknownClientFlagsEndTheConnection) {
    RawClient client(socket());
    EXPECT_EQ(client.hear(18).substr(0, 16), "NBDMAGICIHAVEOPT");
    BytesOut flags;
    flags.add(uint32_t{0x80});
    client.say(flags);
    EXPECT_TRUE(client.hears_the_end());
    expect_alive();
}

TEST_F(NbdServerTest, AnOptionWithoutItsMagicEndsTheConnection) {
    RawClient client(socket());
    client.greet();
    BytesOut garbage;
    garbage.add_text("GET / HTTP/1.1\r\n\r\n");
    client.say(garbage);
    EXPECT_TRUE(client.hears_the_end());
}

TEST_F(NbdServerTest, AnOptionTooLongEndsTheConnection) {
    RawClient client(socket());
    client.greet();
    BytesOut huge;
    huge.add(nbd::IHAVEOPT).add(uint32_t{7}).add(uint32_t{0xffffffff});
    client.say(huge);
    EXPECT_TRUE(client.hears_the_end());
}

TEST_F(NbdServerTest, UnknownOptionsAreAnsweredAndLeaveTheConnection) {
    RawClient client(socket());
    client.greet();
    for (const uint32_t option : {4u, 5u, 11u, 4711u}) {
        client.say_option(option);
        EXPECT_EQ(client.reply(), 0x80000001u);
    }
    client.say_option(3);
    EXPECT_EQ(client.reply(), 2u);
    EXPECT_EQ(client.reply(), 1u);
}

TEST_F(NbdServerTest, MalformedOptionsAreInvalid) {
    RawClient client(socket());
    client.greet();
    BytesOut bad_name, bad_count;
    bad_name.add(uint32_t{100}).add_text("e");
    bad_count.add(uint32_t{0}).add(uint16_t{9});
    for (const uint32_t option : {3u, 6u, 7u, 8u, 9u, 10u}) {
        client.say_option(option, bad_name.bytes());
        EXPECT_EQ(client.reply(), 0x80000003u) << option;
    }
    client.say_option(7, bad_count.bytes());
    EXPECT_EQ(client.reply(), 0x80000003u);
}

TEST_F(NbdServerTest, AContextNeedsStructuredReplies) {
    RawClient client(socket());
    client.greet();
    BytesOut query;
    query.add(uint32_t{0}).add(uint32_t{1}).add(uint32_t{15}).add_text("base:allocation");
    client.say_option(10, query.bytes());
    EXPECT_EQ(client.reply(), 0x80000003u);
    client.say_option(8);
    EXPECT_EQ(client.reply(), 1u);
    client.say_option(10, query.bytes());
    EXPECT_EQ(client.reply(), 4u);
    EXPECT_EQ(client.reply(), 1u);
}

TEST_F(NbdServerTest, AFloodOfOptionsEnds) {
    RawClient client(socket());
    client.greet();
    BytesOut flood;
    for (unsigned n = 0; n < nbd::kMaxOptions; ++n) RawClient::option(flood, 99);
    client.say(flood);
    EXPECT_TRUE(client.hears_the_end());
    expect_alive();
}

TEST_F(NbdServerTest, AClientWithoutNoZeroesGetsThem) {
    RawClient client(socket());
    client.hear(18);
    BytesOut flags;
    flags.add(uint32_t{1});
    client.say(flags);
    client.say_option(1);
    const std::string answer = client.hear(8 + 2 + 124);
    ASSERT_EQ(answer.size(), 134u);
    EXPECT_EQ(load_be<uint64_t>(answer.data()), 1u << 20);
    EXPECT_EQ(answer.substr(10), std::string(124, '\0'));
}

TEST_F(NbdServerTest, ARequestWithoutItsMagicEndsTheConnection) {
    RawClient client(socket());
    client.choose();
    BytesOut garbage;
    garbage.add_zeroes(28);
    client.say(garbage);
    EXPECT_TRUE(client.hears_the_end());
    expect_alive();
}

TEST_F(NbdServerTest, AWriteTooLongEndsTheConnection) {
    RawClient client(socket());
    client.choose();
    client.request({.type = kWrite, .length = 0xfffffe00});
    EXPECT_TRUE(client.hears_the_end());
}

TEST_F(NbdServerTest, RequestsThatMakeNoSenseAreRefusedOneByOne) {
    RawClient client(socket());
    client.choose();
    const std::pair<RawClient::Request, uint32_t> cases[] = {
        {{.type = kRead, .offset = 1}, 22},                        // unaligned
        {{.type = kRead, .length = 100}, 22},
        {{.type = kRead, .length = 0}, 22},
        {{.type = kRead, .offset = 1 << 20}, 22},                  // behind the end
        {{.type = kRead, .offset = ~0ull << 9}, 22},
        {{.type = kRead, .length = 0xfffffe00}, 22},
        {{.flags = 0x8000, .type = kRead}, 22},
        {{.type = 4711}, 22},
        {{.type = kBlockStatus}, 22},                              // no context was chosen
        {{.flags = 16, .type = 6}, 22},                            // fast zero was not offered
        {{.type = 6, .offset = 1 << 20}, 28},
        {{.type = kFlush, .length = 0}, 0},
    };
    for (const auto& [request, error] : cases) {
        client.request(request);
        EXPECT_EQ(client.simple_reply(), error) << request.type << " " << request.offset;
    }
    client.request({.type = kDisconnect});
    EXPECT_TRUE(client.hears_the_end());
}

TEST_F(NbdServerTest, ARefusedWritesDataIsPassedOver) {
    RawClient client(socket());
    client.choose();
    BytesOut data;
    data.add_zeroes(512);
    client.request({.type = kWrite, .offset = 1 << 20});
    client.say(data);
    EXPECT_EQ(client.simple_reply(), 28u);
    client.request({.type = kRead});
    EXPECT_EQ(client.simple_reply(), 0u);
    EXPECT_EQ(client.hear(512), std::string(512, 'a'));
}

TEST_F(NbdServerTest, ATruncatedWriteChangesNothing) {
    {
        RawClient client(socket());
        client.choose();
        BytesOut half;
        half.add_zeroes(256);
        client.request({.type = kWrite});
        client.say(half);
    }
    const auto disk = must_open(server_.uri());
    EXPECT_EQ(read(*disk, 0, 512), std::string(512, 'a'));
    EXPECT_TRUE(wait(disk->close()));
}

TEST_F(NbdServerTest, AClientThatTakesNoAnswersHoldsUpOnlyItself) {
    RawClient client(socket());
    client.choose();
    const timeval patience{.tv_sec = 0, .tv_usec = 200'000};
    setsockopt(client.fd(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    std::string requests;
    for (unsigned n = 0; n < 4096; ++n) {
        BytesOut out;
        out.add(nbd::NBD_REQUEST_MAGIC).add(uint16_t{0}).add(kRead).add(uint64_t{n}).add(uint64_t{0}).add(uint32_t{1 << 20});
        requests.append(reinterpret_cast<const char*>(out.bytes().data()), out.bytes().size());
    }
    (void)!send(client.fd(), requests.data(), requests.size(), MSG_NOSIGNAL);
    expect_alive();
}

TEST_F(NbdServerTest, ClientsBeyondTheLimitAreTurnedAway) {
    std::vector<std::unique_ptr<RawClient>> clients;
    for (size_t n = 0; n < nbd::kMaxConnections; ++n) {
        clients.push_back(std::make_unique<RawClient>(socket()));
        EXPECT_EQ(clients.back()->hear(18).size(), 18u);
    }
    EXPECT_TRUE(RawClient(socket()).hears_the_end());
}

TEST_F(NbdServerTest, WhatOneClientWroteAnotherReads) {
    const auto one = must_open(server_.uri()), two = must_open(server_.uri());
    EXPECT_TRUE(write(*one, 4096, std::string(512, 'z')));
    EXPECT_TRUE(wait(two->flush()));
    EXPECT_EQ(read(*two, 4096, 512), std::string(512, 'z'));
    EXPECT_TRUE(wait(one->close()));
    EXPECT_EQ(server_.left(), 0u);
    EXPECT_TRUE(wait(two->close()));
}

}  // namespace
}  // namespace yado::storage
