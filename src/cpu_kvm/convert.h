// CpuState to and from KVM's structures. Pure functions: no file descriptor here.
#pragma once

#include <linux/kvm.h>

#include "cpu/state.h"

namespace yado::cpu_kvm {

kvm_regs to_kvm_regs(const cpu::CpuState& s);
void from_kvm(const kvm_regs& r, cpu::CpuState& s);

/// Fills all but apic_base, cr8 and interrupt_bitmap.
void to_kvm(const cpu::CpuState& s, kvm_sregs& r);
void from_kvm(const kvm_sregs& r, cpu::CpuState& s);

void to_kvm(const cpu::CpuState& s, kvm_debugregs& r);
void from_kvm(const kvm_debugregs& r, cpu::CpuState& s);

kvm_xsave to_kvm_xsave(const cpu::CpuState& s);
void from_kvm(const kvm_xsave& x, cpu::CpuState& s);

kvm_vcpu_events to_kvm_events(const cpu::CpuState& s);
void from_kvm(const kvm_vcpu_events& e, cpu::CpuState& s);

kvm_mp_state to_kvm_activity(cpu::Activity a);
cpu::Activity from_kvm(const kvm_mp_state& m);

/// In x2APIC mode KVM keeps the ID as a whole register; ours is in bits 31:24 (only ids below 256 survive there).
kvm_lapic_state to_kvm_lapic(const cpu::LapicState& l, uint32_t apic_id);
void from_kvm(const kvm_lapic_state& r, cpu::LapicState& l);

}  // namespace yado::cpu_kvm
