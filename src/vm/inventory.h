// Everything stateful in a guest, in dependency order (what others rely on first). One list serves reset, pause,
// resume and the state stream.
#pragma once

#include <span>
#include <vector>

#include "bus/device.h"

namespace yado::vm {

class Inventory {
  public:
    void add(bus::Device& device) { devices_.push_back(&device); }
    /// It is no longer part of the guest. One that is not there is ignored.
    void remove(bus::Device& device) { std::erase(devices_, &device); }
    std::span<bus::Device* const> devices() const { return devices_; }

    void reset();
    void pause();   ///< in reverse order: users before what they use
    void resume();
    Result<std::vector<state::Record>> save() const;
    /// Every record must belong to a device, every device needs its record. Errors: Corrupt.
    Result<> load(std::span<const state::Record> records);

  private:
    std::vector<bus::Device*> devices_;
};

}  // namespace yado::vm
