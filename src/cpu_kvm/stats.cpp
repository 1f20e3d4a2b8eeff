// Exits to us by reason. What the kernel handles by itself does not exit (Linux Documentation/virt/kvm/api.rst, kvm_run).
#include <linux/kvm.h>

#include "cpu_kvm/vcpu.h"

namespace yado::cpu_kvm {

namespace {

std::string name_of(unsigned reason) {
    switch (reason) {
    case KVM_EXIT_EXCEPTION: return "exception";
    case KVM_EXIT_IO: return "port";
    case KVM_EXIT_DEBUG: return "debug";
    case KVM_EXIT_HLT: return "halt";
    case KVM_EXIT_MMIO: return "mmio";
    case KVM_EXIT_IRQ_WINDOW_OPEN: return "interrupt_window";
    case KVM_EXIT_SHUTDOWN: return "shutdown";
    case KVM_EXIT_FAIL_ENTRY: return "failed_entry";
    case KVM_EXIT_INTR: return "interrupted";
    case KVM_EXIT_SET_TPR: return "set_tpr";
    case KVM_EXIT_INTERNAL_ERROR: return "emulation";
    case KVM_EXIT_IOAPIC_EOI: return "ioapic_eoi";
    default: return "reason_" + std::to_string(reason);
    }
}

}  // namespace

cpu::Stats KvmVcpu::stats() const {
    cpu::StatGroup exits{"exits", cpu::StatKind::Parts, "", {}};
    for (unsigned reason = 0; reason < kExitReasons; ++reason)
        if (const uint64_t count = exits_[reason].get()) exits.values[name_of(reason)] += count;
    exits.values["interrupted"] += interrupted_.get();
    return {std::move(exits), {"emulation", cpu::StatKind::Values, "", {{"stepped", stepped_.get()}}}};
}

}  // namespace yado::cpu_kvm
