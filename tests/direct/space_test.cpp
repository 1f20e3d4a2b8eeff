// What comes back from natively run guest code, and that nothing of it reaches the host.
#include "direct/space.h"

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/syscall.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "direct/native_guest.h"

namespace yado::direct::test {
namespace {

using Why = Stop::Why;
using DirectSpace = NativeGuest;

class DirectSpaceWithoutTsc : public NativeGuest {
  protected:
    DirectSpaceWithoutTsc() { tsc_ = Tsc::Faults; }
};

constexpr uint64_t kLoopAt = NativeGuest::kCode;

TEST_F(DirectSpace, a_system_call_comes_back_with_all_registers_and_is_not_done) {
    code({0x0f, 0x05, 0xf4});
    begin();
    state.regs.rax = SYS_kill;  // of itself, which would end it
    state.regs.rdi = static_cast<uint64_t>(space_->runner());
    state.regs.rsi = SIGKILL;
    state.regs.r15 = 0x1234'5678'9abc'def0;
    EXPECT_EQ(run().why, Why::Syscall);
    EXPECT_EQ(state.regs.rip, kCode + 2);
    EXPECT_EQ(state.regs.rax, static_cast<uint64_t>(SYS_kill));
    EXPECT_EQ(state.regs.rcx, kCode + 2);
    EXPECT_EQ(state.regs.r15, 0x1234'5678'9abc'def0u);
    EXPECT_EQ(run().why, Why::General);  // HLT: it lives and has gone on
}

TEST_F(DirectSpace, no_system_call_number_is_ever_done_by_either_entry) {
    for (const std::initializer_list<uint8_t>& entry : {std::initializer_list<uint8_t>{0x0f, 0x05, 0xf4}, {0xcd, 0x80, 0xf4}}) {
        code(entry);
        for (unsigned long n = 0; n < 1200; ++n) {
            const unsigned long number = n < 600 ? n : n < 1100 ? 0x4000'0000 + (n - 600) : ~0ul - (n - 1100);  // the second: x32
            begin();
            state.regs.rax = number;
            const Stop stop = run();
            const bool refused = entry.begin()[0] == 0xcd && stop.why == Why::General;  // a host without 32-bit processes: INT 80h is #GP
            EXPECT_EQ(stop.why, refused ? Why::General : Why::Syscall) << number;
            EXPECT_EQ(state.regs.rip, refused ? kCode : kCode + 2) << number;
        }
    }
}

TEST_F(DirectSpace, sysenter_and_the_vsyscall_page_do_nothing_either) {
    code({0x0f, 0x34, 0xf4});
    EXPECT_NE(run().why, Why::Gone);
    begin();
    map_data(Rights::ReadWrite);
    state.regs.rip = 0xffff'ffff'ff60'0000;  // gettimeofday(rdi, rsi)
    state.regs.rsp = kData + 0x800;
    state.regs.rdi = kData;
    const Stop stop = run();
    EXPECT_TRUE(stop.why == Why::Syscall || stop.why == Why::Fault);  // as the host has vsyscalls or not
    EXPECT_EQ(state.regs.rip, 0xffff'ffff'ff60'0000u);
    EXPECT_EQ(state.regs.rsp, kData + 0x800);
    EXPECT_EQ(data()[0], 0);
}

TEST_F(DirectSpace, a_missing_page_and_a_missing_right_come_back_with_their_address) {
    code({0x48, 0x89, 0x07, 0xf4});  // mov [rdi], rax
    begin();
    state.regs.rax = 77;
    state.regs.rdi = kData + 8;
    Stop stop = run();
    EXPECT_EQ(stop.why, Why::Fault);
    EXPECT_EQ(stop.address, kData + 8);
    map_data(Rights::Read);
    stop = run();
    EXPECT_EQ(stop.why, Why::Fault);
    EXPECT_EQ(stop.address, kData + 8);
    change({.kind = Change::Kind::Protect, .address = kData, .bytes = 4096, .rights = Rights::ReadWrite});
    EXPECT_EQ(run().why, Why::General);
    EXPECT_EQ(data()[8], 77);
    change({.kind = Change::Kind::Unmap, .address = kData, .bytes = 4096});
    begin();
    EXPECT_EQ(run().why, Why::Fault);
}

TEST_F(DirectSpace, a_data_page_is_not_run) {
    map_data(Rights::ReadWrite);
    begin();
    state.regs.rip = kData;
    const Stop stop = run();
    EXPECT_EQ(stop.why, Why::Fault);
    EXPECT_EQ(stop.address, kData);
}

TEST_F(DirectSpace, a_kick_ends_an_endless_loop_and_one_that_comes_early_is_kept) {
    code({0xeb, 0xfe});
    space_->kick();
    EXPECT_EQ(run().why, Why::Kick);
    std::thread other([this] { space_->kick(); });
    EXPECT_EQ(run().why, Why::Kick);
    other.join();
    EXPECT_EQ(state.regs.rip, kLoopAt);
}

TEST_F(DirectSpace, vector_registers_and_segment_bases_go_in_and_out) {
    code({0x66, 0x0f, 0xfe, 0xc1, 0x64, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0, 0xf4});  // paddd xmm0, xmm1; mov rax, fs:[0]
    map_data(Rights::Read);
    data()[16] = 99;
    vectors = Vectors::Move;
    space_->kick();
    run();  // for the area's form
    ASSERT_GE(state.xsave_bytes, 576u);
    auto* xmm = reinterpret_cast<uint32_t*>(state.xsave.data() + 160);
    xmm[0] = 5;
    xmm[4] = 6;
    state.xsave[512] |= std::byte{3};  // XSTATE_BV: x87, SSE
    begin();
    state.regs.fs_base = kData + 16;
    EXPECT_EQ(run().why, Why::General);
    EXPECT_EQ(xmm[0], 11u);
    EXPECT_EQ(state.regs.rax, 99u);
    EXPECT_EQ(state.regs.fs_base, kData + 16);
}

TEST_F(DirectSpace, vector_registers_stay_in_the_runner_while_they_are_left_there) {
    code({0x0f, 0x05, 0xf4});
    vectors = Vectors::Move;
    space_->kick();
    run();
    for (size_t n = 0; n < 256; ++n) state.xsave[160 + n] = static_cast<std::byte>(n + 1);
    state.xsave[512] |= std::byte{3};
    const auto before = state.xsave;
    begin();
    run();
    vectors = Vectors::Leave;
    for (unsigned n = 0; n < 100; ++n) {
        begin();
        std::memset(state.xsave.data() + 160, static_cast<int>(n), 256);  // by vector registers of ours
        run();
    }
    state.regs.rip = 1;
    ASSERT_TRUE(space_->fetch_vectors(state));
    EXPECT_EQ(state.regs.rip, 1u);
    EXPECT_EQ(std::memcmp(state.xsave.data() + 160, before.data() + 160, 256), 0);
}

TEST_F(DirectSpaceWithoutTsc, reading_the_time_stamp_counter_comes_back) {
    if (!space_->tsc_faults()) GTEST_SKIP() << "the host promises that RDTSC faults, and it does not";
    code({0x0f, 0x31, 0xf4});
    EXPECT_EQ(run().why, Why::General);
    EXPECT_EQ(state.regs.rip, kCode);
}

TEST_F(DirectSpace, cpuid_comes_back_where_the_host_can_make_it) {
    if (!space_->cpuid_faults()) GTEST_SKIP() << "no CPUID faulting here";
    code({0x0f, 0xa2, 0xf4});
    EXPECT_EQ(run().why, Why::General);
    EXPECT_EQ(state.regs.rip, kCode);
}

TEST_F(DirectSpace, the_stub_cannot_be_written_replaced_or_used) {
    code({0x48, 0x89, 0x07, 0xf4});
    for (const uint64_t page : {Space::kStub, Space::kStub + 4096}) {
        begin();
        state.regs.rdi = page;
        EXPECT_EQ(run().why, Why::Fault);
        EXPECT_FALSE(try_change({.kind = Change::Kind::Map, .address = page, .bytes = 4096}));
    }
    EXPECT_FALSE(try_change({.kind = Change::Kind::Unmap, .address = 0, .bytes = Space::kUserEnd}));
    for (uint64_t offset = 0; offset < 320; ++offset) {  // wherever in our code it jumps: a trap, a fault, or its own call trapped
        begin();
        state.regs.rip = Space::kStub + offset;
        state.regs.r12 = Space::kStub;
        state.regs.r13 = Space::kStub + 0x2000;
        state.regs.r14 = Space::kUserEnd;
        EXPECT_NE(run().why, Why::Gone) << offset;
    }
    map_data(Rights::ReadWrite);  // and the mapper still does what it is told
}

TEST_F(DirectSpace, a_segment_selector_of_the_guests_does_not_leave_64_bit_mode) {
    code({0x0f, 0x05, 0xf4});
    begin();
    state.regs.cs = 0x23;
    EXPECT_EQ(run().why, Why::Syscall);
    EXPECT_EQ(state.regs.cs, 0x33u);
}

TEST_F(DirectSpace, a_far_return_into_32_bit_code_finds_no_system_call_there_either) {
    map_data(Rights::ReadWrite);
    for (const std::initializer_list<uint8_t>& entry : {std::initializer_list<uint8_t>{0xcd, 0x80}, {0x0f, 0x34}, {0x0f, 0x05}}) {
        code({0x6a, 0x23, 0x68, 0x10, 0, 0x40, 0, 0x48, 0xcb});  // push 23h; push kCode + 10h; retfq
        std::ranges::copy(entry, memory_ + 0x10);
        memory_[0x12] = 0xf4;
        begin();
        state.regs.rsp = kData + 0x800;
        state.regs.rax = 37;  // kill of the 32-bit table, and itself
        state.regs.rbx = static_cast<uint64_t>(space_->runner());
        state.regs.rcx = SIGKILL;
        const Stop stop = run();
        EXPECT_NE(stop.why, Why::Gone);
        EXPECT_TRUE(state.regs.cs == 0x23 || state.regs.cs == 0x33);
    }
    code({0xf4});
    begin();
    EXPECT_EQ(run().why, Why::General);  // it lives
}

TEST_F(DirectSpace, nothing_of_ours_is_left_but_the_stub) {
    map_data(Rights::ReadWrite);
    std::ifstream maps(fmt::format("/proc/{}/maps", space_->runner()));
    for (std::string line; std::getline(maps, line);) {
        const uint64_t from = std::stoull(line, nullptr, 16);
        EXPECT_TRUE(from == kCode || from == kData || from == Space::kStub || from == Space::kStub + 4096 || line.ends_with("[vsyscall]")) << line;
        if (line.ends_with("[vsyscall]")) continue;
        const bool list = from == Space::kStub + 4096;
        EXPECT_THAT(line, testing::HasSubstr(from == kData ? " rw-s " : list ? " r--s " : " r-x"));
    }
    const auto files = [](pid_t task) { return std::distance(std::filesystem::directory_iterator(fmt::format("/proc/{}/fd", task)), {}); };
    EXPECT_EQ(files(space_->runner()), 0);
    EXPECT_EQ(files(space_->mapper()), 1);
    for (const pid_t task : {space_->runner(), space_->mapper()}) {
        std::ifstream status(fmt::format("/proc/{}/status", task));
        const std::string text(std::istreambuf_iterator<char>(status), {});
        EXPECT_THAT(text, testing::HasSubstr("Seccomp:\t2\n"));
        EXPECT_THAT(text, testing::HasSubstr("NoNewPrivs:\t1\n"));
    }
}

TEST_F(DirectSpace, a_change_outside_of_user_space_is_refused_whole) {
    const std::array<Change, 2> changes = {Change{.kind = Change::Kind::Map, .address = kData, .bytes = 4096, .offset = 4096},
                                           Change{.kind = Change::Kind::Map, .address = 0xffff'8000'0000'0000, .bytes = 4096}};
    EXPECT_FALSE(space_->change(changes));
    code({0x48, 0x8b, 0x07, 0xf4});  // mov rax, [rdi]
    begin();
    state.regs.rdi = kData;
    EXPECT_EQ(run().why, Why::Fault);
}

TEST_F(DirectSpace, two_spaces_have_memory_of_their_own) {
    auto other = Space::create(ram_.get());
    ASSERT_TRUE(other);
    map_data(Rights::Read);
    data()[0] = 1;
    code({0x48, 0x8b, 0x07, 0xf4});
    begin();
    state.regs.rdi = kData;
    EXPECT_EQ(run().why, Why::General);
    const Change at_code{.kind = Change::Kind::Map, .address = kCode, .bytes = 4096, .rights = Rights::ReadExecute};
    ASSERT_TRUE((*other)->change({&at_code, 1}));
    begin();
    const auto stop = (*other)->run(state, Vectors::Leave);
    ASSERT_TRUE(stop);
    EXPECT_EQ(stop->why, Why::Fault);
}

TEST_F(DirectSpace, a_runner_that_is_killed_is_gone) {
    code({0xeb, 0xfe});
    ::kill(space_->runner(), SIGKILL);
    EXPECT_EQ(run().why, Why::Gone);
}

}  // namespace
}  // namespace yado::direct::test
