// The contract between engines and the rest of Yado. KVM and the translator are not named here.
//
// A vCPU thread calls Vcpu::run again and again; it returns when the thread has something to do that the engine cannot:
// the guest halted, shut down, came where a debugger waits, or someone asked by kick(). Port and memory-mapped accesses are
// calls on the DeviceAccess, made in the middle of an instruction if need be, not exits: a software engine would have to
// suspend and repeat instructions that make several accesses (docs/adr/0001).
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "base/error.h"
#include "base/units.h"
#include "cpu/debug.h"
#include "cpu/guest_clock.h"
#include "cpu/local_apic.h"
#include "cpu/state.h"
#include "cpu/stats.h"
#include "mem/guest_memory.h"

namespace yado::cpu {

struct CpuModel;

/// Everything outside RAM that an instruction can reach. Called on the vCPU's thread.
class DeviceAccess {
  public:
    virtual ~DeviceAccess() = default;
    virtual uint64_t port_read(Port port, unsigned size) = 0;
    virtual void port_write(Port port, unsigned size, uint64_t value) = 0;
    virtual uint64_t mmio_read(GuestPhysAddr address, unsigned size) = 0;
    virtual void mmio_write(GuestPhysAddr address, unsigned size, uint64_t value) = 0;
};

struct Halted {};   ///< HLT with nothing pending: park until kicked
struct Kicked {};   ///< kick() was called
enum class ShutdownCause : uint8_t { TripleFault, EngineFailure };
struct ShutdownRequest {
    ShutdownCause cause;
    std::string detail;
};
using Exit = std::variant<Halted, Kicked, ShutdownRequest, DebugStop>;

/// One virtual CPU. All calls but kick() on its own thread, or while that thread is stopped.
class Vcpu {
  public:
    virtual ~Vcpu() = default;
    virtual Exit run() = 0;
    /// Makes a run() in progress (or the next one) return Kicked soon. Any thread.
    virtual void kick() = 0;
    /// After run() returned Halted: sleeps until a signal arrives or kick() is called. Engines that halt by themselves
    /// never return Halted.
    virtual void park() {}
    /// Architectural state out and in. In refuses (Corrupt) values that the manual does not allow, changing nothing.
    virtual Result<CpuState> get_state() = 0;
    virtual Result<> set_state(const CpuState& state) = 0;
    /// Where a debugger wants this vCPU to stop from now on (nothing before the first call). Errors: OutOfRange (more than
    /// this engine's hardware can watch; what was set before stays).
    virtual Result<> set_debug(const DebugControl& control) {
        return control.empty() ? Result<>{} : fail(ErrorKind::Failed, "this engine cannot be debugged");
    }
    /// Instructions retired (0 where the engine cannot tell).
    virtual uint64_t instructions() const { return 0; }
    /// What it counted so far. Any thread.
    virtual Stats stats() const { return {}; }
};

/// What a vCPU is made with.
struct VcpuWiring {
    uint32_t index;              ///< 0-based; also the initial APIC ID
    const CpuModel& model;
    mem::GuestMemory& memory;
    DeviceAccess& devices;
    LocalApic* apic;             ///< nullptr where the engine brings its own (Engine::owns_lapic)
    ExternalInterrupts* pic;     ///< the boot processor's, for engines with their own LAPIC; else nullptr
    uint64_t guest_tsc_hz;
    bool timed = false;          ///< stats() tells what time is spent on, which costs a little
};

/// The message that an I/O APIC pin or an event descriptor sends.
struct RouteMessage {
    GuestPhysAddr address;
    uint32_t data = 0;
    friend bool operator==(const RouteMessage&, const RouteMessage&) = default;
};

/// Sends a message for every event of a descriptor: what bus::MsiRoute promises, kept by the engine. One call at a time, any
/// thread, any lock below LockRank::Vcpu. Ends before its engine.
class MessageRoute {
  public:
    virtual ~MessageRoute() = default;
    virtual Result<> bind(const RouteMessage& message) = 0;
    virtual void unbind() = 0;
};

/// One engine for one guest.
class Engine {
  public:
    virtual ~Engine() = default;
    virtual std::string name() const = 0;
    /// True if local APICs live in the engine (KVM's split irqchip): then messages go to msi_sink().
    virtual bool owns_lapic() const = 0;
    /// For engines with their own LAPIC: delivers an MSI. Any thread. YADO_CHECKs otherwise.
    virtual void send_msi(GuestPhysAddr address, uint32_t data) = 0;
    /// For engines with their own LAPIC: called (on a vCPU thread) when a level interrupt's vector is acknowledged by EOI.
    virtual void on_eoi(std::function<void(uint8_t vector)> callback) = 0;
    /// For engines with their own LAPIC: the PIC's output changed; the boot processor asks wiring.pic. Any thread.
    virtual void external_interrupt(bool) {}
    /// For engines with their own LAPIC: what an I/O APIC pin sends from now on (nullopt: masked). They need it to report
    /// the ends of level-triggered interrupts (on_eoi). Any thread, any lock below LockRank::Vcpu.
    virtual void ioapic_route(unsigned, const std::optional<RouteMessage>&) {}
    /// For engines with their own LAPIC: true if make_message_route can work.
    virtual bool has_message_routes() const { return false; }
    /// A route, unbound, for an eventfd that outlives it (KVM irqfd). Errors: OutOfRange (no route is left), Failed; messages
    /// then go by send_msi. Any thread, any lock below LockRank::Vcpu.
    virtual Result<std::unique_ptr<MessageRoute>> make_message_route(int eventfd) {
        return fail(ErrorKind::Failed, "no routes for messages (descriptor {})", eventfd);
    }
    /// Takes over the memory's dirty_log() setting and adds the pages that the engine itself saw written: call after
    /// GuestMemory::set_dirty_log and before harvest_dirty. Engines whose writes go through GuestMemory need nothing.
    virtual Result<> sync_dirty_log() { return {}; }
    /// Called before the first vCPU is made and whenever guest RAM's extents change (vCPUs stopped).
    virtual Result<> map_memory(mem::GuestMemory& memory) = 0;
    virtual Result<std::unique_ptr<Vcpu>> create_vcpu(const VcpuWiring& wiring) = 0;
    /// The guest's paravirtual clock; nullptr where it follows from the TSC alone. The engine owns it.
    virtual GuestClock* guest_clock() { return nullptr; }
    /// The guest's TSC frequency in Hz.
    virtual uint64_t tsc_hz() const = 0;
    /// True if attach_doorbell can work.
    virtual bool has_doorbells() const { return false; }
    /// An eventfd that is signalled when the guest writes there (KVM ioeventfd); Errors: Failed where the engine cannot,
    /// then the write arrives by DeviceAccess.
    virtual Result<> attach_doorbell(GuestPhysAddr, int) { return fail(ErrorKind::Failed, "no doorbells"); }
    virtual void detach_doorbell(GuestPhysAddr, int) {}
    /// One line for `yado info`: counters that the engine keeps.
    virtual std::string describe() const = 0;
};

}  // namespace yado::cpu
