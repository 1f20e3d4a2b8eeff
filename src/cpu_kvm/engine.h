// The KVM engine: hardware virtualization with KVM's split irqchip. Local APICs are the kernel's; everything else of the
// chipset is ours.
#pragma once

#include <memory>

#include "cpu/vcpu.h"

namespace yado::cpu_kvm {

/// Errors: those of open_kvm; Failed (the VM cannot be made).
Result<std::unique_ptr<cpu::Engine>> make_kvm_engine(const char* path = "/dev/kvm");

}  // namespace yado::cpu_kvm
