// The interpreter as the rest of Yado sees it: an engine's vCPU, and a stepper for single instructions.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "cpu/cpu_model.h"
#include "cpu/vcpu.h"

namespace yado::cpu_interp {

class Core;
class Shared;
class Tier;
/// What the vCPUs of one guest share. Make one per guest, before its vCPUs; outlives them.
std::shared_ptr<Shared> make_shared_state(mem::GuestMemory& memory);

/// Guest RAM's extents changed or its dirty log was started or harvested: every vCPU drops its TLB and decoded code before
/// its next instruction. Any thread.
void request_flush(Shared& shared);

/// Features that the interpreter implements (cpu::Feature bits).
cpu::FeatureSet supported_features();

/// Makes the translator that a vCPU gets (tier.h); may fail.
using TierFactory = std::function<Result<std::unique_ptr<Tier>>(Core&)>;

/// A vCPU run by the interpreter and, where make_tier is given, by what it makes. It implements cpu::SignalSink for its local
/// APIC by itself.
Result<std::unique_ptr<cpu::Vcpu>> make_vcpu(const cpu::VcpuWiring& wiring, std::shared_ptr<Shared> shared, const TierFactory& make_tier = {});

/// Runs single instructions on a CpuState: for engines that meet an instruction they cannot run, and for tests.
class Stepper {
  public:
    explicit Stepper(const cpu::VcpuWiring& wiring, std::shared_ptr<Shared> shared);
    /// Gives it a translator, for block_raw().
    Result<> add_tier(const TierFactory& make_tier);
    ~Stepper();
    /// Executes one instruction (a REP instruction: to its end or to a fault), delivering an exception through the guest's
    /// IDT as the CPU would. Errors: Failed (triple fault; text says at which rip).
    Result<> step(cpu::CpuState& state);
    /// As step, but an exception is reported instead of delivered; state is then as the fault leaves it.
    struct Fault {
        uint8_t vector;
        std::optional<uint32_t> error;
        uint64_t cr2;
    };
    std::optional<Fault> step_raw(cpu::CpuState& state);
    /// As step_raw, but runs the whole block at RIP, translated if there is a tier that does so at once.
    /// `known` are addresses that the TLB shall have served before, so that fast paths are taken.
    struct Known {
        uint64_t linear;
        bool written;
    };
    std::optional<Fault> block_raw(cpu::CpuState& state, std::span<const Known> known = {});

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace yado::cpu_interp
