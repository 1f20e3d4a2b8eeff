// Fakes that the machine's device tests share.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "bus/address_space.h"
#include "bus/device.h"
#include "bus/irq.h"
#include "cpu/local_apic.h"
#include "io/timer.h"

namespace yado::machine {

/// Remembers its level and counts rising edges.
struct FakeLine final : bus::IrqLine {
    bool level = false;
    int rises = 0;
    void set(bool asserted) override {
        rises += asserted && !level;
        level = asserted;
    }
};

struct FakeMessages final : bus::MsiSink {
    std::vector<bus::MsiMessage> sent;
    void send(const bus::MsiMessage& m) override { sent.push_back(m); }
};

struct FakeVcpu final : cpu::SignalSink {
    uint32_t signals = 0;
    void signal(cpu::Signal s) override { signals |= static_cast<uint32_t>(s); }
    bool got(cpu::Signal s) const { return signals & static_cast<uint32_t>(s); }
};

/// Manual timers that can be taken over, as those whose clock is CLOCK_MONOTONIC.
class LentTimers final : public io::TimerQueue {
  public:
    const Clock& clock() const override { return queue_.clock(); }
    std::unique_ptr<io::Timer> make_timer(std::function<void()> callback) override {
        return std::make_unique<Lent>(queue_.make_timer(std::move(callback)));
    }
    void advance(Nanoseconds by) { queue_.advance(by); }
    /// Deadlines that are armed now.
    size_t armed() const { return queue_.armed(); }

  private:
    struct Lent final : io::Timer {
        explicit Lent(std::unique_ptr<io::Timer> t) : timer(std::move(t)) {}
        void arm(Nanoseconds at) override {
            deadline = at;
            timer->arm(at);
        }
        void cancel() override {
            deadline.reset();
            timer->cancel();
        }
        std::optional<Nanoseconds> take_over() override {
            timer->cancel();
            return std::exchange(deadline, std::nullopt);
        }
        std::unique_ptr<io::Timer> timer;
        std::optional<Nanoseconds> deadline;
    };
    io::ManualTimers queue_;
};

/// Saves one device and loads its state into another of the same kind.
inline void carry_over(const bus::Device& from, bus::Device& to) {
    const auto record = from.save();
    ASSERT_TRUE(record.has_value());
    const auto loaded = to.load(*record);
    ASSERT_TRUE(loaded.has_value()) << loaded.error().message();
}

/// Reads and writes of every size at every offset: nothing to assert but that we live.
inline void torture(bus::IoHandler& handler, uint64_t range) {
    for (uint64_t value : {0ull, ~0ull, 0x5555555555555555ull})
        for (const unsigned size : {1u, 2u, 4u, 8u})
            for (uint64_t offset = 0; offset + size <= range; ++offset) {
                handler.write(offset, size, value);
                handler.read(offset, size);
            }
}

}  // namespace yado::machine
