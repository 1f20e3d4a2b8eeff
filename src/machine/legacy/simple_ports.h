// Single-port devices without state: pvpanic, isa-debug-exit. Any thread.
#pragma once

#include <functional>
#include <string>

#include "bus/address_space.h"
#include "machine/power.h"

namespace yado::machine {

/// Port 0x505, 1 byte (QEMU docs/specs/pvpanic): reads say which events it understands.
class PvPanic final : public bus::IoHandler {
  public:
    struct Wiring {
        std::function<void(PanicEvent)> panic;
    };
    explicit PvPanic(Wiring wiring) : wiring_(std::move(wiring)) {}
    uint64_t read(uint64_t, unsigned) override { return kPanicked | kCrashLoaded; }
    void write(uint64_t, unsigned, uint64_t value) override {
        if (value & kPanicked)
            notify(wiring_.panic, PanicEvent::Panicked);
        else if (value & kCrashLoaded)
            notify(wiring_.panic, PanicEvent::CrashLoaded);
    }

  private:
    static constexpr uint8_t kPanicked = 1, kCrashLoaded = 2;
    Wiring wiring_;
};

/// Port 0xf4, 4 bytes: a write ends the guest with that value. For test payloads; opt-in.
class DebugExit final : public bus::IoHandler {
  public:
    struct Wiring {
        std::function<void(uint32_t)> exit;
    };
    explicit DebugExit(Wiring wiring) : wiring_(std::move(wiring)) {}
    uint64_t read(uint64_t, unsigned) override { return 0; }
    void write(uint64_t, unsigned, uint64_t value) override { notify(wiring_.exit, static_cast<uint32_t>(value)); }

  private:
    Wiring wiring_;
};

}  // namespace yado::machine
