#include "bus/address_space.h"

#include <gtest/gtest.h>

namespace yado::bus {
namespace {

struct Recorder : IoHandler {
    struct Access {
        uint64_t offset;
        unsigned size;
        uint64_t value;
        bool operator==(const Access&) const = default;
    };
    std::vector<Access> writes;
    uint64_t answer = 0x1122334455667788;
    uint64_t read(uint64_t offset, unsigned) override { return answer + offset; }
    void write(uint64_t offset, unsigned size, uint64_t value) override { writes.push_back({offset, size, value}); }
};

TEST(AddressSpace, AnAccessReachesTheOwnerWithItsOffset) {
    AddressSpace space("memory", 1ull << 52);
    Recorder device;
    ASSERT_TRUE(space.attach(0x1000, 0x10, device, "d"));
    space.write(0x1004, 4, 0xffffffff12345678);
    EXPECT_EQ(device.writes, (std::vector<Recorder::Access>{{4, 4, 0x12345678}}));
    EXPECT_EQ(space.read(0x1000, 2), 0x7788u);
}

TEST(AddressSpace, NobodyReadsAllOnesAndSwallowsWrites) {
    AddressSpace space("port", 0x10000);
    EXPECT_EQ(space.read(0x80, 1), 0xffu);
    EXPECT_EQ(space.read(0x80, 4), 0xffffffffu);
    space.write(0x80, 1, 1);
}

TEST(AddressSpace, AnAccessAcrossTheEndOfARangeReachesNobody) {
    AddressSpace space("memory", 1ull << 52);
    Recorder device;
    ASSERT_TRUE(space.attach(0x1000, 0x10, device, "d"));
    EXPECT_EQ(space.read(0x100e, 4), 0xffffffffu);
    space.write(0x100e, 4, 0);
    EXPECT_TRUE(device.writes.empty());
}

TEST(AddressSpace, OddSizesAreSplitIntoBytes) {
    AddressSpace space("memory", 1ull << 52);
    Recorder device;
    ASSERT_TRUE(space.attach(0, 0x10, device, "d"));
    space.write(1, 3, 0xccbbaa);
    EXPECT_EQ(device.writes, (std::vector<Recorder::Access>{{1, 1, 0xaa}, {2, 1, 0xbb}, {3, 1, 0xcc}}));
}

TEST(AddressSpace, OverlapsAreRefusedWithBothNames) {
    AddressSpace space("memory", 1ull << 52);
    Recorder a, b;
    ASSERT_TRUE(space.attach(0x1000, 0x1000, a, "hpet"));
    const auto r = space.attach(0x1800, 0x1000, b, "disk0");
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().kind(), ErrorKind::Conflict);
    EXPECT_NE(r.error().message().find("hpet"), std::string::npos);
    EXPECT_FALSE(space.attach(0, 0, b, "b"));
    EXPECT_FALSE(space.attach(~0ull, 2, b, "b"));
    space.detach(0x1000, a);
    EXPECT_TRUE(space.attach(0x1800, 0x1000, b, "disk0"));
}

}  // namespace
}  // namespace yado::bus
