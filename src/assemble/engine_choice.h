// Which engine runs a guest, and why.
#pragma once

#include <memory>
#include <string>

#include "api/guest_config.h"
#include "cpu/cpu_model.h"
#include "cpu/vcpu.h"

namespace yado::assemble {

struct ChosenEngine {
    std::unique_ptr<cpu::Engine> engine;
    std::string reason;
    cpu::FeatureSet features = 0;   ///< what its guests can be shown
    cpu::Identity identity;         ///< vendor and family that it shows
};

/// `verdict_file`: as for create_guest(). Errors: those of the engine that was asked for by name, and of the files that the
/// configuration gives it; `auto` always finds one.
Result<ChosenEngine> choose_engine(const api::GuestConfig& config, const std::string& verdict_file);

}  // namespace yado::assemble
