// KVM's kvmclock of one VM.
#pragma once

#include "cpu/guest_clock.h"

namespace yado::cpu_kvm {

class VmClock final : public cpu::GuestClock {
  public:
    explicit VmClock(int vm) : vm_(vm) {}
    Result<Nanoseconds> now() const override;
    Result<> set(Nanoseconds now) override;

  private:
    const int vm_;
};

}  // namespace yado::cpu_kvm
