// x87 and MMX in translated code: where the state is, and what of it the guest sees. The oracle compares the results.
#include <gmock/gmock.h>

#include "bt_guest.h"

namespace yado::cpu_bt::test {
namespace {

using testing::Contains;
using testing::Each;
using testing::Key;
using testing::Not;
using testing::StartsWith;

constexpr uint64_t kHandler = 0x20000, kIdt = 0x30000, kGdt = 0x31000;

/// FXSAVE's image without MXCSR_MASK and XMM: FCW to FDP, the registers.
std::vector<uint8_t> x87_of(const cpu::CpuState& s) {
    const auto& image = s.xsave.bytes;
    std::vector<uint8_t> bytes(image.begin(), image.begin() + 24);
    bytes.insert(bytes.end(), image.begin() + 32, image.begin() + 160);
    return bytes;
}

uint64_t instruction_pointer(const cpu::CpuState& s) {
    uint64_t fip;
    std::memcpy(&fip, s.xsave.bytes.data() + 8, sizeof fip);
    return fip;
}

/// The same code by the interpreter alone.
cpu::CpuState interpreted(std::span<const std::byte> code) { return cpu_interp::test::Guest{}.run_code(code); }

/// `handler` for a vector, with a GDT that IRETQ can load from.
cpu::CpuState with_handler(BtGuest& g, unsigned vector, std::span<const std::byte> handler) {
    g.load(kHandler, handler);
    g.store<uint64_t>(kIdt + 16 * vector, (kHandler & 0xffff) | 0x08ull << 16 | 0x8e00ull << 32 | (kHandler >> 16) << 48);
    g.store<uint64_t>(kIdt + 16 * vector + 8, 0);
    g.store<uint64_t>(kGdt + 8, 0x00af'9b00'0000'ffff);
    g.store<uint64_t>(kGdt + 16, 0x00cf'9300'0000'ffff);
    cpu::CpuState s = BtGuest::long_mode();
    s.idtr = {16 * 32 - 1, kIdt};
    s.gdtr = {23, kGdt};
    return s;
}

TEST(X87, InstructionsAreNotInterpreted) {
    GUEST_CODE(code, 64, R"(fninit; mov $0x100000, %edi; mov $100, %ecx
        1: fld1; fldpi; fmulp; fstpl (%rdi); fldl (%rdi); fcomip; fnstcw 8(%rdi); fldcw 8(%rdi); fnstsw %ax; fwait
        movq (%rdi), %mm1; paddb %mm0, %mm1; movq %mm1, 16(%rdi); emms; dec %ecx; jnz 1b; hlt)");
    BtGuest g;
    g.run_code(code);
    EXPECT_THAT(g.counted("interpreted"), testing::ElementsAre(testing::Pair("fninit", 1)));
}

TEST(X87, TheStateIsTheInterpreters) {
    GUEST_CODE(code, 64, R"(fninit; mov $0x100000, %edi; movl $0x40490fdb, (%rdi); mov $3, %ecx
        1: flds (%rdi); fldpi; fdivp; fsqrt; fstpt 16(%rdi); nop; dec %ecx; jnz 1b
        fild 16(%rdi); fcmovb %st, %st; lea 1(%rcx), %edx; hlt)");
    BtGuest g;
    const cpu::CpuState translated = g.run_code(code), reference = interpreted(code);
    EXPECT_EQ(x87_of(translated), x87_of(reference));
    EXPECT_THAT(g.counted("interpreted"), Not(Contains(Key(StartsWith("fl")))));
}

TEST(X87, TheInstructionPointerIsTheLastInstructionsAndNoHostAddress) {
    GUEST_CODE(code, 64, "fninit; fld1; mov $0x100000, %edi; fstpl (%rdi); fnstcw 8(%rdi); inc %eax; jmp 1f; 1: inc %eax; hlt");
    BtGuest g;
    EXPECT_EQ(instruction_pointer(g.run_code(code)), kCode + 2 + 2 + 5);
}

TEST(X87, AnInterpretedInstructionSeesTheState) {
    GUEST_CODE(code, 64, R"(fninit; mov $0x100000, %edi; fld1; fldln2; fxsave (%rdi); fyl2x; fnstenv 512(%rdi); fldz; movq %mm0, %mm3
        fnsave 640(%rdi); hlt)");
    BtGuest g;
    cpu_interp::test::Guest reference;
    EXPECT_EQ(x87_of(g.run_code(code)), x87_of(reference.run_code(code)));
    for (uint64_t at = kData; at < kData + 0x400; at += 8) EXPECT_EQ(g.read<uint64_t>(at), reference.read<uint64_t>(at)) << std::hex << at;
}

TEST(X87, TaskSwitchedRaisesNmInFrontOfTheInstruction) {
    GUEST_CODE(code, 64, R"(fninit; fld1; fldpi; mov %cr0, %rax; or $8, %eax; mov %rax, %cr0; mov $1, %ecx; fld1; hlt)");
    GUEST_CODE(handler, 64, "clts; inc %ebx; mov %ecx, %edx; iretq");
    BtGuest g;
    const cpu::CpuState s = g.run_code(code, with_handler(g, 7, handler));
    EXPECT_EQ(s.gpr[cpu::RBX], 1u);
    EXPECT_EQ(s.gpr[cpu::RDX], 1u);
    EXPECT_EQ(s.xsave.bytes[4], 0xe0);  // three registers in use
}

TEST(X87, AnExceptionUnmaskedInTheMiddleIsRaisedByTheNextInstruction) {
    GUEST_CODE(code, 64, R"(fninit; mov $0x100000, %edi; movw $0x37b, (%rdi); fld1; fldz; fldcw (%rdi)
        fdivrp; mov $1, %ecx; fld1; mov $2, %ecx; hlt)");
    GUEST_CODE(handler, 64, "mov %ecx, %edx; mov (%rsp), %rsi; fnstsw %ax; fnclex; iretq");
    BtGuest g;
    const cpu::CpuState s = g.run_code(code, with_handler(g, 16, handler));
    EXPECT_EQ(s.gpr[cpu::RDX], 1u);
    EXPECT_EQ(s.gpr[cpu::RCX], 2u);
    EXPECT_EQ(s.gpr[cpu::RAX] & 0xff, 0x84u);  // ES, ZE
    EXPECT_EQ(s.gpr[cpu::RSI], kCode + code.size() - 8);
    EXPECT_EQ(instruction_pointer(s), s.gpr[cpu::RSI]);
}

TEST(X87, TheHostsOwnControlWordComesBack) {
    GUEST_CODE(code, 64, "fninit; mov $0x100000, %edi; movw $0xc7f, (%rdi); fldcw (%rdi); fld1; fld1; hlt");
    BtGuest g;
    const cpu::CpuState s = g.run_code(code);
    EXPECT_EQ(s.xsave.bytes[1], 0x0c);
    uint16_t control, status;
    asm volatile("fnstcw %0" : "=m"(control));
    asm volatile("fnstsw %0" : "=m"(status));
    EXPECT_EQ(control, 0x37f);
    EXPECT_EQ(status & 0x3800, 0);
    volatile long double sum = 0;
    for (int n = 0; n < 9; ++n) sum = sum + 1;  // would be a NaN were the guest's registers still there
    EXPECT_EQ(sum, 9);
}

}  // namespace
}  // namespace yado::cpu_bt::test
