// A real guest on bt, from its creation to its end, without running one instruction.
#include "assemble/guest.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <thread>

namespace yado::assemble {
namespace {

struct GuestLife : testing::Test {
    GuestLife() {
        char pattern[] = "/tmp/yado-test-XXXXXX";
        folder = mkdtemp(pattern);
        config.name = "a";
        config.engine = api::EngineChoice::Bt;
        config.memory = 16_MiB;
        config.kernel = folder + "/kernel";
        config.console.kind = api::ConsoleKind::None;
        put_kernel();
        guest = create_guest(config, "");
    }
    ~GuestLife() override {
        guest.reset();
        std::filesystem::remove_all(folder);
    }
    /// A multiboot kernel that halts.
    void put_kernel() const {
        constexpr uint32_t kLoad = 0x100000, kAddressFields = 1u << 16, kMagic = 0x1badb002;
        const std::array<uint32_t, 9> image = {kMagic, kAddressFields, -(kMagic + kAddressFields), kLoad, kLoad, kLoad + 36, 0, kLoad + 32, 0xf4fa};
        std::ofstream(config.kernel, std::ios::binary).write(reinterpret_cast<const char*>(image.data()), sizeof image);
    }

    std::string folder;
    api::GuestConfig config;
    std::unique_ptr<Guest> guest;
};

TEST_F(GuestLife, BeforeItIsBuiltThePortAnswers) {
    api::GuestPort& port = guest->port();
    EXPECT_EQ(port.info().state, api::RunState::Starting);
    EXPECT_EQ(port.info().engine, "");
    EXPECT_TRUE(port.devices().empty());
    EXPECT_TRUE(port.counters().empty());
    for (const auto verb : {&api::GuestPort::pause, &api::GuestPort::resume, &api::GuestPort::reset, &api::GuestPort::power_button, &api::GuestPort::power_off})
        EXPECT_EQ((port.*verb)().error().kind(), ErrorKind::Conflict);
}

TEST_F(GuestLife, BuildingMakesTheDevices) {
    std::atomic<bool> done{false};
    std::jthread asks([&] {
        while (!done) {
            EXPECT_EQ(guest->port().info().state, api::RunState::Starting);
            const bool had_devices = !guest->port().devices().empty();
            EXPECT_TRUE(!had_devices || !guest->port().counters().empty());
        }
    });
    ASSERT_TRUE(guest->build());
    done = true;
    EXPECT_EQ(guest->port().info().engine, "bt");
    EXPECT_FALSE(guest->port().devices().empty());
    EXPECT_FALSE(guest->port().counters().empty());
}

TEST_F(GuestLife, AGuestThatIsBuiltButNotStartedIsStarting) {
    ASSERT_TRUE(guest->build());
    EXPECT_EQ(guest->port().info().state, api::RunState::Starting);
    EXPECT_EQ(guest->port().pause().error().message(), "the guest is starting, not running");
}

TEST_F(GuestLife, PoweredOffBeforeItsStartItEndsWithoutRunning) {
    ASSERT_TRUE(guest->build());
    ASSERT_TRUE(guest->port().power_off());
    ASSERT_TRUE(guest->start());
    EXPECT_EQ(guest->wait().reason, api::StopReason::Stopped);
    EXPECT_EQ(guest->port().counters().at("vcpu0.instructions"), 0u);
    EXPECT_FALSE(guest->port().devices().empty());
}

TEST_F(GuestLife, AKernelThatIsNoneIsToldByBuilding) {
    std::ofstream(config.kernel, std::ios::trunc) << std::string(64, 'x');
    const auto built = guest->build();
    ASSERT_FALSE(built);
    EXPECT_EQ(built.error().message(), "kernel " + config.kernel + ": not a kernel: no bzImage, no ELF with a PVH note, no multiboot header");
}

}  // namespace
}  // namespace yado::assemble
