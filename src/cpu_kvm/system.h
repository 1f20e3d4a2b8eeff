// /dev/kvm as a whole: opening it, what it offers, whose processor it runs on.
#pragma once

#include <sys/ioctl.h>

#include <cerrno>

#include "base/error.h"
#include "base/fd.h"
#include "cpu/cpu_model.h"

namespace yado::cpu_kvm {

/// Opens /dev/kvm. Errors: NotFound (no such device), Denied (names the group that may), Failed (another API version, or a
/// capability that we need is missing; names it).
Result<Fd> open_kvm(const char* path = "/dev/kvm");

/// Features that KVM can give a guest here. Errors: those of open_kvm.
Result<cpu::FeatureSet> supported_features();

/// Vendor and signature of the host's processor: a guest under KVM must know it for its mitigations.
cpu::Identity host_identity();

/// The model's CPUID table for one vCPU, less what this KVM does not support.
Result<std::vector<cpu::CpuidEntry>> masked_table(int kvm, const cpu::CpuModel& model, uint32_t vcpu_index);

/// ioctl, again after EINTR.
template <typename... Arg>
int kvm_ioctl(int fd, unsigned long request, Arg... arg) {
    int r = 0;
    do r = ::ioctl(fd, request, arg...);
    while (r < 0 && errno == EINTR);
    return r;
}

}  // namespace yado::cpu_kvm
