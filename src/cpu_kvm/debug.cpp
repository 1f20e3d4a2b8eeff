// A debugger outside of the guest: KVM takes the processor's debug registers and RFLAGS.TF for it, and keeps the guest's own
// values apart. Linux Documentation/virt/kvm/api.rst, KVM_SET_GUEST_DEBUG.
#include <cstring>

#include "cpu_kvm/system.h"
#include "cpu_kvm/vcpu.h"

namespace yado::cpu_kvm {

namespace {

constexpr uint64_t kDr6Reasons = 0xe00f;  // BT, BS, BD, B3 to B0

bool has_slots(const cpu::DebugControl& control) { return !control.breakpoints.empty() || !control.watchpoints.empty(); }

}  // namespace

Result<> KvmVcpu::set_debug(const cpu::DebugControl& control) {
    const DebugSlots slots = YADO_TRY(DebugSlots::create(control));
    kvm_guest_debug debug{};
    if (!control.empty()) debug.control |= KVM_GUESTDBG_ENABLE;
    if (control.single_step) debug.control |= KVM_GUESTDBG_SINGLESTEP | held_interrupts();
    if (has_slots(control)) {
        debug.control |= KVM_GUESTDBG_USE_HW_BP;
        for (size_t n = 0; n < 4; ++n) debug.arch.debugreg[n] = slots.address(n);
        debug.arch.debugreg[7] = slots.dr7();
    }
    if (kvm_ioctl(fd_.get(), KVM_SET_GUEST_DEBUG, &debug) < 0) return fail_errno(fmt::format("KVM: debugging vCPU {}", wiring_.index));
    debug_ = slots;
    single_step_ = control.single_step;
    return {};
}

/// The flag that holds back interrupts during a step, where this KVM has it and the vCPU does not wait for one.
uint32_t KvmVcpu::held_interrupts() {
    kvm_mp_state activity{};
    const int known = kvm_ioctl(machine_.kvm.get(), KVM_CHECK_EXTENSION, KVM_CAP_SET_GUEST_DEBUG2);
    if (known < 0 || !(known & KVM_GUESTDBG_BLOCKIRQ) || kvm_ioctl(fd_.get(), KVM_GET_MP_STATE, &activity) < 0) return 0;
    return activity.mp_state == KVM_MP_STATE_RUNNABLE ? KVM_GUESTDBG_BLOCKIRQ : 0;
}

/// One instruction was done, or at least everything of it that KVM leaves to us.
KvmVcpu::Outcome KvmVcpu::step_done() {
    finish_io();
    kvm_regs regs{};
    kvm_sregs sregs{};
    if (kvm_ioctl(fd_.get(), KVM_GET_REGS, &regs) < 0 || kvm_ioctl(fd_.get(), KVM_GET_SREGS, &sregs) < 0)
        return failure("its registers cannot be read");
    const uint64_t base = sregs.cs.l ? 0 : sregs.cs.base;
    return cpu::DebugStop{cpu::DebugReason::Step, GuestLinearAddr(base + regs.rip)};
}

KvmVcpu::Outcome KvmVcpu::debug_exit() {
    const uint64_t dr6 = run_->debug.arch.dr6;
    if (const auto stop = debug_.stop_of(dr6)) return *stop;
    if (single_step_) return step_done();
    return give_to_guest(dr6);
}

/// A #DB of the guest's own making (its RFLAGS.TF): while our debug registers are in force KVM hands us those, too.
KvmVcpu::Outcome KvmVcpu::give_to_guest(uint64_t dr6) {
    kvm_debugregs registers{};
    if (kvm_ioctl(fd_.get(), KVM_GET_DEBUGREGS, &registers) < 0) return failure("its debug registers cannot be read");
    registers.dr6 |= dr6 & kDr6Reasons;
    kvm_guest_debug debug{};
    debug.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP | KVM_GUESTDBG_INJECT_DB;
    for (size_t n = 0; n < 4; ++n) debug.arch.debugreg[n] = debug_.address(n);
    debug.arch.debugreg[7] = debug_.dr7();
    if (kvm_ioctl(fd_.get(), KVM_SET_DEBUGREGS, &registers) < 0 || kvm_ioctl(fd_.get(), KVM_SET_GUEST_DEBUG, &debug) < 0)
        return failure("a debug exception cannot be delivered");
    return {};
}

}  // namespace yado::cpu_kvm
