// The engine's paravirtual clock as a thing of the machine: saved and loaded with the devices, whatever engine keeps it.
//
//     save: what it shows     load: shows the saved time --resume--> goes on from there
//
// Like the TSC, and unlike MachineTime, it does not stand still while the guest is paused. Control executor's thread.
#pragma once

#include <optional>

#include "bus/device.h"
#include "cpu/guest_clock.h"

namespace yado::machine {

class KvmClock final : public bus::Device {
  public:
    explicit KvmClock(cpu::GuestClock& clock) : clock_(clock) {}

    std::string id() const override { return "clock"; }
    std::string kind() const override { return "kvmclock"; }
    void reset() override { loaded_.reset(); }  // time goes on over a reset
    void resume() override;
    Result<state::Record> save() const override;
    Result<> load(const state::Record& record) override;

  private:
    cpu::GuestClock& clock_;
    std::optional<Nanoseconds> loaded_;  ///< where it goes on at the next resume()
};

}  // namespace yado::machine
