// Disks that come and go in a real guest on bt, whose kernel only halts: nobody answers to the slots' buttons.
#include <gtest/gtest.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <filesystem>
#include <fstream>

#include "assemble/guest.h"
#include "base/fd.h"

namespace yado::assemble {
namespace {

struct Hotplug : testing::Test {
    Hotplug() {
        char pattern[] = "/tmp/yado-test-XXXXXX";
        folder = mkdtemp(pattern);
        config.name = "a";
        config.engine = api::EngineChoice::Bt;
        config.memory = 16_MiB;
        config.kernel = folder + "/kernel";
        config.console.kind = api::ConsoleKind::None;
        config.hotplug_ports = 2;
        put_kernel();
        make_image("a.img");
        make_image("b.img");
    }
    ~Hotplug() override {
        subscription = {};
        guest.reset();
        std::filesystem::remove_all(folder);
    }
    void start() {
        guest = create_guest(config, "");
        ASSERT_TRUE(guest->build());
        std::vector<api::Event> past;
        subscription = guest->port().events().subscribe(0, past, [this](const api::Event& event) {
            const std::lock_guard lock(mutex);
            seen.push_back(event.kind + " " + event.detail);
            changed.notify_all();
        });
        ASSERT_TRUE(guest->start());
    }
    /// A multiboot kernel that halts.
    void put_kernel() const {
        constexpr uint32_t kLoad = 0x100000, kAddressFields = 1u << 16, kMagic = 0x1badb002;
        const std::array<uint32_t, 9> image = {kMagic, kAddressFields, -(kMagic + kAddressFields), kLoad, kLoad, kLoad + 36, 0, kLoad + 32, 0xf4fa};
        std::ofstream(config.kernel, std::ios::binary).write(reinterpret_cast<const char*>(image.data()), sizeof image);
    }
    void make_image(const std::string& name) const {
        std::ofstream(folder + "/" + name).put('x');
        std::filesystem::resize_file(folder + "/" + name, 1 << 20);
    }
    api::DiskConfig disk(const std::string& name, const std::string& id) const { return {.id = id, .path = folder + "/" + name}; }
    Result<api::DeviceInfo> attach(const std::string& name, const std::string& id) { return guest->port().attach_disk(disk(name, id)); }
    Result<> detach(std::string_view id, api::Detach how = api::Detach::Ask) { return guest->port().detach_disk(id, how); }
    std::string place_of(const std::string& id) {
        for (const auto& d : guest->port().devices())
            if (d.id == id) return d.location + " " + d.detail;
        return "";
    }
    void await(const std::string& event, size_t count = 1) {
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return static_cast<size_t>(std::ranges::count(seen, event)) >= count; });
    }
    bool is_free(const std::string& name) const {
        const Fd file(open((folder + "/" + name).c_str(), O_RDWR | O_CLOEXEC));
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 0, .l_pid = 0};
        return fcntl(file.get(), F_OFD_SETLK, &lock) == 0;
    }

    std::string folder;
    api::GuestConfig config;
    std::unique_ptr<Guest> guest;
    std::mutex mutex;
    std::condition_variable changed;
    std::vector<std::string> seen;
    api::EventLog::Subscription subscription;
};

TEST_F(Hotplug, ADiskGoesIntoAPortIsListedCountedAndLockedAndLeavesAgain) {
    start();
    EXPECT_NE(place_of("port1").find("slot 1, empty"), std::string::npos) << place_of("port1");
    const auto added = attach("a.img", "data1");
    ASSERT_TRUE(added) << added.error().message();
    EXPECT_EQ(added->kind, "virtio-blk");
    EXPECT_NE(place_of("port1").find("slot 1, data1, no power"), std::string::npos) << place_of("port1");
    EXPECT_EQ(guest->port().counters().at("data1.reads"), 0u);
    EXPECT_FALSE(is_free("a.img"));
    await("disk-added data1: " + folder + "/a.img");
    ASSERT_TRUE(detach("data1"));  // nobody gave the slot power, so nobody is asked
    await("disk-removed data1");
    EXPECT_TRUE(is_free("a.img"));
    EXPECT_EQ(place_of("data1"), "");
    ASSERT_TRUE(attach("a.img", "data1"));
}

TEST_F(Hotplug, ADiskWithoutAnIdGetsOneThatIsFree) {
    config.disk.push_back(disk("b.img", "disk0"));
    start();
    EXPECT_EQ(attach("a.img", "")->id, "disk1");
}

