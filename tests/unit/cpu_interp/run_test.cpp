// Whole snippets through make_vcpu: control flow, stacks, strings, self-modifying code, vCPUs beside each other.
#include <atomic>
#include <thread>

#include "guest.h"

namespace yado::cpu_interp::test {
namespace {

TEST(Run, AnInstructionSequenceEndsAtHalt) {
    GUEST_CODE(code, 64, "mov $6, %eax; imul $7, %eax, %ebx; hlt");
    Guest g;
    const auto s = g.run_code(code);
    EXPECT_EQ(s.gpr[cpu::RBX], 42u);
    EXPECT_EQ(s.activity, cpu::Activity::Halted);
    EXPECT_EQ(s.rip, kCode + code.size());
    EXPECT_EQ(g.vcpus[0]->instructions(), 3u);
}

TEST(Run, ALoopCountsEveryInstruction) {
    GUEST_CODE(code, 64, "mov $100000, %ecx; xor %eax, %eax; 1: add %rcx, %rax; dec %rcx; jnz 1b; hlt");
    Guest g;
    EXPECT_EQ(g.run_code(code).gpr[cpu::RAX], 5000050000u);
    EXPECT_EQ(g.vcpus[0]->instructions(), 3u + 300000);
}

TEST(Run, CallsAndReturnsNest) {
    GUEST_CODE(code, 64, R"(
        mov $12, %edi ; call fib ; hlt
    fib: cmp $2, %rdi ; jb 1f
        push %rdi ; dec %rdi ; call fib ; pop %rdi
        push %rax ; sub $2, %rdi ; call fib ; pop %rcx ; add %rcx, %rax ; ret
    1:  mov %rdi, %rax ; ret)");
    Guest g;
    const auto s = g.run_code(code);
    EXPECT_EQ(s.gpr[cpu::RAX], 144u);
    EXPECT_EQ(s.gpr[cpu::RSP], kStack);
}

TEST(Run, RipRelativeOperandsWorkAnywhereInABlock) {
    GUEST_CODE(code, 64, "nop; nop; mov 1f(%rip), %rax; lea 1f(%rip), %rbx; mov 1f+8(%rip), %rcx; hlt; 1: .quad 11, 22");
    Guest g;
    const auto s = g.run_code(code);
    EXPECT_EQ(s.gpr[cpu::RAX], 11u);
    EXPECT_EQ(s.gpr[cpu::RBX], kCode + code.size() - 16);
    EXPECT_EQ(s.gpr[cpu::RCX], 22u);
}

TEST(Run, RealModeWrapsAndSegments) {
    GUEST_CODE(code, 16, "mov $0x1234, %ax; mov %ax, %ds; mov $0x5678, %bx; movw $0xbeef, (%bx); push %bx; pop %cx; hlt");
    Guest g;
    g.load(0x500, code);
    const auto s = g.run(Guest::real_mode(0x500));
    EXPECT_EQ(s.gpr[cpu::RCX], 0x5678u);
    EXPECT_EQ(g.read<uint16_t>(0x12340 + 0x5678), 0xbeef);
}

TEST(Run, AnInstructionAcrossAPageEdgeRunsInALoop) {
    GUEST_CODE(code, 64, "1: add $0x1000001, %rax; dec %ecx; jnz 1b; hlt");
    Guest g;
    g.load(kCode + 4096 - 3, code);
    auto s = Guest::long_mode(kCode + 4096 - 3);
    s.gpr[cpu::RCX] = 1000;
    EXPECT_EQ(g.run(s).gpr[cpu::RAX], 1000ull * 0x1000001);
}

TEST(Run, AStoreIntoTheNextInstructionIsSeen) {
    GUEST_CODE(code, 64, "movb $2, 1f+1(%rip); 1: mov $1, %eax; hlt");
    Guest g;
    EXPECT_EQ(g.run_code(code).gpr[cpu::RAX], 2u);
}

TEST(Run, AStoreIntoABlockThatRanBeforeIsSeen) {
    GUEST_CODE(code, 64, R"(
        xor %ebx, %ebx
    2:  call 1f ; add %eax, %ebx ; incb 1f+1(%rip) ; cmpb $11, 1f+1(%rip) ; jne 2b ; hlt
        .balign 64
    1:  mov $1, %eax ; ret)");
    Guest g;
    EXPECT_EQ(g.run_code(code).gpr[cpu::RBX], 55u);
}

TEST(Run, DataBesideCodeOnOnePageChangesWithoutHarm) {
    GUEST_CODE(code, 64, R"(
        mov $1000, %ecx
    1:  incl 2f(%rip) ; lock incl 2f+4(%rip) ; dec %ecx ; jnz 1b
        mov 2f(%rip), %eax ; mov 2f+4(%rip), %ebx ; hlt
        .balign 64
    2:  .long 0, 0)");
    Guest g;
    const auto s = g.run_code(code);
    EXPECT_EQ(s.gpr[cpu::RAX], 1000u);
    EXPECT_EQ(s.gpr[cpu::RBX], 1000u);
}

TEST(Run, CodeWrittenByADeviceIsSeen) {
    GUEST_CODE(one, 64, "mov $1, %eax; hlt");
    GUEST_CODE(two, 64, "mov $2, %eax; hlt");
    Guest g;
    EXPECT_EQ(g.run_code(one).gpr[cpu::RAX], 1u);
    EXPECT_EQ(g.run_code(two).gpr[cpu::RAX], 2u);
    EXPECT_EQ(g.run_code(one).gpr[cpu::RAX], 1u);
}

TEST(Run, OneCodePageServesTwoLinearAddresses) {
    GUEST_CODE(code, 64, "lea 0(%rip), %rax; hlt");
    Guest g;
    g.store<uint64_t>(kTables + 0x2000 + 8 * 31, 0x87);  // the last 2 MiB show the first
    EXPECT_EQ(g.run_code(code).gpr[cpu::RAX], kCode + 7);
    EXPECT_EQ(g.run(Guest::long_mode((31ull << 21) + kCode)).gpr[cpu::RAX], (31ull << 21) + kCode + 7);
}

TEST(Run, RepMovsCopiesAcrossPages) {
    GUEST_CODE(code, 64, "cld; rep movsb; hlt");
    Guest g;
    std::vector<std::byte> bytes(20000);
    for (size_t n = 0; n < bytes.size(); ++n) bytes[n] = static_cast<std::byte>(n * 7);
    g.load(kData + 100, bytes);
    auto s = Guest::long_mode();
    s.gpr[cpu::RSI] = kData + 100;
    s.gpr[cpu::RDI] = kData + 0x100001;
    s.gpr[cpu::RCX] = bytes.size();
    s = g.run_code(code, s);
    EXPECT_EQ(s.gpr[cpu::RCX], 0u);
    EXPECT_EQ(s.gpr[cpu::RDI], kData + 0x100001 + bytes.size());
    std::vector<std::byte> copy(bytes.size());
    ASSERT_TRUE(g.memory.read(GuestPhysAddr(kData + 0x100001), copy));
    EXPECT_EQ(copy, bytes);
}

TEST(Run, AnOverlappingRepMovsRepeatsItsPattern) {
    GUEST_CODE(code, 64, "cld; rep movsb; hlt");
    Guest g;
    g.store<uint32_t>(kData, 0x00434241);
    auto s = Guest::long_mode();
    s.gpr[cpu::RSI] = kData;
    s.gpr[cpu::RDI] = kData + 3;
    s.gpr[cpu::RCX] = 9;
    g.run_code(code, s);
    EXPECT_EQ(g.read<uint64_t>(kData + 4), 0x4342414342414342u);
}

TEST(Run, ALockedAddAcrossPagesIsDone) {
    GUEST_CODE(code, 64, "lock addq %rax, (%rbx); xchg %rcx, (%rbx); hlt");
    Guest g;
    g.store<uint64_t>(kData + 4093, 40);
    auto s = Guest::long_mode();
    s.gpr[cpu::RAX] = 2;
    s.gpr[cpu::RBX] = kData + 4093;
    EXPECT_EQ(g.run_code(code, s).gpr[cpu::RCX], 42u);
}

TEST(Run, KickEndsAnEndlessLoop) {
    GUEST_CODE(code, 64, "1: inc %rax; jmp 1b");
    Guest g;
    g.load(kCode, code);
    cpu::Vcpu& vcpu = g.add_vcpu();
    ASSERT_TRUE(vcpu.set_state(Guest::long_mode()));
    std::thread kicker([&] {
        while (vcpu.instructions() < 1000) std::this_thread::yield();
        vcpu.kick();
    });
    EXPECT_TRUE(std::holds_alternative<cpu::Kicked>(vcpu.run()));
    kicker.join();
}

TEST(Run, KickEndsAHugeRepInstructionWhichGoesOnLater) {
    GUEST_CODE(code, 64, "rep stosb; hlt");
    Guest g;
    g.load(kCode, code);
    cpu::Vcpu& vcpu = g.add_vcpu();
    auto s = Guest::long_mode();
    s.gpr[cpu::RDI] = kData;
    s.gpr[cpu::RCX] = 48u << 20;
    s.gpr[cpu::RAX] = 0x5a;
    ASSERT_TRUE(vcpu.set_state(s));
    vcpu.kick();
    EXPECT_TRUE(std::holds_alternative<cpu::Kicked>(vcpu.run()));
    while (!std::holds_alternative<cpu::Halted>(vcpu.run())) {}
    EXPECT_EQ(vcpu.get_state()->gpr[cpu::RCX], 0u);
    EXPECT_EQ(g.read<uint8_t>(kData + (48u << 20) - 1), 0x5a);
}

TEST(Run, ATripleFaultShutsDown) {
    GUEST_CODE(code, 64, "ud2");
    Guest g;
    g.load(kCode, code);
    cpu::Vcpu& vcpu = g.add_vcpu();
    auto s = Guest::long_mode();
    s.idtr.limit = 0;
    ASSERT_TRUE(vcpu.set_state(s));
    const auto exit = vcpu.run();
    ASSERT_TRUE(std::holds_alternative<cpu::ShutdownRequest>(exit));
    EXPECT_EQ(std::get<cpu::ShutdownRequest>(exit).cause, cpu::ShutdownCause::TripleFault);
}

TEST(Run, StateComesBackAsItWasSet) {
    Guest g;
    cpu::Vcpu& vcpu = g.add_vcpu();
    auto s = Guest::long_mode();
    for (unsigned n = 0; n < 16; ++n) s.gpr[n] = 0x1111'1111'1111'1111u * n;
    s.rflags = 0x2 | cpu::rflags::CF | cpu::rflags::OF | cpu::rflags::DF | cpu::rflags::AC;
    s.dr[1] = 0x1234;
    ASSERT_TRUE(vcpu.set_state(s));
    const auto back = *vcpu.get_state();
    EXPECT_EQ(back.gpr, s.gpr);
    EXPECT_EQ(back.rflags, s.rflags);
    EXPECT_EQ(back.seg, s.seg);
    EXPECT_EQ(back.dr, s.dr);
    EXPECT_EQ(back.cr3, s.cr3);
}

TEST(Run, ContradictingControlRegistersAreRefused) {
    Guest g;
    cpu::Vcpu& vcpu = g.add_vcpu();
    auto s = Guest::long_mode();
    s.cr0 &= ~cpu::cr0::PE;
    const auto r = vcpu.set_state(s);
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().kind(), ErrorKind::Corrupt);
}

/// Two vCPUs, each on its own thread, until both halt.
void run_both(Guest& g, const cpu::CpuState& first, const cpu::CpuState& second) {
    cpu::Vcpu& a = g.add_vcpu();
    cpu::Vcpu& b = g.add_vcpu();
    ASSERT_TRUE(a.set_state(first));
    ASSERT_TRUE(b.set_state(second));
    std::thread other([&] { EXPECT_TRUE(std::holds_alternative<cpu::Halted>(b.run())); });
    EXPECT_TRUE(std::holds_alternative<cpu::Halted>(a.run()));
    other.join();
}

TEST(Smp, LockedIncrementsOfTwoProcessorsAllCount) {
    GUEST_CODE(code, 64, "mov $200000, %ecx; 1: lock incl (%rbx); lock cmpxchg8b 64(%rbx); dec %ecx; jnz 1b; hlt");
    Guest g;
    g.load(kCode, code);
    auto s = Guest::long_mode();
    s.gpr[cpu::RBX] = kData;
    run_both(g, s, s);
    EXPECT_EQ(g.read<uint32_t>(kData), 400000u);
}

TEST(Smp, LockedIncrementsAcrossPagesAllCount) {
    GUEST_CODE(code, 64, "mov $20000, %ecx; 1: lock incl (%rbx); dec %ecx; jnz 1b; hlt");
    Guest g;
    g.load(kCode, code);
    auto s = Guest::long_mode();
    s.gpr[cpu::RBX] = kData + 4094;
    run_both(g, s, s);
    EXPECT_EQ(g.read<uint32_t>(kData + 4094), 40000u);
}

TEST(Smp, AnotherProcessorsPatchIsSeen) {
    // B calls a function until it returns 2; A first waits until B has run it, then patches it.
    GUEST_CODE(caller, 64, "1: call *%rbx; movl $1, (%rdi); cmp $2, %eax; jne 1b; hlt");
    GUEST_CODE(patcher, 64, "1: pause; cmpl $1, (%rdi); jne 1b; movb $2, 1(%rbx); hlt");
    GUEST_CODE(function, 64, "mov $1, %eax; ret");
    Guest g;
    g.load(kCode, caller);
    g.load(kCode + 0x1000, patcher);
    g.load(kCode + 0x2000, function);
    auto s = Guest::long_mode();
    s.gpr[cpu::RBX] = kCode + 0x2000;
    s.gpr[cpu::RDI] = kData;
    auto second = s;
    second.rip = kCode + 0x1000;
    second.gpr[cpu::RSP] = kStack - 0x1000;
    run_both(g, s, second);
    EXPECT_EQ(g.read<uint8_t>(kCode + 0x2001), 2);
}

TEST(Smp, ProcessorsThatRewriteEachOthersCodeComeToAnEnd) {
    // Each writes the immediate of a function on the other's page, calls its own and checks nothing but progress.
    GUEST_CODE(code, 64, "lock incl (%rdi); 2: pause; cmpl $2, (%rdi); jne 2b;"
               "mov $30000, %ecx; 1: mov %cl, 1(%rbx); call *%rdx; dec %ecx; jnz 1b; hlt");
    GUEST_CODE(function, 64, "mov $1, %eax; ret");
    Guest g;
    g.load(kCode, code);
    g.load(kCode + 0x2000, function);
    g.load(kCode + 0x3000, function);
    auto a = Guest::long_mode(), b = a;
    a.gpr[cpu::RBX] = b.gpr[cpu::RDX] = kCode + 0x2000;
    b.gpr[cpu::RBX] = a.gpr[cpu::RDX] = kCode + 0x3000;
    b.gpr[cpu::RSP] = kStack - 0x1000;
    a.gpr[cpu::RDI] = b.gpr[cpu::RDI] = kData;
    run_both(g, a, b);
}

TEST(Stepper, OneStepIsOneInstruction) {
    GUEST_CODE(code, 64, "inc %rax; inc %rax");
    Guest g;
    g.load(kCode, code);
    NoDevices devices;
    Stepper stepper({0, g.model, g.memory, devices, nullptr, nullptr, 1'000'000'000}, g.shared);
    auto s = Guest::long_mode();
    ASSERT_TRUE(stepper.step(s));
    EXPECT_EQ(s.gpr[cpu::RAX], 1u);
    EXPECT_EQ(s.rip, kCode + 3);
}

TEST(Stepper, AFaultIsReportedWithItsAddress) {
    GUEST_CODE(code, 64, "mov %eax, 0x7f000000");
    Guest g;
    g.load(kCode, code);
    NoDevices devices;
    Stepper stepper({0, g.model, g.memory, devices, nullptr, nullptr, 1'000'000'000}, g.shared);
    auto s = Guest::long_mode();
    const auto fault = stepper.step_raw(s);
    ASSERT_TRUE(fault);
    EXPECT_EQ(fault->vector, 14);
    EXPECT_EQ(fault->cr2, 0x7f000000u);
    EXPECT_EQ(s.rip, kCode);
}

}  // namespace
}  // namespace yado::cpu_interp::test
