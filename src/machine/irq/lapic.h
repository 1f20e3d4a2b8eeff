// One vCPU's local APIC, xAPIC and x2APIC. Spec: Intel SDM vol. 3, chapter 11.
//
//     messages (ApicBus), LINT pins, timer, error -> accept: IRR -> update(): PPR, deliverable? -> SignalSink
//     vCPU: acknowledge(): IRR -> ISR -> EOI write -> update(), EOI broadcast
//
// Register accesses come from the vCPU's own thread, messages from any, the timer from the timer queue's. One lock of
// rank Lapic; IPIs and EOI broadcasts leave after it is released. What others ask often is mirrored in atomics.
//
// lapic.cpp: acceptance, priority, lifecycle; lapic_registers.cpp: registers and MSRs; lapic_timer.cpp: the timer.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <optional>

#include "base/guarded.h"
#include "bus/device.h"
#include "cpu/local_apic.h"
#include "cpu/state.h"
#include "io/timer.h"
#include "machine/irq/apic_bus.h"

namespace yado::machine {

/// What the timer counts, before the divider: for CPUID 15H (core crystal clock) and KVM's leaf 40000010H.
inline constexpr uint64_t kLapicTimerHz = 1'000'000'000;

/// The processor's time-stamp counter.
uint64_t read_host_tsc();

class Lapic final : public cpu::LocalApic, public bus::Device {
  public:
    struct Wiring {
        ApicBus& bus;
        io::TimerQueue& timers;
        uint32_t apic_id;              ///< also the vCPU's index; 0 is the boot processor
        cpu::ExternalInterrupts* pic;  ///< the boot processor's; nullptr for the others
        uint64_t tsc_hz;               ///< the guest's
        unsigned physical_address_bits = 46;
        std::function<uint64_t()> host_tsc = read_host_tsc;
    };
    explicit Lapic(Wiring wiring);
    ~Lapic() override;

    // --- from outside, any thread
    // -------------------------------------------------------------------------------------
    /// True if a message for that destination is for this APIC (11.6.2).
    bool matches(uint32_t destination, DestinationMode mode) const;
    /// Takes a message that is for this APIC.
    void accept(const ApicMessage& message);
    /// Local interrupt pins: LINT0 is the PIC's INTR (on the boot processor), LINT1 NMI.
    void set_lint0(bool asserted) { set_lint(0, asserted); }
    void set_lint1(bool asserted) { set_lint(1, asserted); }
    /// Software- and hardware-enabled: takes part in arbitration.
    bool accepts_interrupts() const { return enabled_.load(std::memory_order_relaxed); }
    /// PPR, for arbitration.
    uint8_t priority() const { return priority_.load(std::memory_order_relaxed); }

    // --- cpu::LocalApic
    // -------------------------------------------------------------------------------------------------
    void connect(cpu::SignalSink* sink) override { sink_.store(sink); }
    std::optional<GuestPhysAddr> mmio_page() const override;
    uint32_t mmio_read(uint32_t offset, unsigned size) override;
    void mmio_write(uint32_t offset, unsigned size, uint32_t value) override;
    bool msr_read(uint32_t msr, uint64_t* value) override;
    bool msr_write(uint32_t msr, uint64_t value) override;
    uint8_t cr8() const override;
    void set_cr8(uint8_t priority) override;
    bool interrupt_pending() const override;
    std::optional<uint8_t> acknowledge() override;
    uint8_t sipi_vector() const override { return sipi_vector_.load(); }
    void init_reset() override;
    void set_tsc_offset(uint64_t offset) override;
    std::optional<Nanoseconds> begin_wait() override { return timer_->take_over(); }
    void end_wait() override;
    bool is_bsp() const override { return wiring_.apic_id == 0; }

    // --- state
    // ------------------------------------------------------------------------------------------------------------
    /// As CpuState carries it; NMI and INIT pend in the vCPU, not here.
    cpu::LapicState lapic_state() const;
    /// Errors: Corrupt (values that the registers cannot hold, another APIC's id); nothing changed.
    Result<> set_lapic_state(const cpu::LapicState& state);

    // --- bus::Device
    // --------------------------------------------------------------------------------------------------------
    std::string id() const override { return std::to_string(wiring_.apic_id); }
    std::string kind() const override { return "lapic"; }
    void reset() override;
    void resume() override;
    Result<state::Record> save() const override;
    Result<> load(const state::Record& record) override;

  private:
    enum class Mode : uint8_t { Disabled, XApic, X2Apic };
    struct State {
        std::array<uint32_t, 64> regs{};  ///< by register number; CURRENT_COUNT is computed
        ApicBase base;
        uint64_t tsc_deadline = 0, tsc_offset = 0;
        uint32_t pending_errors = 0;          ///< becomes ESR when ESR is written
        bool lint[2] = {};                    ///< levels
        std::optional<Nanoseconds> deadline;  ///< end of the count under way (one-shot and periodic)
    };
    /// What is left to do once the lock is released.
    struct Outgoing {
        std::optional<uint8_t> eoi;
        std::optional<ApicMessage> ipi;
        Shorthand shorthand = Shorthand::None;
    };

    // lapic.cpp
    static Mode mode(const State& s);
    void reset_registers(State& s);
    void update(State& s);
    void publish_address(const State& s);
    void accept_vector(State& s, uint8_t vector, TriggerMode trigger);
    void local_interrupt(State& s, unsigned lvt_register);
    void raise_error(State& s, uint32_t bit);
    void set_lint(unsigned pin, bool asserted);
    void level_pins(State& s, std::optional<uint8_t> ended);
    void end_of_interrupt(State& s, Outgoing& out);
    void signal(cpu::Signal signal);
    void perform(const Outgoing& out);
    Result<> check(const cpu::LapicState& state) const;
    void adopt(State& s, const cpu::LapicState& state);
    cpu::LapicState extract(const State& s) const;

    // lapic_registers.cpp
    uint32_t read_register(State& s, unsigned reg);
    void write_register(State& s, unsigned reg, uint32_t value, Outgoing& out);
    void write_lvt(State& s, unsigned reg, uint32_t value);
    void write_svr(State& s, uint32_t value);
    void send_ipi(State& s, uint32_t low, uint32_t destination, Outgoing& out);
    bool write_x2apic(State& s, unsigned reg, uint64_t value, Outgoing& out);
    bool valid_base(ApicBase next) const;
    bool write_apic_base(State& s, ApicBase next);
    uint32_t id_register(const State& s) const;

    // lapic_timer.cpp
    static LapicTimerMode timer_mode(const State& s);
    Nanoseconds timer_tick(const State& s) const;
    uint32_t current_count(const State& s) const;
    void start_count(State& s, uint32_t count);
    void stop_timer(State& s);
    void set_divider(State& s, uint32_t value);
    void arm_tsc_deadline(State& s);
    void rearm(State& s);
    void on_timer();

    Wiring wiring_;
    Guarded<State, LockRank::Lapic> state_;
    std::atomic<cpu::SignalSink*> sink_{nullptr};
    // Mirrors of State for readers without the lock, written under it in update() and publish_address().
    std::atomic<bool> deliverable_{false}, external_open_{false}, external_message_{false}, enabled_{false};
    std::atomic<uint8_t> priority_{0}, task_priority_{0}, sipi_vector_{0};
    std::atomic<uint64_t> base_{0};
    std::atomic<uint64_t> address_{0};  ///< LDR, DFR and mode: see publish_address()
    std::unique_ptr<io::Timer> timer_;  ///< last: its destructor waits for on_timer()
};

}  // namespace yado::machine