TEST_F(Hotplug, WhatCannotBeAttachedIsRefusedAndLeavesNothing) {
    config.disk.push_back(disk("b.img", "disk0"));
    start();
    EXPECT_EQ(attach("missing.img", "data1").error().kind(), ErrorKind::NotFound);
    EXPECT_EQ(attach("b.img", "data1").error().kind(), ErrorKind::Conflict);  // locked by disk0
    EXPECT_EQ(attach("a.img", "disk0").error().kind(), ErrorKind::Conflict);
    EXPECT_EQ(attach("a.img", "no good id").error().kind(), ErrorKind::Usage);
    EXPECT_TRUE(is_free("a.img"));
    ASSERT_TRUE(attach("a.img", "data1"));
}

TEST_F(Hotplug, WhereAllPortsAreTakenTheNextDiskIsRefusedAndItsFileIsFree) {
    config.hotplug_ports = 1;
    start();
    ASSERT_TRUE(attach("a.img", "data1"));
    const auto refused = attach("b.img", "data2");
    EXPECT_EQ(refused.error().kind(), ErrorKind::Conflict);
    EXPECT_EQ(refused.error().message(), "all 1 hot-plug ports are taken; detach something, or start the guest with more --hotplug-ports");
    EXPECT_TRUE(is_free("b.img"));
}

TEST_F(Hotplug, AGuestWithoutPortsTakesNone) {
    config.hotplug_ports = 0;
    start();
    EXPECT_EQ(attach("a.img", "data1").error().kind(), ErrorKind::Conflict);
}

TEST_F(Hotplug, WhatIsInNoPortOrNotThereCannotBeDetached) {
    config.disk.push_back(disk("b.img", "disk0"));
    start();
    EXPECT_EQ(detach("disk0").error().kind(), ErrorKind::Conflict);
    EXPECT_EQ(detach("data1").error().kind(), ErrorKind::NotFound);
    EXPECT_EQ(detach("rng0").error().kind(), ErrorKind::NotFound);
}

TEST_F(Hotplug, AResetGivesTheDiskPowerAndTheNextOneEndsAQuestion) {
    start();
    ASSERT_TRUE(attach("a.img", "data1"));
    ASSERT_TRUE(guest->port().reset());
    EXPECT_EQ(place_of("port1").find("no power"), std::string::npos);
    ASSERT_TRUE(detach("data1"));
    await("disk-detaching data1: the guest was asked to let it go");
    EXPECT_NE(place_of("port1").find("asked to let it go"), std::string::npos);
    EXPECT_FALSE(is_free("a.img"));
    ASSERT_TRUE(detach("data1"));  // asked again
    await("disk-detaching data1: the guest was asked to let it go", 2);
    ASSERT_TRUE(guest->port().reset());
    await("disk-removed data1");
    EXPECT_TRUE(is_free("a.img"));
    EXPECT_NE(place_of("port1").find("empty"), std::string::npos);
}

TEST_F(Hotplug, ForceNeedsNoAnswer) {
    start();
    ASSERT_TRUE(attach("a.img", "data1"));
    ASSERT_TRUE(guest->port().reset());
    ASSERT_TRUE(detach("data1", api::Detach::Force));
    await("disk-removed data1");
    EXPECT_TRUE(is_free("a.img"));
}

TEST_F(Hotplug, APausedGuestTakesDisksToo) {
    start();
    ASSERT_TRUE(guest->port().pause());
    ASSERT_TRUE(attach("a.img", "data1"));
    ASSERT_TRUE(attach("b.img", "data2"));
    ASSERT_TRUE(detach("data2", api::Detach::Force));
    ASSERT_TRUE(guest->port().resume());
    await("disk-removed data2");
    EXPECT_NE(place_of("data1"), "");
    EXPECT_EQ(place_of("data2"), "");
}

TEST_F(Hotplug, BeforeTheStartAndAfterTheEndThereIsNobodyToAttachTo) {
    guest = create_guest(config, "");
    EXPECT_EQ(attach("a.img", "data1").error().kind(), ErrorKind::Conflict);
    ASSERT_TRUE(guest->build());
    EXPECT_EQ(attach("a.img", "data1").error().kind(), ErrorKind::Conflict);
    ASSERT_TRUE(guest->start());
    ASSERT_TRUE(attach("a.img", "data1"));
    ASSERT_TRUE(guest->port().power_off());
    EXPECT_EQ(guest->wait().reason, api::StopReason::Stopped);
    EXPECT_EQ(attach("b.img", "data2").error().kind(), ErrorKind::Conflict);
    EXPECT_EQ(detach("data1").error().kind(), ErrorKind::Conflict);
    EXPECT_TRUE(is_free("a.img"));
}

}  // namespace
}  // namespace yado::assemble
