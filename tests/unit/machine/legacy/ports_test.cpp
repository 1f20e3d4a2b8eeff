#include "base/bytes.h"
#include "irq/fakes.h"
#include "machine/legacy/fw_cfg.h"
#include "machine/legacy/i8042.h"
#include "machine/legacy/simple_ports.h"

namespace yado::machine {
namespace {

struct I8042Test : testing::Test {
    FakeLine keyboard, mouse;
    int resets = 0;
    I8042 controller{{.keyboard_irq = keyboard, .mouse_irq = mouse, .reset = [this] { ++resets; }}};
    void command(uint8_t v) { controller.command_port().write(0, 1, v); }
    void data(uint8_t v) { controller.data_port().write(0, 1, v); }
    uint8_t status() { return static_cast<uint8_t>(controller.command_port().read(0, 1)); }
    uint8_t data() { return static_cast<uint8_t>(controller.data_port().read(0, 1)); }
};

TEST_F(I8042Test, TheSelfTestPasses) {
    command(0xaa);
    EXPECT_EQ(status() & 1, 1);
    EXPECT_EQ(data(), 0x55);
    EXPECT_EQ(status() & 1, 0);
}

TEST_F(I8042Test, PulsingTheResetLineResets) {
    command(0xfe);
    EXPECT_EQ(resets, 1);
    command(0xff);
    EXPECT_EQ(resets, 1) << "pulses nothing";
    command(0xd1);
    data(0x02);
    EXPECT_EQ(resets, 2);
}

TEST_F(I8042Test, TheCommandByteReadsBack) {
    command(0x60);
    data(0x74);
    command(0x20);
    EXPECT_EQ(data(), 0x74);
}

TEST_F(I8042Test, AnAbsentKeyboardTimesOut) {
    data(0xf2);
    EXPECT_EQ(status() & 0x41, 0x41);
    EXPECT_TRUE(keyboard.level);
    EXPECT_EQ(data(), 0xfe);
    EXPECT_FALSE(keyboard.level);
}

TEST_F(I8042Test, Port92SetsA20AndResets) {
    controller.system_control().write(0, 1, 0x00);
    EXPECT_FALSE(controller.a20());
    controller.system_control().write(0, 1, 0x03);
    EXPECT_TRUE(controller.a20());
    EXPECT_EQ(resets, 1);
}

TEST_F(I8042Test, EveryCommandIsSurvivedAndStateCarriesOver) {
    for (unsigned v = 0; v < 256; ++v) {
        command(static_cast<uint8_t>(v));
        data(static_cast<uint8_t>(v));
        data();
    }
    command(0x60);
    I8042 other({.keyboard_irq = keyboard, .mouse_irq = mouse, .reset = {}});
    carry_over(controller, other);
    other.data_port().write(0, 1, 0x21);
    other.command_port().write(0, 1, 0x20);
    EXPECT_EQ(other.data_port().read(0, 1), 0x21u);
}

struct FwCfgTest : testing::Test {
    mem::GuestMemory memory;
    FwCfg fw{{memory}};
    void SetUp() override { ASSERT_TRUE(memory.add_ram(GuestPhysAddr(0), 64_KiB).has_value()); }
    static std::vector<std::byte> bytes(std::string_view text) {
        const auto raw = std::as_bytes(std::span(text));
        return {raw.begin(), raw.end()};
    }
    std::string read(uint16_t key, size_t n) {
        fw.ports().write(0, 2, key);
        std::string out;
        while (n--) out += static_cast<char>(fw.ports().read(1, 1));
        return out;
    }
    /// Runs a descriptor at 0x1000; returns its control word afterwards.
    uint32_t dma(uint32_t control, uint32_t length, uint64_t address) {
        std::array<std::byte, 16> raw;
        store_be(raw.data(), control);
        store_be(raw.data() + 4, length);
        store_be(raw.data() + 8, address);
        EXPECT_TRUE(memory.write(GuestPhysAddr(0x1000), raw).has_value());
        fw.dma_ports().write(4, 4, std::byteswap(0x1000u));
        return std::byteswap(*memory.load<uint32_t>(GuestPhysAddr(0x1000)));
    }
};

TEST_F(FwCfgTest, TheSignatureAndInterfaceAreThere) {
    EXPECT_EQ(read(0, 4), "QEMU");
    EXPECT_EQ(read(1, 4), std::string("\x03\0\0\0", 4));
    EXPECT_EQ(fw.dma_ports().read(0, 4), 0x554d4551u) << "QEMU in byte order";
}

TEST_F(FwCfgTest, FilesAreListedByName) {
    ASSERT_TRUE(fw.add_file("etc/b", bytes("bee")).has_value());
    ASSERT_TRUE(fw.add_file("etc/a", bytes("ay")).has_value());
    EXPECT_FALSE(fw.add_file("etc/a", {}).has_value());
    EXPECT_FALSE(fw.add_file(std::string(56, 'x'), {}).has_value());
    const std::string directory = read(0x19, 4 + 2 * 64);
    EXPECT_EQ(directory.substr(0, 10), std::string("\0\0\0\2\0\0\0\2\0\x21", 10));
    EXPECT_EQ(directory.substr(12, 5), "etc/a");
    EXPECT_EQ(read(0x20, 5), std::string("bee\0\0", 5));
}

TEST_F(FwCfgTest, DmaCopiesAnItem) {
    ASSERT_TRUE(fw.add_item(0x40, bytes("payload")).has_value());
    EXPECT_EQ(dma(0x40 << 16 | 0x0a, 9, 0x2000), 0u);
    std::array<char, 9> out;
    ASSERT_TRUE(memory.read(GuestPhysAddr(0x2000), std::as_writable_bytes(std::span(out))).has_value());
    EXPECT_EQ(std::string(out.data(), 9), std::string("payload\0\0", 9));
}

TEST_F(FwCfgTest, DmaSkipsThenReads) {
    ASSERT_TRUE(fw.add_item(0x40, bytes("payload")).has_value());
    EXPECT_EQ(dma(0x40 << 16 | 0x0c, 3, 0), 0u);
    EXPECT_EQ(dma(0x02, 1, 0x2000), 0u);
    EXPECT_EQ(*memory.load<char>(GuestPhysAddr(0x2000)), 'l');
}

TEST_F(FwCfgTest, HostileDmaIsRefused) {
    EXPECT_EQ(dma(0x02, 16, 1ull << 40), 1u) << "outside RAM";
    EXPECT_EQ(dma(0x02, 16, ~0ull), 1u) << "wraps";
    EXPECT_EQ(dma(0x02, ~0u, 0), 1u) << "far beyond the item";
    EXPECT_EQ(dma(0x10, 4, 0), 1u) << "writing";
    fw.dma_ports().write(0, 8, ~0ull);
    fw.dma_ports().write(0, 4, ~0u);
    fw.dma_ports().write(4, 4, ~0u);
}

TEST_F(FwCfgTest, AnySizeIsSurvivedAndStateCarriesOver) {
    torture(fw.ports(), 2);
    torture(fw.dma_ports(), 8);
    read(0, 2);
    FwCfg other({memory});
    carry_over(fw, other);
    EXPECT_EQ(other.ports().read(1, 1), uint64_t('M'));
}

TEST(PvPanic, ReportsEvents) {
    std::vector<PanicEvent> events;
    PvPanic device({[&](PanicEvent e) { events.push_back(e); }});
    EXPECT_EQ(device.read(0, 1), 3u);
    device.write(0, 1, 1);
    device.write(0, 1, 2);
    device.write(0, 1, 0x80);
    EXPECT_EQ(events, (std::vector{PanicEvent::Panicked, PanicEvent::CrashLoaded}));
}

TEST(DebugExit, PassesTheValueOn) {
    uint32_t value = 0;
    DebugExit device({[&](uint32_t v) { value = v; }});
    device.write(0, 4, 0x31);
    EXPECT_EQ(value, 0x31u);
}

}  // namespace
}  // namespace yado::machine
