#include "mem/guest_memory.h"

#include <gtest/gtest.h>

namespace yado::mem {
namespace {

class Memory : public testing::Test {
  protected:
    Memory() {
        EXPECT_TRUE(memory.add_ram(GuestPhysAddr(0), 64_KiB));
        EXPECT_TRUE(memory.add_ram(GuestPhysAddr(0x10000), 64_KiB));  // touches the first
        EXPECT_TRUE(memory.add_ram(GuestPhysAddr(0x100000), 64_KiB));
        EXPECT_TRUE(memory.add_ram(GuestPhysAddr(0x200000), 4_KiB, Access::ReadOnly));
    }
    GuestMemory memory;
};

TEST_F(Memory, OverlapsAndMisalignedExtentsAreRefused) {
    EXPECT_FALSE(memory.add_ram(GuestPhysAddr(0x8000), 4_KiB));
    EXPECT_FALSE(memory.add_ram(GuestPhysAddr(0x300001), 4_KiB));
    EXPECT_FALSE(memory.add_ram(GuestPhysAddr(0x300000), Bytes(100)));
    EXPECT_FALSE(memory.add_ram(GuestPhysAddr(0x300000), Bytes(0)));
    EXPECT_FALSE(memory.add_ram(GuestPhysAddr(1ull << 52), 4_KiB));
}

TEST_F(Memory, AccessesMaySpanExtentsThatTouch) {
    EXPECT_TRUE(memory.store<uint64_t>(GuestPhysAddr(0xfffc), 0x1122334455667788));
    EXPECT_EQ(*memory.load<uint64_t>(GuestPhysAddr(0xfffc)), 0x1122334455667788u);
}

TEST_F(Memory, AnAccessThatLeavesRamDoesNothingAtAll) {
    std::vector<std::byte> data(16, std::byte{0xff});
    EXPECT_FALSE(memory.write(GuestPhysAddr(0x1fff8), data));
    EXPECT_EQ(*memory.load<uint64_t>(GuestPhysAddr(0x1fff8)), 0u);
    EXPECT_FALSE(memory.read(GuestPhysAddr(~0ull - 4), data));
    EXPECT_FALSE(memory.read(GuestPhysAddr(0x80000), data));
}

TEST_F(Memory, ReadOnlyMemoryIsWrittenOnlyByLoaders) {
    EXPECT_FALSE(memory.store<uint32_t>(GuestPhysAddr(0x200000), 1));
    EXPECT_FALSE(memory.range(GuestPhysAddr(0x200000), Bytes(4), GuestMemory::Intent::Write));
    const uint32_t value = 7;
    EXPECT_TRUE(memory.load_rom(GuestPhysAddr(0x200000), std::as_bytes(std::span(&value, 1))));
    EXPECT_EQ(*memory.load<uint32_t>(GuestPhysAddr(0x200000)), 7u);
}

TEST_F(Memory, ARangeNeverSpansExtentsNorIsEmpty) {
    EXPECT_FALSE(memory.range(GuestPhysAddr(0xf000), Bytes(0x2000), GuestMemory::Intent::Read));
    EXPECT_FALSE(memory.range(GuestPhysAddr(0), Bytes(0), GuestMemory::Intent::Read));
    EXPECT_FALSE(memory.range(GuestPhysAddr(0x100000), Bytes(~0ull), GuestMemory::Intent::Read));
    EXPECT_TRUE(memory.range(GuestPhysAddr(0x10f000), Bytes(0x1000), GuestMemory::Intent::Write));
}

TEST_F(Memory, TheDirtyLogHoldsEveryWrittenPageOnce) {
    memory.set_dirty_log(true);
    (void)memory.store<uint64_t>(GuestPhysAddr(0x1ffc), 1);  // two pages
    (void)memory.store<uint8_t>(GuestPhysAddr(0x100123), 1);
    const auto r = memory.range(GuestPhysAddr(0x3000), Bytes(10), GuestMemory::Intent::Write);
    memory.wrote(*r);
    EXPECT_EQ(memory.harvest_dirty(), (std::vector<uint64_t>{1, 2, 3, 0x100}));
    EXPECT_TRUE(memory.harvest_dirty().empty());
}

TEST_F(Memory, WatchersHearOfWritesToCodePagesOnly) {
    struct Watcher : CodeWatcher {
        std::vector<uint64_t> seen;
        void code_written(GuestPhysAddr a, Bytes) override { seen.push_back(a.value()); }
    } watcher;
    memory.add_watcher(&watcher);
    memory.mark_code(GuestPhysAddr(0x2000));
    (void)memory.store<uint8_t>(GuestPhysAddr(0x1000), 1);
    (void)memory.store<uint64_t>(GuestPhysAddr(0x1ffc), 1);
    EXPECT_EQ(watcher.seen, (std::vector<uint64_t>{0x2000}));
    memory.clear_code(GuestPhysAddr(0x2000));
    (void)memory.store<uint8_t>(GuestPhysAddr(0x2000), 1);
    EXPECT_EQ(watcher.seen.size(), 1u);
    memory.remove_watcher(&watcher);
}

TEST_F(Memory, SharedIndicesMustBeAligned) {
    EXPECT_FALSE(memory.atomic<uint16_t>(GuestPhysAddr(0x1001)));
    EXPECT_TRUE(memory.atomic<uint16_t>(GuestPhysAddr(0x1002)));
    EXPECT_FALSE(memory.atomic<uint16_t>(GuestPhysAddr(0x80000)));
}

}  // namespace
}  // namespace yado::mem
