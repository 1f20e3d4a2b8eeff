#include <gtest/gtest.h>

#include "api/guest_config.h"

using namespace yado;
using namespace yado::api;

TEST(Size, SuffixesArePowersOf1024) {
    EXPECT_EQ(*parse_size("512M"), 512_MiB);
    EXPECT_EQ(*parse_size("1G"), 1_GiB);
    EXPECT_EQ(*parse_size("4k"), 4_KiB);
    EXPECT_EQ(*parse_size("2MiB"), 2_MiB);
    EXPECT_EQ(*parse_size("77"), Bytes(77));
    EXPECT_EQ(*parse_size("0"), Bytes(0));
}

TEST(Size, AnythingElseIsRefused) {
    for (const char* text : {"", "M", "1.5G", "-1", "1X", "1MM", " 1", "1 M", "99999999999999999999", "17179869184G", "0x10"})
        EXPECT_FALSE(parse_size(text)) << text;
}

TEST(Size, TextIsShortAndExact) {
    EXPECT_EQ(to_string(512_MiB), "512M");
    EXPECT_EQ(to_string(1_GiB), "1G");
    EXPECT_EQ(to_string(Bytes(1025)), "1025");
    EXPECT_EQ(to_string(Bytes(0)), "0");
}

TEST(Mac, TextAndBackAreTheSame) { EXPECT_EQ(to_string(*parse_mac("52:54:00:aB:cd:0f")), "52:54:00:ab:cd:0f"); }

TEST(Mac, GroupAddressesAndMalformedTextAreRefused) {
    for (const char* text : {"01:00:00:00:00:00", "52:54:00:00:00", "52-54-00-00-00-00", "52:54:00:00:00:0g", "52:54:00:00:00:000", ""})
        EXPECT_FALSE(parse_mac(text)) << text;
}

TEST(ForwardText, MalformedTextIsRefused) {
    for (const char* text : {"", "80", "80:", ":80", "0:80", "80:0", "65536:80", "tcp:x:80:80", "tcp:1.2.3:80:80", "icmp:1:1", "tcp::1:2:3", "80:80:80"})
        EXPECT_FALSE(parse_forward(text)) << text;
}

TEST(ForwardText, TextAndBackAreTheSame) {
    for (const char* text : {"tcp:127.0.0.1:8080:80", "udp:0.0.0.0:53:5353"}) EXPECT_EQ(to_string(*parse_forward(text)), text);
}

TEST(ConsoleText, FileAndSocketNeedAPath) {
    EXPECT_FALSE(parse_console("file="));
    EXPECT_FALSE(parse_console("socket"));
    EXPECT_FALSE(parse_console("stdio=x"));
    EXPECT_EQ(parse_console("file=a=b")->path, "a=b");
    EXPECT_EQ(parse_console("pty")->kind, ConsoleKind::Pty);
}

TEST(GdbText, AnAddressMayBeLeftOut) {
    EXPECT_EQ(*parse_gdb("tcp:1234"), (GdbConfig{GdbKind::Tcp, "127.0.0.1", 1234, ""}));
    EXPECT_EQ(parse_gdb("tcp::1234")->address, "127.0.0.1");
    EXPECT_EQ(parse_gdb("tcp:0")->port, 0);
    EXPECT_EQ(parse_gdb("none")->kind, GdbKind::None);
}

TEST(GdbText, TextAndBackAreTheSame) {
    for (const char* text : {"none", "tcp:127.0.0.1:1234", "tcp:0.0.0.0:1", "tcp:[::1]:65535", "unix:/a b:c"}) EXPECT_EQ(to_string(*parse_gdb(text)), text);
}

TEST(GdbText, MalformedTextIsRefused) {
    for (const char* text : {"", "tcp", "tcp:", "tcp:x", "tcp:65536", "tcp:-1", "tcp:localhost:1", "tcp:::1:1", "tcp:[::1]", "tcp:[1.2.3.4]:1", "tcp:1.2.3.4:", "unix:", "1234", "tls:1"})
        EXPECT_FALSE(parse_gdb(text)) << text;
}

TEST(GdbText, OnlyLoopbackAndUnixSocketsAreLocal) {
    for (const char* text : {"none", "unix:x", "tcp:1", "tcp:127.9.9.9:1", "tcp:[::1]:1"}) EXPECT_TRUE(is_local(*parse_gdb(text))) << text;
    for (const char* text : {"tcp:0.0.0.0:1", "tcp:10.0.0.1:1", "tcp:[::]:1", "tcp:[fe80::1]:1"}) EXPECT_FALSE(is_local(*parse_gdb(text))) << text;
}

TEST(PerfText, EveryFormRoundTripsAndNonsenseIsRefused) {
    for (const char* text : {"off", "map", "jitdump=/tmp/x"}) EXPECT_EQ(to_string(*parse_perf(text)), text);
    for (const char* text : {"", "jitdump", "jitdump=", "maps"}) EXPECT_FALSE(parse_perf(text)) << text;
}
