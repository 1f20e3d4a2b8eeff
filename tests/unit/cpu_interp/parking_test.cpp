#include "cpu_interp/parking.h"

#include <gtest/gtest.h>

#include <thread>

#include "cpu_interp/core.h"

namespace yado::cpu_interp {
namespace {

using cpu::Signal;

/// Its timer is due at once, and fires when the wait for it ends.
struct TimedApic final : cpu::LocalApic {
    explicit TimedApic(std::atomic<uint32_t>& r) : requests(r) {}
    std::atomic<uint32_t>& requests;
    int waits = 0;

    std::optional<std::chrono::nanoseconds> begin_wait() override { return std::chrono::nanoseconds(1); }
    void end_wait() override {
        if (++waits == 2) send(requests, bit(Signal::Interrupt));
    }

    void connect(cpu::SignalSink*) override {}
    std::optional<GuestPhysAddr> mmio_page() const override { return std::nullopt; }
    uint32_t mmio_read(uint32_t, unsigned) override { return 0; }
    void mmio_write(uint32_t, unsigned, uint32_t) override {}
    bool msr_read(uint32_t, uint64_t*) override { return false; }
    bool msr_write(uint32_t, uint64_t) override { return false; }
    uint8_t cr8() const override { return 0; }
    void set_cr8(uint8_t) override {}
    bool interrupt_pending() const override { return false; }
    std::optional<uint8_t> acknowledge() override { return std::nullopt; }
    uint8_t sipi_vector() const override { return 0; }
    void init_reset() override {}
    void set_tsc_offset(uint64_t) override {}
    bool is_bsp() const override { return true; }
};

TEST(Parking, ASignalFromAnotherThreadEndsTheHalt) {
    std::atomic<uint32_t> requests{0};
    std::jthread other([&] {
        while (!(requests.load() & Core::kReqParked)) std::this_thread::yield();
        send(requests, bit(Signal::Nmi));
    });
    park(requests, nullptr);
    EXPECT_EQ(requests.load(), bit(Signal::Nmi)) << "the signal is there to be taken, the mark of sleep is gone";
}

TEST(Parking, ASignalThatCameBeforeIsNotSleptThrough) {
    std::atomic<uint32_t> requests{0};
    send(requests, bit(Signal::Kick));
    park(requests, nullptr);
    EXPECT_EQ(requests.load(), bit(Signal::Kick));
}

TEST(Parking, ATimerThatIsDueEndsTheHaltWithoutAnotherThread) {
    std::atomic<uint32_t> requests{0};
    TimedApic apic(requests);
    park(requests, &apic);
    EXPECT_EQ(apic.waits, 2) << "a wait that ended too early is gone into again";
}

}  // namespace
}  // namespace yado::cpu_interp
