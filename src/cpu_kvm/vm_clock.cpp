#include "cpu_kvm/vm_clock.h"

#include <linux/kvm.h>

#include "cpu_kvm/system.h"

namespace yado::cpu_kvm {

Result<Nanoseconds> VmClock::now() const {
    kvm_clock_data data{};
    if (kvm_ioctl(vm_, KVM_GET_CLOCK, &data) < 0) return fail_errno("KVM: the guest's clock");
    return Nanoseconds(static_cast<int64_t>(data.clock));
}

Result<> VmClock::set(Nanoseconds now) {
    kvm_clock_data data{};
    data.clock = static_cast<uint64_t>(now.count());
    if (kvm_ioctl(vm_, KVM_SET_CLOCK, &data) < 0) return fail_errno("KVM: the guest's clock");
    return {};
}

}  // namespace yado::cpu_kvm
