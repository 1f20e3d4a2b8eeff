// The debugger's side of a guest: holds the vCPUs, keeps breakpoints and arms them, translates addresses.
//
//   a vCPU comes to a breakpoint: Processors holds all and calls vcpu_stopped() -> control executor: the guest is paused, the
//   listener told. Of vCPUs that stop at the same time the first is told; the others' breakpoints are hit again when they go
//   on, their watchpoints are kept for the next resume().
//
// Control executor's thread, but for vcpu_stopped().
#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "mem/guest_memory.h"
#include "vm/debug_port.h"
#include "vm/processors.h"
#include "vm/run_control.h"

namespace yado::vm {

class Debugger final : public DebugPort {
  public:
    static constexpr size_t kMaxBreakpoints = 1024, kMaxWatchpoints = 64;
    static constexpr Bytes kMaxWatched = 1_MiB;  ///< of one watchpoint

    struct Wiring {
        io::Executor& executor;  ///< the control executor
        Processors& processors;
        RunControl& run;
        mem::GuestMemory& memory;
        bool avx;
        /// "debugger-attached", "debugger-detached".
        std::function<void(std::string_view kind)> event;
    };
    explicit Debugger(Wiring wiring) : wiring_(std::move(wiring)) {}

    /// A vCPU's thread; all are held.
    void vcpu_stopped(unsigned vcpu, const cpu::DebugStop& stop);
    /// The guest began anew: what was known of its vCPUs is void.
    void guest_reset() { states_.clear(); }
    void guest_ended(const api::ExitReport& report);

    // DebugPort
    io::Executor& executor() override { return wiring_.executor; }
    unsigned vcpus() const override { return static_cast<unsigned>(wiring_.processors.count()); }
    bool has_avx() const override { return wiring_.avx; }
    Result<> attach(DebugListener& listener) override;
    void detach(Leave leave) override;
    void kill() override;
    Result<> interrupt() override;
    Result<> resume(std::span<const VcpuAction> actions) override;
    Result<cpu::CpuState> state(unsigned vcpu) override;
    Result<> set_state(unsigned vcpu, const cpu::CpuState& state) override;
    Result<> read(unsigned vcpu, GuestLinearAddr address, std::span<std::byte> out) override;
    Result<> write(unsigned vcpu, GuestLinearAddr address, std::span<const std::byte> in) override;
    Result<> read_physical(GuestPhysAddr address, std::span<std::byte> out) override;
    Result<> write_physical(GuestPhysAddr address, std::span<const std::byte> in) override;
    Result<> add_breakpoint(GuestLinearAddr address) override;
    void remove_breakpoint(GuestLinearAddr address) override;
    Result<> add_watchpoint(const cpu::Watchpoint& watchpoint) override;
    void remove_watchpoint(const cpu::Watchpoint& watchpoint) override;

  private:
    Result<> need_stopped(unsigned vcpu = 0) const;
    void settle(const DebugEvent& event);
    void tell(const DebugEvent& event);
    bool tell_late(std::span<const VcpuAction> actions);
    Result<> arm(std::span<const VcpuAction> actions);
    Result<> try_control(const cpu::DebugControl& control);
    template <typename F>
    Result<> for_each_page(unsigned vcpu, GuestLinearAddr address, size_t size, F&& f);

    Wiring wiring_;
    DebugListener* listener_ = nullptr;
    bool running_ = false;              ///< as far as the listener knows
    cpu::DebugControl control_;         ///< of every vCPU, breakpoints sorted; single_step is by vCPU
    std::vector<DebugEvent> late_;      ///< watchpoints hit beside the stop that was told
    std::vector<std::optional<cpu::CpuState>> states_;  ///< of this stop
};

}  // namespace yado::vm
