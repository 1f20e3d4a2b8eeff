#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/guest_config.h"

using namespace yado;
using namespace yado::api;
using testing::HasSubstr;

TEST(FlatText, KeysAndValuesFillADisk) {
    const auto disk = parse_disk("path=a.img,format=raw,snapshot=on,id=root,serial=S1,aio=threads");
    ASSERT_TRUE(disk) << disk.error().message();
    EXPECT_EQ(disk->path, "a.img");
    EXPECT_EQ(disk->id, "root");
    EXPECT_EQ(disk->serial, "S1");
    EXPECT_TRUE(disk->snapshot);
    EXPECT_FALSE(disk->readonly);
    EXPECT_EQ(disk->aio, DiskAio::Threads);
}

TEST(FlatText, TheFirstItemMayBeAValueAlone) {
    EXPECT_EQ(parse_disk("a.img,readonly=on")->path, "a.img");
    EXPECT_EQ(parse_net("none")->kind, NetKind::None);
}

TEST(FlatText, ADoubledCommaIsACommaOfTheValue) {
    const auto disk = parse_disk("path=a,,b=c,,.img,id=x");
    ASSERT_TRUE(disk);
    EXPECT_EQ(disk->path, "a,b=c,.img");
    EXPECT_EQ(disk->id, "x");
}

TEST(FlatText, AnUnknownKeyIsNamedWithTheKnownOnes) {
    const auto disk = parse_disk("path=a.img,cachee=off");
    ASSERT_FALSE(disk);
    EXPECT_EQ(disk.error().kind(), ErrorKind::Usage);
    EXPECT_THAT(disk.error().message(), HasSubstr("unknown key \"cachee\"; known keys are id, path, bus, format"));
}

TEST(FlatText, AWordThatIsNoneOfAnEnumIsRefusedWithTheWords) {
    EXPECT_THAT(parse_net("kind=bridge").error().message(), HasSubstr("kind: \"bridge\" is none of user, none"));
}

TEST(FlatText, ASwitchThatIsNeitherOnNorOffIsRefused) {
    EXPECT_THAT(parse_disk("a.img,readonly=maybe").error().message(), HasSubstr("readonly: must be on or off"));
}

TEST(FlatText, ADiskSaysHowItIsCachedAndWhatIsFollowed) {
    const auto disk = parse_disk("a.img,backing=any,cache=unsafe,discard=off,queues=2,on-error=report,bus=scsi");
    ASSERT_TRUE(disk) << disk.error().message();
    EXPECT_EQ(disk->backing, DiskBacking::Any);
    EXPECT_EQ(disk->cache, DiskCache::Unsafe);
    EXPECT_FALSE(disk->discard);
    EXPECT_EQ(disk->queues, 2);
    EXPECT_EQ(disk->on_error, DiskOnError::Report);
    EXPECT_EQ(disk->bus, DiskBus::Scsi);
    EXPECT_EQ(parse_disk("a.img")->bus, DiskBus::Virtio);
    EXPECT_THAT(parse_disk("a.img,bus=ide").error().message(), HasSubstr("is none of virtio, scsi"));
    EXPECT_EQ(parse_disk("a.img")->backing, DiskBacking::None);
    EXPECT_FALSE(parse_disk("a.img,cache=some"));
}

TEST(FlatText, ARepeatedKeyOfAListAppends) {
    const auto net = parse_net("user,forward=tcp:8080:80,forward=udp:0.0.0.0:53:5353");
    ASSERT_TRUE(net) << net.error().message();
    ASSERT_EQ(net->forward.size(), 2u);
    EXPECT_EQ(net->forward[0], (Forward{Transport::Tcp, "127.0.0.1", 8080, 80}));
    EXPECT_EQ(net->forward[1], (Forward{Transport::Udp, "0.0.0.0", 53, 5353}));
}

