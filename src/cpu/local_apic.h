// What a software engine needs of its vCPU's local APIC. The model itself is in machine; the engine never sees it.
// Intel SDM vol. 3, chapter 11 (APIC).
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "base/units.h"

namespace yado::cpu {

/// Things that arrive at a vCPU from outside the instruction stream.
enum class Signal : uint32_t {
    Interrupt = 1,  ///< the APIC or the PIC has (or may have) an interrupt to take: ask LocalApic
    Nmi = 2,
    Init = 4,
    Sipi = 8,       ///< vector by LocalApic::sipi_vector()
    Kick = 16,
};

/// Implemented by the software engine's vCPU: the APIC model calls it. Any thread; lock rank Vcpu.
class SignalSink {
  public:
    virtual ~SignalSink() = default;
    virtual void signal(Signal signal) = 0;
};

/// The 8259 pair as a source of interrupts (ExtINT). Implemented by the PIC model. Any thread.
class ExternalInterrupts {
  public:
    virtual ~ExternalInterrupts() = default;
    virtual bool pending() const = 0;
    /// The INTA cycle: the vector; nullopt if nothing is pending any more.
    virtual std::optional<uint8_t> acknowledge() = 0;
};

/// Called on the vCPU's own thread unless said otherwise.
class LocalApic {
  public:
    virtual ~LocalApic() = default;

    /// Connects the vCPU (once, before it runs).
    virtual void connect(SignalSink* sink) = 0;

    /// The physical page of the xAPIC registers (IA32_APIC_BASE), or nullopt while disabled or in x2APIC mode.
    virtual std::optional<GuestPhysAddr> mmio_page() const = 0;
    /// xAPIC register access; offset 0 to 0xfff.
    virtual uint32_t mmio_read(uint32_t offset, unsigned size) = 0;
    virtual void mmio_write(uint32_t offset, unsigned size, uint32_t value) = 0;

    /// MSRs that the APIC owns: IA32_APIC_BASE (1BH), IA32_TSC_DEADLINE (6E0H), 800H to 8FFH.
    /// false: the access is not allowed, #GP.
    static constexpr bool owns_msr(uint32_t msr) { return msr == 0x1b || msr == 0x6e0 || (msr >= 0x800 && msr <= 0x8ff); }
    virtual bool msr_read(uint32_t msr, uint64_t* value) = 0;
    virtual bool msr_write(uint32_t msr, uint64_t value) = 0;

    /// Task priority class (bits 7:4 of TPR), as CR8 shows it.
    virtual uint8_t cr8() const = 0;
    virtual void set_cr8(uint8_t priority) = 0;

    /// True if an interrupt could be taken now (IF aside). Any thread.
    virtual bool interrupt_pending() const = 0;
    /// Takes the interrupt of highest priority: APIC first by its priority, then the PIC's (ExtINT through LINT0).
    /// nullopt if there is none any more (spurious ones come as the spurious vector).
    virtual std::optional<uint8_t> acknowledge() = 0;

    /// The vector of the last SIPI.
    virtual uint8_t sipi_vector() const = 0;
    /// INIT: all but the ID and APIC_BASE back to reset state.
    virtual void init_reset() = 0;

    /// Called by the vCPU when the guest's TSC offset or frequency changes: deadline = guest TSC.
    /// guest_tsc = host_tsc + offset.
    virtual void set_tsc_offset(uint64_t offset) = 0;

    /// A halted vCPU waits for its APIC's timer itself, which saves the way over the timer queue's thread: when it has to look, a
    /// reading of CLOCK_MONOTONIC; nullopt: somebody will signal. The timer does not fire until end_wait().
    virtual std::optional<std::chrono::nanoseconds> begin_wait() { return std::nullopt; }
    /// After begin_wait(): fires the timer if it is due, else hands it back to the queue.
    virtual void end_wait() {}

    /// True on the boot processor.
    virtual bool is_bsp() const = 0;
};

}  // namespace yado::cpu
