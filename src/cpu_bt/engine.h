// The engine that needs no help from hardware. Its tier 0 is the reference interpreter (cpu_interp); the translator's
// tiers stand in this folder beside this file when they come, behind the same Vcpu.
#pragma once

#include <memory>

#include "cpu/cpu_model.h"
#include "cpu/vcpu.h"

namespace yado::cpu_bt {

std::unique_ptr<cpu::Engine> make_bt_engine();
/// Features that guests on this engine can be shown.
cpu::FeatureSet supported_features();

}  // namespace yado::cpu_bt
