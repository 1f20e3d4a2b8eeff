#include "cpu_bt/lockstep_tier.h"

#include <gmock/gmock.h>

#include "base/failpoint.h"
#include "unit/cpu_interp/guest.h"

namespace yado::cpu_bt::test {
namespace {

using cpu_interp::test::kCode;
using cpu_interp::test::kData;
using testing::Contains;
using testing::HasSubstr;
using testing::Pair;

class Lockstep : public testing::Test, public cpu_interp::test::Guest {
  protected:
    explicit Lockstep(const char* name = "x86-64-v2", Check check = Check::Lockstep) {
        model = *cpu::make_model(name, cpu_interp::supported_features(), 2, 1'000'000'000);
        const cpu::VcpuWiring wiring{0, model, memory, devices, nullptr, nullptr, 1'000'000'000};
        auto made = cpu_interp::make_vcpu(wiring, shared, [this, check](Core& core) -> Result<std::unique_ptr<cpu_interp::Tier>> {
            return YADO_TRY(LockstepTier::create(core, check, [this](Core& c, const std::string& report) {
                reports.push_back(report);
                c.fail(report);
            }));
        });
        EXPECT_TRUE(made);
        vcpus.push_back(std::move(*made));
    }
    ~Lockstep() override { failpoint::disarm_all(); }

    /// Runs code of which one re-encoded instruction is wrong, after `skip` right ones.
    cpu::Exit run_spoilt(std::span<const std::byte> code, int skip) {
        failpoint::arm("cpu_bt.emit", Error(ErrorKind::Failed, "spoilt"), skip, 1);
        load(kCode, code);
        EXPECT_TRUE(vcpus[0]->set_state(long_mode()));
        return vcpus[0]->run();
    }
    std::map<std::string, uint64_t> counted() const {
        for (const cpu::StatGroup& g : vcpus[0]->stats())
            if (g.name == "lockstep") return g.values;
        return {};
    }
    std::vector<std::string> reports;
};

TEST_F(Lockstep, RightCodeIsComparedAndRunsToItsEnd) {
    GUEST_CODE(code, 64, R"(
        mov $0x100000, %esi; mov $100, %ecx; xor %eax, %eax
    1:  add %rcx, %rax; mov %rax, (%rsi); incl 8(%rsi); push %rax; pop %rbx; call 2f; dec %ecx; jnz 1b
        movups (%rsi), %xmm0; paddd %xmm0, %xmm0; movups %xmm0, 16(%rsi); hlt
    2:  lock addq $3, 24(%rsi); ret)");
    const auto s = run_code(code);
    EXPECT_THAT(reports, testing::IsEmpty());
    EXPECT_EQ(s.gpr[cpu::RAX], 5050u);
    EXPECT_EQ(s.gpr[cpu::RBX], 5050u);
    EXPECT_EQ(read<uint64_t>(kData), 5050u);
    EXPECT_EQ(read<uint32_t>(kData + 8), 100u);
    EXPECT_EQ(read<uint32_t>(kData + 16), 2 * 5050u);
    EXPECT_GT(counted()["instructions_compared"], 700u);
    EXPECT_THAT(counted(), Contains(Pair("repeated", 0)));
}

/// OF after a rotation by more than 1 is undefined, and processors differ; R10, R11, R14 and R15 are not in host registers.
TEST_F(Lockstep, RotationsLeaveTheSameOverflowFlagWhereverTheOperandIs) {
    GUEST_CODE(code, 64, R"(
        mov $0x100000, %esi; mov $40, %ecx; mov $0x7fffffff, %edi; movabs $0x123456789abcdef0, %r10; mov %r10, %rbx; mov %r10, %r14; mov %r10, (%rsi)
    1:  mov %edi, %eax; add $1, %eax; pushf
        popf; pushf; rol $7, %ebx; pushf; pop %rdx; popf; pushf; ror $5, %r10; pushf; pop %rdx; popf; pushf; rol $3, %r14b; pushf; pop %rdx
        popf; pushf; ror $9, %r14w; pushf; pop %rdx; popf; pushf; rol $1, %r10d; pushf; pop %rdx; popf; pushf; rol $33, %r14; pushf; pop %rdx
        popf; pushf; ror $4, %bh; pushf; pop %rdx; popf; pushf; rolq $6, (%rsi); pushf; pop %rdx; popf; pushf; ror $32, %r10d; pushf; pop %rdx
        popf; ror $11, %r10d; rol $2, %r10d; setc %dl; seto %dh; xor $0x55555555, %edi; dec %ecx; jnz 1b; hlt)");
    run_code(code);
    EXPECT_THAT(reports, testing::IsEmpty());
    EXPECT_GT(counted()["instructions_compared"], 1000u);
}

class SampledLockstep : public Lockstep {
  protected:
    SampledLockstep() : Lockstep("x86-64-v2", Check::Sampled) {}
};

TEST_F(SampledLockstep, ComparesSomeRunsOfABlockThatRunsMuch) {
    GUEST_CODE(code, 64, "mov $0x100000, %esi; mov $20000, %ecx; xor %eax, %eax; 1: add %rcx, %rax; mov %rax, (%rsi); dec %ecx; jnz 1b; hlt");
    EXPECT_EQ(run_code(code).gpr[cpu::RAX], 20000ull * 20001 / 2);
    EXPECT_GT(counted()["blocks_compared"], 200u);
    EXPECT_LT(counted()["blocks_compared"], 1000u);
}

TEST_F(SampledLockstep, SeesAWrongInstructionInABlocksFirstRuns) {
    GUEST_CODE(code, 64, "mov $7, %eax; mov $9, %ebx; add %rbx, %rax; hlt");
    run_spoilt(code, 0);
    EXPECT_EQ(reports.size(), 1u);
}

TEST_F(Lockstep, AWrongInstructionIsReportedWithBlockAndRegisters) {
    GUEST_CODE(code, 64, "mov $7, %eax; mov $9, %ebx; add %rbx, %rax; hlt");
    const cpu::Exit exit = run_spoilt(code, 0);
    const auto* end = std::get_if<cpu::ShutdownRequest>(&exit);
    ASSERT_NE(end, nullptr);
    EXPECT_EQ(end->cause, cpu::ShutdownCause::EngineFailure);
    ASSERT_EQ(reports.size(), 1u);
    EXPECT_EQ(end->detail, reports[0]);
    EXPECT_THAT(reports[0], HasSubstr("differ in the block at 0x10000 (guest-physical 0x10000, CPL 0)\n"));
    EXPECT_THAT(reports[0], HasSubstr("  = 0x1000a  4801d8                          add rax, rbx\n"));
    EXPECT_THAT(reports[0], HasSubstr("rax      before 0000000000000000\n             translator  000000000000000f\n             interpreter 0000000000000010\n"));
    EXPECT_THAT(reports[0], HasSubstr("flags    before -\n             translator  PF\n             interpreter AF\n"));
    EXPECT_EQ(vcpus[0]->get_state()->gpr[cpu::RAX], 16u);  // the interpreter's
}

TEST_F(Lockstep, AWrongStoreIsReportedByItsBytes) {
    GUEST_CODE(code, 64, "mov $0x100000, %esi; movl $6, (%rsi); mov $5, %eax; or %eax, (%rsi); mov $0, %eax; hlt");
    run_spoilt(code, 1);  // OR becomes ADD
    ASSERT_EQ(reports.size(), 1u);
    EXPECT_THAT(reports[0], HasSubstr("byte at 0x100000: before 00 translator 0b interpreter 07\n"));
    EXPECT_EQ(read<uint32_t>(kData), 7u);
}

TEST_F(Lockstep, AStoreToAWrongPlaceShowsBothPlaces) {
    GUEST_CODE(code, 64, "mov $0x100000, %esi; mov $8, %eax; mov $24, %ebx; add %rbx, %rax; movb $9, (%rsi, %rax); hlt");
    run_spoilt(code, 0);  // ADD becomes OR: 8 | 24 = 24
    ASSERT_EQ(reports.size(), 1u);
    EXPECT_THAT(reports[0], HasSubstr("byte at 0x100018: before 00 translator 09 interpreter 00\n"));
    EXPECT_THAT(reports[0], HasSubstr("byte at 0x100020: before 00 translator 00 interpreter 09\n"));
    EXPECT_EQ(read<uint8_t>(kData + 24), 0);
    EXPECT_EQ(read<uint8_t>(kData + 32), 9);
}

TEST_F(Lockstep, AWrongVectorRegisterIsReported) {
    GUEST_CODE(code, 64, "movl $0x01020304, 0x100000; movd 0x100000, %xmm1; movd 0x100000, %xmm2; paddb %xmm2, %xmm1; hlt");
    run_spoilt(code, 3);  // PMULUDQ
    ASSERT_EQ(reports.size(), 1u);
    EXPECT_THAT(reports[0], HasSubstr("xmm1     before 00000000000000000000000000000000\n             translator  00000000000000000001040a14191810\n"));
}

TEST_F(Lockstep, AFaultInTheMiddleIsTheInterpretersAndNoDifference) {
    GUEST_CODE(code, 64, "mov $0x100000, %esi; movl $6, (%rsi); mov $0x3f000000, %edi; incl (%rsi); mov %eax, (%rdi); incl (%rsi); hlt");
    load(kCode, code);
    ASSERT_TRUE(vcpus[0]->set_state(long_mode()));
    const cpu::Exit exit = vcpus[0]->run();  // no IDT: triple fault
    ASSERT_TRUE(std::holds_alternative<cpu::ShutdownRequest>(exit));
    EXPECT_EQ(std::get<cpu::ShutdownRequest>(exit).cause, cpu::ShutdownCause::TripleFault);
    EXPECT_THAT(reports, testing::IsEmpty());
    EXPECT_EQ(read<uint32_t>(kData), 7u);
    EXPECT_THAT(counted(), Contains(Pair("instructions_compared", 4)));
}

TEST_F(Lockstep, CodeThatWritesItselfRunsAsByTheInterpreterAlone) {
    GUEST_CODE(code, 64, R"(
        mov $3, %ecx; lea 2f(%rip), %rdi
    1:  incb 1(%rdi)
    2:  mov $0, %al; add %al, %bl; dec %ecx; jnz 1b; hlt)");
    EXPECT_EQ(run_code(code).gpr[cpu::RBX] & 0xff, 1u + 2 + 3);
    EXPECT_THAT(reports, testing::IsEmpty());
}

TEST_F(Lockstep, WhatDiffersOnceIsADisturbanceAndWhatDiffersAlwaysIsNot) {
    GUEST_CODE(code, 64, "mov $5, %eax; mov $0x100000, %esi; incl (%rsi); hlt");
    failpoint::arm("cpu_bt.disturb", Error(ErrorKind::Failed, "a device wrote"), 0, 2);
    run_code(code);
    EXPECT_THAT(reports, testing::IsEmpty());
    EXPECT_THAT(counted(), Contains(Pair("repeated", 2)));
    EXPECT_EQ(read<uint32_t>(kData), 1u);
    failpoint::arm("cpu_bt.disturb", Error(ErrorKind::Failed, "a device wrote"), 0, 3);
    ASSERT_TRUE(vcpus[0]->set_state(long_mode()));
    vcpus[0]->run();
    EXPECT_EQ(reports.size(), 1u);
    EXPECT_EQ(read<uint32_t>(kData), 2u);
}

class LockstepV3 : public Lockstep {
  protected:
    LockstepV3() : Lockstep("x86-64-v3") {}
};

/// The interpreter brings memory operands of VEX instructions into temporaries, which are not the guest's state.
TEST_F(LockstepV3, AMemoryOperandOfAVexInstructionIsNoDifference) {
    if (!model.has(cpu::Feature::AVX)) GTEST_SKIP() << "the host lacks AVX";
    GUEST_CODE(code, 64, "mov $0x100000, %esi; vmovdqu (%rsi), %ymm0; vpaddd 32(%rsi), %ymm0, %ymm1; cmp $64, %edx; hlt");
    cpu::CpuState s = long_mode();
    s.cr4 |= cpu::cr4::OSXSAVE;
    s.xcr0 = 7;
    store<uint32_t>(kData, 5);
    store<uint32_t>(kData + 32, 6);
    run_code(code, s);
    EXPECT_THAT(reports, testing::IsEmpty());
    EXPECT_GT(counted()["instructions_compared"], 3u);
}

}  // namespace
}  // namespace yado::cpu_bt::test
