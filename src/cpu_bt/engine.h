// The engine that needs no help from hardware: the translator as a tier over the reference interpreter (cpu_interp), behind
// the same Vcpu.
#pragma once

#include <memory>
#include <string>

#include "base/error.h"
#include "cpu/cpu_model.h"
#include "cpu/vcpu.h"

namespace yado::cpu_bt {

/// In which form `perf` is told what translated code is (perf_files.h).
enum class PerfOutput : uint8_t { None, Map, JitDump };

/// Off: translated code runs alone. Lockstep: the interpreter runs everything again and the first difference ends the guest,
/// with a report as the reason (lockstep_tier.h); one vCPU only. Sampled: of blocks that run much, only some runs.
enum class Check : uint8_t { Off, Lockstep, Sampled };

struct EngineOptions {
    PerfOutput perf = PerfOutput::None;
    std::string perf_folder;  ///< of the jitdump
    std::string system_map;   ///< file with the guest kernel's symbols; may be empty
    Check check = Check::Off;
};

/// Errors: those of the files that the options name.
Result<std::unique_ptr<cpu::Engine>> make_bt_engine(const EngineOptions& options);
/// Features that guests on this engine can be shown.
cpu::FeatureSet supported_features();

}  // namespace yado::cpu_bt
