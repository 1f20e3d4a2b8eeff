// What the disk answers to commands (SPC-4, SBC-3), sent through the controller.
#include "fakes/scsi_rig.h"

namespace yado::virtio {
namespace {

struct ScsiCommands : testing::Test, ScsiRig {
    uint64_t be(size_t at, size_t size) {
        uint64_t value = 0;
        for (const uint8_t byte : in(at + size)) value = value << 8 | byte;
        return size == 8 ? value : value & ((1ull << 8 * size) - 1);
    }
    Bytes8 pattern(uint8_t first, size_t size = 512) {
        Bytes8 bytes(size);
        std::iota(bytes.begin(), bytes.end(), first);
        return bytes;
    }
    Answer unmap(const std::vector<std::pair<uint64_t, uint32_t>>& ranges) {
        Bytes8 list(8 + 16 * ranges.size());
        store_be(&list[0], static_cast<uint16_t>(list.size() - 2));
        store_be(&list[2], static_cast<uint16_t>(list.size() - 8));
        for (size_t i = 0; i < ranges.size(); ++i) {
            store_be(&list[8 + 16 * i], ranges[i].first);
            store_be(&list[16 + 16 * i], ranges[i].second);
        }
        out(list);
        const auto size = static_cast<uint16_t>(list.size());
        return command({0x42, 0, 0, 0, 0, 0, 0, static_cast<uint8_t>(size >> 8), static_cast<uint8_t>(size)}, size);
    }
    Answer cache(uint8_t byte2) {
        Bytes8 list(24);
        list[4] = 0x08, list[5] = 18, list[6] = byte2;
        out(list);
        return command({0x15, 0x10, 0, 0, 24}, 24);
    }
};
struct ScsiSealed : testing::Test, ScsiRig {
    ScsiSealed() : ScsiRig(true) {}
};

TEST_F(ScsiCommands, AnUnknownCommandIsRefused) {
    EXPECT_EQ(command({0xff}).sense(), 0x52000u);
    EXPECT_EQ(command({0x9e, 0x1f}).sense(), 0x52000u);  // a service action that there is not
    EXPECT_EQ(scsi().counters(0).errors, 0u);
}

TEST_F(ScsiCommands, BitsThatACommandDoesNotHaveAreRefusedWithTheirPlace) {
    EXPECT_EQ(command({0x28, 0x20, 0, 0, 0, 1, 0, 0, 1}, 0, 512).sense(), 0x52400u);  // protection information
    EXPECT_EQ(machine.load<uint8_t>(kResponse + 12 + 15), 0xc0);
    EXPECT_EQ(machine.load<uint8_t>(kResponse + 12 + 17), 1);
    EXPECT_EQ(command({0x28, 0, 0, 0, 0, 1, 0, 0, 1, 4}, 0, 512).sense(), 0x52400u);  // NACA
    EXPECT_EQ(command({0x1b, 0, 0, 0, 2}).sense(), 0x52400u);                           // eject
}

TEST_F(ScsiCommands, ItIntroducesItself) {
    ASSERT_TRUE(command({0x12, 0, 0, 0, 96}, 0, 96).good());
    const Bytes8 inquiry = in(96);
    EXPECT_EQ(inquiry[0], 0);
    EXPECT_EQ(inquiry[2], 6);
    EXPECT_EQ(std::string(&inquiry[8], &inquiry[36]), "YADO    DISK            1   ");
    EXPECT_EQ(command({0x12, 0, 0, 0, 5}, 0, 5).header.residual, 0u);
    EXPECT_EQ(in(5)[4], 91);  // of all that there is
    EXPECT_EQ(command({0x12, 0, 1, 0, 5}, 0, 5).sense(), 0x52400u);
}

TEST_F(ScsiCommands, VitalProductDataIsThere) {
    const auto page = [&](uint8_t number) {
        EXPECT_TRUE(command({0x12, 1, number, 0, 0xff}, 0, 0xff).good());
        EXPECT_EQ(in(2)[1], number);
        return in(4 + be(2, 2));
    };
    EXPECT_EQ(page(0x00), (Bytes8{0, 0, 0, 6, 0, 0x80, 0x83, 0xb0, 0xb1, 0xb2}));
    EXPECT_EQ(page(0x80), (Bytes8{0, 0x80, 0, 4, 'S', 'N', '4', '2'}));
    EXPECT_EQ(page(0x83), (Bytes8{0, 0x83, 0, 16, 2, 1, 0, 12, 'Y', 'A', 'D', 'O', ' ', ' ', ' ', ' ', 'S', 'N', '4', '2'}));
    EXPECT_EQ(page(0xb0).size(), 64u);
    EXPECT_EQ(be(8, 4), 0xffffu);
    EXPECT_EQ(be(20, 4), 2u << 20);
    EXPECT_EQ(be(24, 4), 255u);
    EXPECT_EQ(be(36, 8), 2u << 20);
    EXPECT_EQ(page(0xb1)[5], 1);
    EXPECT_EQ(page(0xb2), (Bytes8{0, 0xb2, 0, 4, 0, 0xe4, 2, 0}));
    EXPECT_EQ(command({0x12, 1, 0xb3, 0, 0xff}, 0, 0xff).sense(), 0x52400u);
}

TEST_F(ScsiCommands, ItsCapacityIsTheImages) {
    ASSERT_TRUE(command({0x25}, 0, 8).good());
    EXPECT_EQ(be(0, 4), 2047u);
    EXPECT_EQ(be(4, 4), 512u);
    ASSERT_TRUE(command({0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32}, 0, 32).good());
    EXPECT_EQ(be(0, 8), 2047u);
    EXPECT_EQ(be(13, 1), 3u);
    EXPECT_EQ(be(14, 1), 0xc0u);
}

TEST_F(ScsiCommands, TheTargetHasOneLogicalUnit) {
    ASSERT_TRUE(command({0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 16}, 0, 16).good());
    EXPECT_EQ(in(16), (Bytes8{0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}));
    ASSERT_TRUE(command({0xa0, 0, 1, 0, 0, 0, 0, 0, 0, 16}, 0, 16).good());
    EXPECT_EQ(be(0, 4), 0u);
    EXPECT_EQ(command({0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 15}, 0, 16).sense(), 0x52400u);
    EXPECT_EQ(command({0xa0, 0, 9, 0, 0, 0, 0, 0, 0, 16}, 0, 16).sense(), 0x52400u);
}

TEST_F(ScsiCommands, EveryFormReadsAndWrites) {
    const std::vector<std::pair<Bytes8, Bytes8>> forms{
        {{0x0a, 0, 0, 5, 1}, {0x08, 0, 0, 5, 1}},
        {{0x2a, 0, 0, 0, 0, 6, 0, 0, 1}, {0x28, 0, 0, 0, 0, 6, 0, 0, 1}},
        {{0xaa, 0, 0, 0, 0, 7, 0, 0, 0, 1}, {0xa8, 0, 0, 0, 0, 7, 0, 0, 0, 1}},
        {{0x8a, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 1}, {0x88, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 1}},
    };
    uint8_t sector = 5;
    for (const auto& [write, read] : forms) {
        out(pattern(sector));
        EXPECT_TRUE(command(write, 512).good());
        EXPECT_EQ(disk.data[sector * 512 + 10], sector + 10);
        EXPECT_TRUE(command(read, 0, 512).good());
        EXPECT_EQ(in(512), pattern(sector));
        ++sector;
    }
    EXPECT_TRUE(command({0x08, 0, 0, 0, 0}, 0, 256 * 512).good());  // 0: 256 blocks
    EXPECT_EQ(response().header.residual, 0u);
    EXPECT_TRUE(command({0x28, 0, 0, 0, 8, 0, 0, 0, 0}).good());  // 0 blocks: none
}

TEST_F(ScsiCommands, BlocksOutsideOfTheDiskAreOutOfRange) {
    EXPECT_EQ(command({0x28, 0, 0, 0, 8, 0, 0, 0, 1}, 0, 512).sense(), 0x52100u);
    EXPECT_EQ(command({0x28, 0, 0, 0, 7, 0xff, 0, 0, 2}, 0, 1024).sense(), 0x52100u);
    EXPECT_EQ(command({0x88, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 2}, 0, 1024).sense(), 0x52100u);
    EXPECT_EQ(command({0x2a, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 1}, 512).sense(), 0x52100u);
    EXPECT_EQ(command({0x28, 0, 0, 0, 8, 1, 0, 0, 0}).sense(), 0x52100u);
    EXPECT_EQ(command({0x35, 0, 0, 0, 8, 1}).sense(), 0x52100u);
    EXPECT_EQ(unmap({{0, 1}, {2047, 2}}).sense(), 0x52100u);
    EXPECT_EQ(unmap({{~0ull, 0xffffffff}}).sense(), 0x52100u);
    EXPECT_TRUE(disk.discards.empty());
    EXPECT_EQ(scsi().counters(0).errors, 6u);
}

TEST_F(ScsiCommands, AWriteByForceOfUnitAccessIsFlushed) {
    EXPECT_TRUE(command({0x2a, 0x08, 0, 0, 0, 1, 0, 0, 1}, 512).good());
    EXPECT_EQ(disk.flushes, 1u);
    EXPECT_TRUE(command({0x0a, 0x08, 0, 0, 1}, 512).header.status);  // of WRITE(6) the bit belongs to the address
    EXPECT_EQ(disk.flushes, 1u);
    EXPECT_TRUE(command({0x28, 0x08, 0, 0, 0, 1, 0, 0, 1}, 0, 512).good());  // from the medium: it has to be there
    EXPECT_EQ(disk.flushes, 2u);
}

TEST_F(ScsiCommands, SynchronizingTheCacheFlushes) {
    EXPECT_TRUE(command({0x35}).good());
    EXPECT_TRUE(command({0x91, 2}).good());
    EXPECT_EQ(disk.flushes, 2u);
    EXPECT_EQ(scsi().counters(0).flushes, 2u);
}

TEST_F(ScsiCommands, TheWriteCacheIsShownAndSwitched) {
    ASSERT_TRUE(command({0x1a, 0x08, 0x08, 0, 0xff}, 0, 0xff).good());
    EXPECT_EQ(be(0, 4), 0x17001000u);  // 24 bytes, DPOFUA
    EXPECT_EQ(be(4, 3), 0x081204u);
    ASSERT_TRUE(cache(0).good());
    EXPECT_EQ(disk.flushes, 1u);  // what the cache had
    EXPECT_TRUE(command({0x2a, 0, 0, 0, 0, 1, 0, 0, 1}, 512).good());
    EXPECT_EQ(disk.flushes, 2u);
    EXPECT_TRUE(unmap({{0, 8}}).good());
    EXPECT_EQ(disk.flushes, 3u);
    ASSERT_TRUE(command({0x1a, 0x08, 0x08, 0, 0xff}, 0, 0xff).good());
    EXPECT_EQ(be(4, 3), 0x081200u);
    ASSERT_TRUE(command({0x1a, 0x08, 0x88, 0, 0xff}, 0, 0xff).good());  // by default it is on
    EXPECT_EQ(be(4, 3), 0x081204u);
    ASSERT_TRUE(cache(4).good());
    EXPECT_TRUE(command({0x2a, 0, 0, 0, 0, 1, 0, 0, 1}, 512).good());
    EXPECT_EQ(disk.flushes, 3u);
}

TEST_F(ScsiCommands, ModeSenseShowsPagesAndBlocksInBothForms) {
    ASSERT_TRUE(command({0x1a, 0, 0x3f, 0, 0xff}, 0, 0xff).good());
    EXPECT_EQ(in(4), (Bytes8{4 + 8 + 20 + 12 - 1, 0, 0x10, 8}));
    EXPECT_EQ(be(4, 8), 2048ull << 32 | 512);
    ASSERT_TRUE(command({0x5a, 0x10, 0x0a, 0, 0, 0, 0, 0, 0xff}, 0, 0xff).good());  // LLBAA
    EXPECT_EQ(in(8), (Bytes8{0, 8 + 16 + 12 - 2, 0, 0x10, 1, 0, 0, 16}));
    EXPECT_EQ(be(8, 8), 2048u);
    EXPECT_EQ(be(24, 4), 0x0a0a0010u);
    ASSERT_TRUE(command({0x5a, 0x08, 0x7f, 0xff, 0, 0, 0, 0, 0xff}, 0, 0xff).good());  // changeable
    EXPECT_EQ(be(8, 3), 0x081204u);
    EXPECT_EQ(be(28, 4), 0x0a0a0000u);
    EXPECT_EQ(command({0x1a, 0, 0xc8, 0, 0xff}, 0, 0xff).sense(), 0x53900u);  // saved
    EXPECT_EQ(command({0x1a, 0, 0x1c, 0, 0xff}, 0, 0xff).sense(), 0x52400u);
    EXPECT_EQ(command({0x1a, 0, 0x08, 3, 0xff}, 0, 0xff).sense(), 0x52400u);
}

TEST_F(ScsiCommands, ModeSelectTakesNothingButTheWriteCache) {
    EXPECT_EQ(cache(0x14).sense(), 0x52600u);                         // another bit
    EXPECT_EQ(command({0x15, 0, 0, 0, 24}, 24).sense(), 0x52400u);    // no page format
    EXPECT_EQ(command({0x15, 0x11, 0, 0, 24}, 24).sense(), 0x52400u);  // to be saved
    EXPECT_EQ(command({0x15, 0x10, 0, 0, 3}, 3).sense(), 0x51a00u);
    EXPECT_EQ(command({0x55, 0x10, 0, 0, 0, 0, 0, 0xff, 0xff}, 0xffff).sense(), 0x51a00u);
    out({0, 0, 0, 200, 0x08, 18});
    EXPECT_EQ(command({0x15, 0x10, 0, 0, 24}, 24).sense(), 0x51a00u);  // descriptors longer than the list
    out({0, 0, 0, 0, 0x08, 200});
    EXPECT_EQ(command({0x15, 0x10, 0, 0, 24}, 24).sense(), 0x51a00u);
    out({0, 0, 0, 0, 0x08, 0});
    EXPECT_EQ(command({0x15, 0x10, 0, 0, 6}, 6).sense(), 0x52600u);
    out({0, 0, 0, 0, 0x08});
    EXPECT_EQ(command({0x15, 0x10, 0, 0, 5}, 5).sense(), 0x51a00u);
    out({0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0x10, 0});
    EXPECT_EQ(command({0x15, 0x10, 0, 0, 12}, 12).sense(), 0x52600u);  // blocks of 4096
    out({0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 2, 0});
    EXPECT_TRUE(command({0x15, 0x10, 0, 0, 12}, 12).good());
    EXPECT_TRUE(command({0x15, 0x10, 0, 0, 0}).good());
    ASSERT_TRUE(command({0x1a, 0x08, 0x08, 0, 0xff}, 0, 0xff).good());
    EXPECT_EQ(be(4, 3), 0x081204u);
}

TEST_F(ScsiCommands, UnmapDiscardsWhatItsListNames) {
    EXPECT_TRUE(unmap({{8, 16}, {64, 0}, {2040, 8}}).good());
    EXPECT_EQ(disk.discards, (std::vector<std::pair<uint64_t, uint64_t>>{{4096, 8192}, {2040 * 512, 4096}}));
    EXPECT_TRUE(command({0x42}).good());  // no list
    EXPECT_EQ(command({0x42, 0, 0, 0, 0, 0, 0, 0, 7}, 7).sense(), 0x51a00u);
    Bytes8 list(24);
    list[3] = 32;  // longer than the list
    out(list);
    EXPECT_EQ(command({0x42, 0, 0, 0, 0, 0, 0, 0, 24}, 24).sense(), 0x51a00u);
    EXPECT_EQ(unmap(std::vector<std::pair<uint64_t, uint32_t>>(256, {0, 1})).sense(), 0x52600u);
    EXPECT_EQ(command({0x42, 1, 0, 0, 0, 0, 0, 0, 24}, 24).sense(), 0x52400u);  // anchored
    EXPECT_EQ(scsi().counters(0).discards, 1u);
}

TEST_F(ScsiCommands, WriteSameClearsOrRepeatsABlock) {
    std::ranges::fill(disk.data, 0xcc);
    fill_out(512, 0);
    EXPECT_TRUE(command({0x93, 0x08, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2}, 512).good());
    EXPECT_TRUE(disk.unmapped);
    EXPECT_EQ(disk.data[511], 0xcc);
    EXPECT_EQ(disk.data[512], 0);
    EXPECT_EQ(disk.data[1535], 0);
    EXPECT_EQ(disk.data[1536], 0xcc);
    EXPECT_TRUE(command({0x93, 0x01, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1}).good());  // NDOB
    EXPECT_FALSE(disk.unmapped);
    EXPECT_EQ(disk.data[9 * 512], 0);
    out(pattern(1));
    EXPECT_TRUE(command({0x41, 0x08, 0, 0, 0, 100, 0, 2, 88}, 512).good());  // 600 blocks of a pattern
    EXPECT_EQ(Bytes8(&disk.data[100 * 512], &disk.data[101 * 512]), pattern(1));
    EXPECT_EQ(Bytes8(&disk.data[699 * 512], &disk.data[700 * 512]), pattern(1));
    EXPECT_EQ(disk.data[99 * 512], 0xcc);
    EXPECT_EQ(disk.data[700 * 512], 0xcc);
    EXPECT_EQ(command({0x41, 0, 0, 0, 0, 0, 0, 0, 0}, 512).sense(), 0x52400u);  // WSNZ
    EXPECT_EQ(command({0x93, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0, 0, 0}, 512).sense(), 0x52100u);
    EXPECT_EQ(command({0x41, 0, 0, 0, 0, 0, 0, 0, 1}).header.response, 1);  // without its block
}

TEST_F(ScsiCommands, VerifyReadsAndCompares) {
    EXPECT_TRUE(command({0x2f, 0, 0, 0, 0, 0, 0, 8, 0}).good());
    EXPECT_EQ(scsi().counters(0).bytes_read, 1u << 20);
    out(pattern(3));
    std::ranges::copy(pattern(3), disk.data.begin() + 512);
    EXPECT_TRUE(command({0x8f, 0x02, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1}, 512).good());
    disk.data[1000] ^= 1;
    EXPECT_EQ(command({0x8f, 0x02, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1}, 512).sense(), 0xe1d00u);
    EXPECT_EQ(command({0xaf, 0x04, 0, 0, 0, 1, 0, 0, 0, 1}, 512).sense(), 0x52400u);
    disk.fail_next = true;
    EXPECT_EQ(command({0x2f, 0, 0, 0, 0, 0, 0, 8, 0}).sense(), 0x31100u);
}

TEST_F(ScsiCommands, AStoppedUnitIsNotReadyUntilItIsStarted) {
    EXPECT_TRUE(command({0x1b}).good());
    EXPECT_EQ(disk.flushes, 1u);
    EXPECT_EQ(command({0x00}).sense(), 0x20402u);
    EXPECT_EQ(command({0x28, 0, 0, 0, 0, 1, 0, 0, 1}, 0, 512).sense(), 0x20402u);
    EXPECT_TRUE(command({0x12, 0, 0, 0, 5}, 0, 5).good());
    EXPECT_TRUE(command({0x03, 0, 0, 0, 18}, 0, 18).good());
    EXPECT_EQ(in(14)[2], 2);
    EXPECT_TRUE(command({0x1b, 0, 0, 0, 1}).good());
    EXPECT_TRUE(command({0x00}).good());
}

TEST_F(ScsiCommands, AFailingImageIsAMediumErrorAndAFullOneHasNoSpace) {
    disk.fail_next = true;
    EXPECT_EQ(command({0x28, 0, 0, 0, 0, 1, 0, 0, 1}, 0, 512).sense(), 0x31100u);
    EXPECT_EQ(response().header.residual, 512u);
    disk.fail_next = true;
    EXPECT_EQ(command({0x2a, 0, 0, 0, 0, 1, 0, 0, 1}, 512).sense(), 0x30c00u);
    disk.fail_next = true;
    EXPECT_EQ(command({0x35}).sense(), 0x30c00u);
    disk.fail_with = errno_error(ENOSPC, "write");
    EXPECT_EQ(command({0x2a, 0, 0, 0, 0, 1, 0, 0, 1}, 512).sense(), 0x72707u);
    disk.fail_with.reset();
    EXPECT_EQ(scsi().counters(0).errors, 4u);
    EXPECT_TRUE(command({0x28, 0, 0, 0, 0, 1, 0, 0, 1}, 0, 512).good());
}

TEST_F(ScsiCommands, AUnitAttentionIsToldOnceAndNotToThoseWhoOnlyAsk) {
    driver.set_status(0);
    machine.settle();
    start();
    EXPECT_TRUE(command({0x12, 0, 0, 0, 36}, 0, 36).good());
    EXPECT_TRUE(command({0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 16}, 0, 16).good());
    EXPECT_EQ(command({0xff}).sense(), 0x62900u);
    EXPECT_EQ(command({0xff}).sense(), 0x52000u);
    ASSERT_TRUE(scsi().unit_resized(0));
    EXPECT_TRUE(command({0x03, 0, 0, 0, 18}, 0, 18).good());  // takes it
    EXPECT_EQ(in(14)[2], 6);
    EXPECT_TRUE(command({0x00}).good());
}

TEST_F(ScsiCommands, ItTellsWhichCommandsThereAre) {
    ASSERT_TRUE(command({0xa3, 0x0c, 1, 0x93, 0, 0, 0, 0, 1, 0}, 0, 256).good());  // WRITE SAME (16)
    EXPECT_EQ(be(0, 4), 0x00030010u);
    EXPECT_EQ(be(4, 2), 0x9309u);
    ASSERT_TRUE(command({0xa3, 0x0c, 1, 0xa2, 0, 0, 0, 0, 1, 0}, 0, 256).good());
    EXPECT_EQ(be(0, 4), 0x00010000u);
    ASSERT_TRUE(command({0xa3, 0x0c, 0x82, 0x9e, 0, 0x10, 0, 0, 1, 0}, 0, 256).good());
    EXPECT_EQ(be(0, 4), 0x00830010u);
    EXPECT_EQ(be(4, 2), 0x9e10u);
    EXPECT_EQ(be(20, 2), 10u);  // timeouts
    ASSERT_TRUE(command({0xa3, 0x0c, 0, 0, 0, 0, 0, 0, 4, 0}, 0, 1024).good());
    EXPECT_EQ(be(0, 4), 28u * 8);
    EXPECT_EQ(command({0xa3, 0x0c, 1, 0x9e, 0, 0, 0, 0, 1, 0}, 0, 256).sense(), 0x52400u);  // has service actions
    EXPECT_EQ(command({0xa3, 0x0c, 2, 0x28, 0, 0, 0, 0, 1, 0}, 0, 256).sense(), 0x52400u);  // has none
    EXPECT_EQ(command({0xa3, 0x0c, 7, 0x28, 0, 0, 0, 0, 1, 0}, 0, 256).sense(), 0x52400u);
}

TEST_F(ScsiSealed, AReadOnlyDiskSaysSoAndRefusesToChange) {
    ASSERT_TRUE(command({0x1a, 0x08, 0x08, 0, 0xff}, 0, 0xff).good());
    EXPECT_EQ(in(4)[2], 0x90);
    ASSERT_TRUE(command({0x12, 1, 0xb2, 0, 0xff}, 0, 0xff).good());
    EXPECT_EQ(in(6)[5], 0);
    for (const Bytes8& write : {Bytes8{0x2a, 0, 0, 0, 0, 1, 0, 0, 1}, Bytes8{0x0a, 0, 0, 1, 1}, Bytes8{0x41, 0, 0, 0, 0, 1, 0, 0, 1}, Bytes8{0x42}})
        EXPECT_EQ(command(write, 512).sense(), 0x72700u);
    EXPECT_TRUE(command({0x35}).good());
    EXPECT_TRUE(command({0x28, 0, 0, 0, 0, 1, 0, 0, 1}, 0, 512).good());
}

}  // namespace
}  // namespace yado::virtio
