// One vCPU of KVM.
//
// run(): inject the PIC's interrupt if it can be taken -> KVM_RUN -> route the exit (port, memory, end of interrupt) -> again,
// until kicked or shut down. An instruction that the kernel's emulator refuses is stepped by the interpreter.
//
// Kicks: immediate_exit is set before the signal is sent, and cleared only where kicked_ is read afterwards, so a kick
// before, in and after KVM_RUN ends that or the next KVM_RUN.
#pragma once

#include <linux/kvm.h>

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/counter.h"
#include "base/fd.h"
#include "cpu/cpu_model.h"
#include "cpu/vcpu.h"
#include "cpu_interp/interp.h"
#include "cpu_kvm/debug_slots.h"

namespace yado::cpu_kvm {

/// What the vCPUs of one guest share with their engine.
struct Machine {
    Fd kvm, vm;
    std::function<void(uint8_t)> eoi;               ///< set before the vCPUs run
    std::shared_ptr<cpu_interp::Shared> interpreter;  ///< shared: the steppers of all vCPUs keep it
    std::vector<uint32_t> msrs;                     ///< that this KVM has; found with the first vCPU
    std::atomic<uint64_t> stepped{0};               ///< instructions that the interpreter ran
    std::atomic<uint64_t> exits{0};
};

inline constexpr unsigned kExitReasons = 48;

class KvmVcpu final : public cpu::Vcpu {
  public:
    static Result<std::unique_ptr<KvmVcpu>> create(const cpu::VcpuWiring& wiring, Machine& machine);
    ~KvmVcpu() override;

    cpu::Exit run() override;
    void kick() override;
    Result<cpu::CpuState> get_state() override;
    Result<> set_state(const cpu::CpuState& state) override;
    Result<> set_debug(const cpu::DebugControl& control) override;
    cpu::Stats stats() const override;

    /// The PIC's output changed: leave KVM_RUN to look at it. Any thread.
    void look_at_pic();

  private:
    KvmVcpu(const cpu::VcpuWiring& wiring, Machine& machine, Fd fd, kvm_run* run, size_t run_size);
    Result<> set_up();
    Result<> set_up_cpuid();
    void find_msrs();

    using Outcome = std::optional<cpu::Exit>;  ///< nullopt: go on
    Outcome route_exit();
    Outcome step();
    Outcome debug_exit();
    Outcome step_done();
    Outcome give_to_guest(uint64_t dr6);
    uint32_t held_interrupts();
    cpu::Exit failure(std::string detail) const;
    void port_exit();
    void mmio_exit();
    void inject_from_pic();
    void finish_io();
    void interrupt_run();
    void clear_immediate_exit();

    Result<> apply(const cpu::CpuState& state);
    Result<> apply_lapic(const cpu::CpuState& state);
    Result<> apply_msrs(const cpu::CpuState& state);
    Result<> get_msrs(cpu::CpuState& state);
    template <typename T>
    Result<> call(unsigned long request, T* argument, const char* what);

    const cpu::VcpuWiring wiring_;
    Machine& machine_;
    Fd fd_;
    kvm_run* run_;
    size_t run_size_;
    std::atomic<bool> kicked_{false};
    std::atomic<int> thread_{0};  ///< inside run()
    bool io_unfinished_ = false;  ///< the next KVM_RUN completes an access
    DebugSlots debug_;            ///< a debugger's, in the processor's debug registers
    bool single_step_ = false;
    struct Handed {
        uint8_t vector;
        uint64_t rip;
    };
    std::optional<Handed> handed_;  ///< a PIC interrupt given to KVM that may not have reached the guest yet
    std::unique_ptr<cpu_interp::Stepper> stepper_;
    std::array<Counter, kExitReasons> exits_;  ///< by KVM_EXIT_*; the last is for those beyond
    Counter interrupted_;                      ///< KVM_RUN ended by a signal
    Counter stepped_;
};

/// Installs the kick signal's handler, once a process.
void install_kick_signal();
int kick_signal();

}  // namespace yado::cpu_kvm
