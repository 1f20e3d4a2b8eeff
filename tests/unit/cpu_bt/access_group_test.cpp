// Groups of accesses that one check serves, where they cross pages: against the interpreter.
#include <gmock/gmock.h>

#include "bt_guest.h"

namespace yado::cpu_bt::test {
namespace {

using cpu_interp::test::kTables;
using testing::Contains;
using testing::Key;
using testing::Pair;

constexpr uint64_t kArray = 0x40'0000, kTable = 0x9000, kFrames = 0x60'0000;
constexpr uint64_t kPages = 8;

/// Sums and stores with a step of eight over kPages pages; three accesses a round whose addresses differ by constants.
#define WALK "mov $0x400000, %esi; mov $4090, %ecx; 1: add (%rsi), %rax; xor 8(%rsi), %rax; mov %rax, 16(%rsi); add $8, %rsi; dec %ecx; jnz 1b; hlt"

/// The array's pages lie one after the other in the guest's memory, or backwards.
enum class Order { Neighbours, Backwards };

void prepare(cpu_interp::test::Guest& g, Order order) {
    g.store<uint64_t>(kTables + 0x2000 + 8 * (kArray >> 21), kTable | 7);
    for (uint64_t n = 0; n < 512; ++n) g.store<uint64_t>(kTable + 8 * n, (kFrames + (order == Order::Neighbours ? n : 511 - n) * kPageSize) | 7);
    for (uint64_t at = 0; at < 512 * kPageSize; at += 8) g.store<uint64_t>(kFrames + at, at * 0x9e37'79b9'7f4a'7c15);
}

uint64_t by_interpreter(Order order, std::span<const std::byte> code, uint64_t* last) {
    cpu_interp::test::Guest g;
    prepare(g, order);
    const uint64_t sum = g.run_code(code).gpr[cpu::RAX];
    *last = g.read<uint64_t>(kFrames + (order == Order::Neighbours ? kPages - 1 : 512 - kPages) * kPageSize + 4000);
    return sum;
}

void compare(BtGuest& g, Order order) {
    GUEST_CODE(code, 64, WALK);
    uint64_t last = 0;
    const uint64_t sum = by_interpreter(order, code, &last);
    prepare(g, order);
    EXPECT_EQ(g.run_code(code).gpr[cpu::RAX], sum);
    EXPECT_EQ(g.read<uint64_t>(kFrames + (order == Order::Neighbours ? kPages - 1 : 512 - kPages) * kPageSize + 4000), last);
}

TEST(AccessGroup, PagesThatAreNeighboursInMemoryAreServedTogether) {
    BtGuest g;
    compare(g, Order::Neighbours);
    EXPECT_LE(g.counted("translator")["setbacks"], kPages);  // each page's first access comes through such a group
}

TEST(AccessGroup, PagesThatAreNotAreServedOneByOne) {
    BtGuest g;
    compare(g, Order::Backwards);
    EXPECT_GT(g.counted("translator")["setbacks"], kPages);
    EXPECT_GT(g.counted("translator")["careful_lines"], 0u);
}

TEST(AccessGroup, TheRestOfALineIsTheSameWithoutGroupsFromTheFirstSetbackOn) {
    BtGuest g({.warm = 1, .careful = 1});
    compare(g, Order::Backwards);
}

}  // namespace
}  // namespace yado::cpu_bt::test
