// State goes into KVM and comes out the same; what the processor does not allow is refused whole.
#include "kvm_fixture.h"

namespace yado::cpu_kvm {
namespace {

using namespace cpu;

class KvmState : public KvmTest {
  protected:
    CpuState get() {
        auto s = vcpu_->get_state();
        EXPECT_TRUE(s.has_value()) << s.error().message();
        s->msrs.erase(msr::IA32_TSC);  // runs on
        return *s;
    }
};

void expect_equal(const CpuState& a, const CpuState& b) {
    EXPECT_EQ(a.gpr, b.gpr);
    EXPECT_EQ(a.rip, b.rip);
    EXPECT_EQ(a.rflags, b.rflags);
    for (size_t i = 0; i < 6; ++i) EXPECT_EQ(a.seg[i], b.seg[i]) << i;
    EXPECT_EQ(a.ldtr, b.ldtr);
    EXPECT_EQ(a.tr, b.tr);
    EXPECT_EQ(a.gdtr, b.gdtr);
    EXPECT_EQ(a.idtr, b.idtr);
    EXPECT_EQ(a.cr0, b.cr0);
    EXPECT_EQ(a.cr2, b.cr2);
    EXPECT_EQ(a.cr3, b.cr3);
    EXPECT_EQ(a.cr4, b.cr4);
    EXPECT_EQ(a.dr, b.dr);
    EXPECT_EQ(a.efer, b.efer);
    EXPECT_EQ(a.xcr0, b.xcr0);
    EXPECT_EQ(a.msrs, b.msrs);
    EXPECT_EQ(a.xsave, b.xsave);
    EXPECT_EQ(a.activity, b.activity);
    EXPECT_EQ(a.pending, b.pending);
    EXPECT_EQ(a.nmi_blocked, b.nmi_blocked);
}

TEST_F(KvmState, ComesOutAsItWentIn) {
    CpuState s = start_state();
    for (size_t i = 0; i < 16; ++i) s.gpr[i] = 0x1111111111111111 * i;
    s.dr = {1, 2, 3, 4};
    s.cr2 = 0xdead000;
    s.seg[FS].base = 0x123456789a;
    store_le<uint16_t>(&s.xsave.bytes[0], 0x37f);
    for (size_t i = 160; i < 416; ++i) s.xsave.bytes[i] = static_cast<uint8_t>(i);
    ASSERT_TRUE(vcpu_->set_state(s));
    const CpuState once = get();
    EXPECT_EQ(once.gpr, s.gpr);
    EXPECT_EQ(once.dr, s.dr);
    EXPECT_EQ(once.cr2, s.cr2);
    EXPECT_EQ(once.seg[FS].base, s.seg[FS].base);
    EXPECT_EQ(std::memcmp(&once.xsave.bytes[160], &s.xsave.bytes[160], 256), 0);
    ASSERT_TRUE(vcpu_->set_state(once));
    expect_equal(get(), once);
}

TEST_F(KvmState, HoldsTheLocalApic) {
    CpuState s = start_state();
    s.lapic->regs[0x8] = 0x20;       // TPR
    s.lapic->regs[0x32] = 0x200ec;   // LVT timer
    ASSERT_TRUE(vcpu_->set_state(s));
    const CpuState out = get();
    ASSERT_TRUE(out.lapic);
    EXPECT_EQ(out.lapic->regs[0x8], 0x20u);
    EXPECT_EQ(out.lapic->regs[0x32], 0x200ecu);
    EXPECT_EQ(out.lapic->apic_base, 0xfee00900u);
}

TEST_F(KvmState, LeavesTheLocalApicAloneWhereNoneIsGiven) {
    CpuState s = start_state();
    s.lapic->regs[0x8] = 0x30;
    ASSERT_TRUE(vcpu_->set_state(s));
    s.lapic.reset();
    ASSERT_TRUE(vcpu_->set_state(s));
    EXPECT_EQ(get().lapic->regs[0x8], 0x30u);
}

TEST_F(KvmState, HoldsWaitingForSipi) {
    CpuState s = start_state();
    s.activity = Activity::WaitForSipi;
    ASSERT_TRUE(vcpu_->set_state(s));
    EXPECT_EQ(get().activity, Activity::WaitForSipi);
}

TEST_F(KvmState, RefusesPagingWithoutProtectionAndKeepsWhatWasThere) {
    ASSERT_TRUE(vcpu_->set_state(start_state()));
    const CpuState before = get();
    CpuState bad = start_state();
    bad.cr0 = cr0::PG;
    bad.gpr[RAX] = 99;
    const auto r = vcpu_->set_state(bad);
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().kind(), ErrorKind::Corrupt);
    expect_equal(get(), before);
}

TEST_F(KvmState, ShowsTheModelsCpuid) {
    // mov eax,80000002h; cpuid; out 80h,eax; jmp $
    const auto exit = run({0x66, 0xb8, 2, 0, 0, 0x80, 0x0f, 0xa2, 0x66, 0xe7, 0x80, 0xeb, 0xfe});
    EXPECT_EQ(text(exit), "kicked");
    EXPECT_EQ(devices_.port_writes.back().second, 0x6f646159u);  // "Yado"
}

}  // namespace
}  // namespace yado::cpu_kvm