TEST(FlatText, ARepeatedKeyOfAScalarIsRefused) { EXPECT_FALSE(parse_disk("path=a,path=b")); }

TEST(FlatText, EmptyItemsAndLaterBareWordsAreRefused) {
    for (const char* text : {"", "path=a,", "path=a, ,", "path=a,readonly", "=a"}) {
        const auto disk = parse_disk(text);
        ASSERT_FALSE(disk) << text;
        EXPECT_EQ(disk.error().kind(), ErrorKind::Usage);
    }
}

TEST(Toml, TheSameKeysMakeTheSameGuest) {
    const auto config = parse_toml(R"(
name = "web1"
memory = "1G"
cpus = 2
engine = "bt"
console = "file=out.log"
no_reboot = true
[[disk]]
path = "root,1.img"
snapshot = true
[[net]]
kind = "user"
forward = ["tcp:8080:80"]
)", "guest.toml");
    ASSERT_TRUE(config) << config.error().message();
    EXPECT_EQ(config->memory, 1_GiB);
    EXPECT_EQ(config->cpus, 2u);
    EXPECT_EQ(config->engine, EngineChoice::Bt);
    EXPECT_EQ(config->console.path, "out.log");
    EXPECT_EQ(config->disk.at(0).path, "root,1.img");
    EXPECT_EQ(config->net.at(0).forward.at(0).guest_port, 80);
}

TEST(Toml, AnUnknownKeyIsNamedWithFileAndLine) {
    const auto config = parse_toml("name = \"a\"\n\n[[disk]]\npath = \"x\"\npth = \"y\"\n", "guest.toml");
    ASSERT_FALSE(config);
    EXPECT_THAT(config.error().message(), HasSubstr("guest.toml:5: disk[0].pth: unknown key \"pth\""));
}

TEST(Toml, ASyntaxErrorIsNamedWithFileAndLine) {
    EXPECT_THAT(parse_toml("name = \"a\"\nmemory = = 1\n", "g.toml").error().message(), HasSubstr("g.toml:2: "));
}

TEST(Toml, AFloatIsNoNumberOfCpus) {
    EXPECT_THAT(parse_toml("cpus = 1.5", "g.toml").error().message(), HasSubstr("g.toml:1: cpus: must be a whole number"));
}

TEST(ConfigJson, ARoundTripLosesNothing) {
    GuestConfig config;
    config.name = "a";
    config.memory = 3_MiB;
    config.disk.push_back(*parse_disk("p,,q,id=d,serial=x,aio=threads,backing=folder,cache=none,discard=off,queues=4,on-error=report,bus=scsi"));
    config.net.push_back(*parse_net("user,mac=52:54:00:00:00:01,forward=tcp:1:2,dns=1.1.1.1,restrict=on"));
    config.net.push_back(*parse_net("none"));
    config.console = *parse_console("socket=/tmp/s");
    config.gdb = *parse_gdb("tcp:[::1]:1234");
    config.gdb_wait = true;
    const auto back = guest_config_from_json(to_json(config));
    ASSERT_TRUE(back) << back.error().message();
    EXPECT_EQ(*back, config);
}

TEST(ConfigJson, ADiskAloneGoesRoundToo) {
    const DiskConfig disk{.id = "data1", .path = "/a.img", .format = "qcow2", .readonly = true, .queues = 4, .on_error = DiskOnError::Report};
    EXPECT_EQ(*disk_config_from_json(to_json(disk)), disk);
    EXPECT_EQ(disk_config_from_json(R"({"path":"/a.img"})")->format, "raw");
    EXPECT_FALSE(disk_config_from_json("[]"));
}

TEST(ConfigJson, GarbageIsRefused) {
    for (const char* text : {"", "[", "[]", "{\"disk\":5}", "{\"cpus\":-1}", "{\"cpus\":4294967296}", "{\"name\":\"a\\u0000b\"}"})
        EXPECT_FALSE(guest_config_from_json(text)) << text;
}
