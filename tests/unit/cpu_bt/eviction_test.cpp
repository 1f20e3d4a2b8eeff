// More code than fits: the oldest generation of decoded blocks or of translations gives way, and what comes back is made again.
#include <gmock/gmock.h>

#include "bt_guest.h"

namespace yado::cpu_bt::test {
namespace {

using testing::Contains;
using testing::Pair;

constexpr uint64_t kBegin = 0x20'0000, kStride = 64;

/// `count` blocks, each of which counts in RAX and jumps to the next; around RCX times.
void load_ring(cpu_interp::test::Guest& g, uint64_t count) {
    GUEST_CODE(link, 64, "inc %rax; jmp .+62");  // kStride from the INC on
    GUEST_CODE(last, 64, "dec %rcx; jz 1f; mov $0x200000, %edx; jmp *%rdx; 1: hlt");
    for (uint64_t n = 0; n < count; ++n) g.load(kBegin + n * kStride, link);
    g.load(kBegin + count * kStride, last);
}

cpu::CpuState start(uint64_t rounds) {
    cpu::CpuState s = cpu_interp::test::Guest::long_mode(kBegin);
    s.gpr[cpu::RCX] = rounds;
    return s;
}

TEST(Eviction, DecodedPagesGiveWayByGenerations) {
    constexpr uint64_t kBlocks = 200'000;
    BtGuest g({.warm = 1000});
    load_ring(g, kBlocks);
    EXPECT_EQ(g.run(start(2)).gpr[cpu::RAX], 2 * kBlocks);
    auto code = g.counted("code");
    EXPECT_GT(code["pages_evicted"], kBlocks * kStride / 4096 / 4);
    EXPECT_EQ(code["caches_dropped"], 0u);
    EXPECT_THAT(g.counted("translator"), Contains(Pair("blocks_translated", 0)));
}

TEST(Eviction, TranslationsGiveWayByGenerations) {
    constexpr uint64_t kBlocks = 40'000;
    BtGuest g({.cache_bytes = size_t{4} << 20, .warm = 1});
    load_ring(g, kBlocks);
    EXPECT_EQ(g.run(start(2)).gpr[cpu::RAX], 2 * kBlocks);
    EXPECT_GT(g.counted("translator")["evictions"], 8u);
    auto cache = g.counted("code_cache");
    EXPECT_GT(cache["used"], cache["size"] / 4);
    EXPECT_LE(cache["used"], cache["size"]);
    EXPECT_EQ(g.counted("code")["caches_dropped"], 0u);
}

/// What fits is not made again.
TEST(Eviction, AWorkingSetThatFitsStays) {
    constexpr uint64_t kBlocks = 1000;
    BtGuest g;
    load_ring(g, kBlocks);
    EXPECT_EQ(g.run(start(10)).gpr[cpu::RAX], 10 * kBlocks);
    EXPECT_EQ(g.counted("code")["blocks_decoded"], kBlocks + 3);
    EXPECT_EQ(g.counted("code")["pages_evicted"], 0u);
    EXPECT_EQ(g.counted("translator")["evictions"], 0u);
}

}  // namespace
}  // namespace yado::cpu_bt::test
