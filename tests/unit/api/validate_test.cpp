#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/guest_config.h"

using namespace yado;
using namespace yado::api;
using testing::HasSubstr;

namespace {
const HostLimits kHost{8_GiB};

GuestConfig good() {
    GuestConfig config;
    config.name = "web1";
    config.kernel = "vmlinuz";
    config.disk.push_back({.path = "a.img"});
    config.net.emplace_back();
    assign_ids(config);
    return config;
}
std::string refusal(const GuestConfig& config) {
    const auto result = validate(config, kHost);
    if (result) return "accepted";
    EXPECT_EQ(result.error().kind(), ErrorKind::Usage);
    EXPECT_EQ(result.error().message().find('\n'), std::string::npos);
    return result.error().message();
}
}  // namespace

TEST(Validate, AGoodGuestPasses) { EXPECT_EQ(refusal(good()), "accepted"); }

TEST(Validate, MemoryOfZeroOddOrBeyondTheHostIsRefusedWithARemedy) {
    GuestConfig config = good();
    config.memory = Bytes(0);
    EXPECT_THAT(refusal(config), HasSubstr("memory is 0; a guest needs some, such as --memory 512M"));
    config.memory = Bytes((512ull << 20) + 1);
    EXPECT_THAT(refusal(config), HasSubstr("use 513M"));
    config.memory = 9_GiB;
    EXPECT_THAT(refusal(config), HasSubstr("memory 9G is more than this host has; use at most 8192M"));
}

TEST(Validate, CpusAreBounded) {
    GuestConfig config = good();
    config.cpus = 0;
    EXPECT_THAT(refusal(config), HasSubstr("at least one"));
    config.cpus = kMaxVcpus + 1;
    EXPECT_THAT(refusal(config), HasSubstr("the most is 254"));
}

TEST(Validate, AGuestWithNothingToBootIsRefused) {
    GuestConfig config = good();
    config.kernel.clear();
    EXPECT_THAT(refusal(config), HasSubstr("nothing to boot"));
}

TEST(Validate, AGuestThatWaitsForADebuggerNeedsAPlaceForIt) {
    GuestConfig config = good();
    config.gdb_wait = true;
    EXPECT_THAT(refusal(config), HasSubstr("--gdb-wait needs --gdb"));
    config.gdb = *parse_gdb("tcp:1234");
    EXPECT_EQ(refusal(config), "accepted");
}

TEST(Validate, TwoDevicesWithOneIdAreRefused) {
    GuestConfig config = good();
    config.net[0].id = "disk0";
    EXPECT_THAT(refusal(config), HasSubstr("two devices have the id disk0"));
}

TEST(Validate, TooManyDevicesAreRefused) {
    GuestConfig config = good();
    config.disk.resize(kMaxDevices + 1, {.path = "b"});
    assign_ids(config);
    EXPECT_THAT(refusal(config), HasSubstr("too many"));
}

TEST(Validate, ScsiDisksTakeOneSlotTogether) {
    GuestConfig config = good();
    config.disk.assign(kMaxScsiDisks, {.path = "b", .bus = DiskBus::Scsi});
    assign_ids(config);
    EXPECT_EQ(refusal(config), "accepted");
    config.disk.push_back({.id = "one-more", .path = "b", .bus = DiskBus::Scsi});
    EXPECT_THAT(refusal(config), HasSubstr("65 SCSI disks are too many; the most is 64"));
}

TEST(Validate, HotPlugPortsAreBounded) {
    GuestConfig config = good();
    config.hotplug_ports = 16;
    EXPECT_EQ(refusal(config), "accepted");
    config.hotplug_ports = 17;
    EXPECT_EQ(refusal(config), "17 hot-plug ports are too many; the most is 16");
}

TEST(Validate, ADiskAloneIsCheckedAsOneOfAGuest) {
    EXPECT_TRUE(validate(DiskConfig{.id = "data1", .path = "a.img"}));
    EXPECT_FALSE(validate(DiskConfig{.id = "data1"}));
    EXPECT_FALSE(validate(DiskConfig{.id = "a b", .path = "a.img"}));
}

TEST(Validate, ADiskWithoutPathFormatOrQueuesIsRefused) {
    GuestConfig config = good();
    config.disk[0].format = "";
    EXPECT_THAT(refusal(config), HasSubstr("has no format"));
    config.disk[0].format = "raw";
    for (const uint16_t queues : {uint16_t{0}, uint16_t{17}}) {
        config.disk[0].queues = queues;
        EXPECT_THAT(refusal(config), HasSubstr("1 to 16 are possible"));
    }
    config.disk[0] = {.id = "d"};
    EXPECT_THAT(refusal(config), HasSubstr("disk d has no path"));
}

TEST(Validate, NamesThatCouldLeaveTheFolderAreRefused) {
    for (const char* name : {"", "..", ".a", "a/b", "-x", "A", "a b", "a\n"}) EXPECT_FALSE(check_name(name)) << name;
    EXPECT_FALSE(check_name(std::string(64, 'a')));
    EXPECT_TRUE(check_name("web-1.test_2"));
}

TEST(AssignIds, GivenIdsStayAndOthersAreMadeUp) {
    GuestConfig config;
    config.name = "a";
    config.disk = {{.id = "disk1", .path = "x"}, {.path = "y"}, {.path = "z"}};
    assign_ids(config);
    EXPECT_EQ(config.disk[0].id, "disk1");
    EXPECT_EQ(config.disk[1].id, "disk0");
    EXPECT_EQ(config.disk[2].id, "disk2");
}

TEST(AssignIds, MacAddressesFollowFromNames) {
    GuestConfig a = good(), b = good();
    EXPECT_EQ(a.net[0].mac, b.net[0].mac);
    b.net[0].mac.reset();
    b.name = "web2";
    assign_ids(b);
    EXPECT_NE(a.net[0].mac, b.net[0].mac);
    EXPECT_EQ(to_string(*a.net[0].mac).substr(0, 8), "52:54:00");
}

TEST(Validate, LookingIntoTheTranslatorNeedsIt) {
    GuestConfig config = good();
    config.perf.kind = PerfKind::Map;
    EXPECT_THAT(refusal(config), HasSubstr("add --engine bt"));
    config.engine = EngineChoice::Bt;
    EXPECT_EQ(refusal(config), "accepted");
    config.perf.kind = PerfKind::Off;
    config.system_map = "System.map";
    EXPECT_THAT(refusal(config), HasSubstr("--system-map needs --perf"));
    config.system_map = "";
    config.check = CheckKind::Lockstep;
    EXPECT_EQ(refusal(config), "accepted");
    config.cpus = 2;
    EXPECT_THAT(refusal(config), HasSubstr("--cpus 1"));
}
