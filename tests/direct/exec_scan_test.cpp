#include "direct/exec_scan.h"

#include <gtest/gtest.h>

#include <vector>

namespace yado::direct::test {
namespace {

std::vector<uint8_t> page(std::initializer_list<uint8_t> bytes, size_t at) {
    std::vector<uint8_t> p(4096, 0x90);
    std::ranges::copy(bytes, p.begin() + static_cast<ptrdiff_t>(at));
    return p;
}

TEST(ExecScan, instructions_that_tell_of_the_host_are_refused_wherever_they_lie) {
    for (const std::initializer_list<uint8_t>& insn :
         {std::initializer_list<uint8_t>{0x0f, 0xa2}, {0x0f, 0x01, 0xf9}, {0x0f, 0x01, 0xd0}, {0xf3, 0x0f, 0xc7, 0xf8}, {0x0f, 0x03, 0xc1},
          {0x0f, 0x34}, {0x0f, 0x01, 0x08}, {0x0f, 0x01, 0xe0}, {0x0f, 0xae, 0x23}, {0x0f, 0xc7, 0xf0}})
        for (const size_t at : {size_t{0}, size_t{17}, 4096 - insn.size()}) EXPECT_FALSE(may_run_natively(page(insn, at), {}, TscRead::Refused)) << at;
}

TEST(ExecScan, common_instructions_are_not) {
    for (const std::initializer_list<uint8_t>& insn :
         {std::initializer_list<uint8_t>{0x0f, 0x05}, {0x0f, 0xaf, 0xc1}, {0x0f, 0x84, 0, 0, 0, 0}, {0xf0, 0x48, 0x0f, 0xc7, 0x0f},
          {0x0f, 0xae, 0xf0}, {0x0f, 0x01, 0xd6}, {0x0f, 0, 0, 0}, {0xcd, 0x80}})
        EXPECT_TRUE(may_run_natively(page(insn, 40), {}, TscRead::Harmless));
}

TEST(ExecScan, reading_the_time_stamp_counter_is_refused_where_asked) {
    EXPECT_TRUE(may_run_natively(page({0x0f, 0x31}, 9), {}, TscRead::Harmless));
    EXPECT_FALSE(may_run_natively(page({0x0f, 0x31}, 9), {}, TscRead::Refused));
}

TEST(ExecScan, an_instruction_that_goes_on_in_the_next_page_is_seen) {
    const std::vector<uint8_t> cut = page({0x0f}, 4095);
    const std::vector<uint8_t> cpuid{0xa2}, harmless{0xaf, 0xc1};
    EXPECT_FALSE(may_run_natively(cut, cpuid, TscRead::Harmless));
    EXPECT_TRUE(may_run_natively(cut, harmless, TscRead::Harmless));
    EXPECT_FALSE(may_run_natively(cut, {}, TscRead::Harmless));
}

}  // namespace
}  // namespace yado::direct::test
