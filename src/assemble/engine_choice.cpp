#include "assemble/engine_choice.h"

#include "assemble/guest.h"
#include "cpu_bt/engine.h"
#include "cpu_kvm/engine.h"
#include "cpu_kvm/probe.h"
#include "cpu_kvm/system.h"

namespace yado::assemble {

namespace {

ChosenEngine bt(std::string reason) { return {cpu_bt::make_bt_engine(), std::move(reason), cpu_bt::supported_features(), {}}; }

Result<ChosenEngine> kvm(std::string reason) {
    auto engine = YADO_TRY(cpu_kvm::make_kvm_engine());
    return ChosenEngine{std::move(engine), std::move(reason), YADO_TRY(cpu_kvm::supported_features()), cpu_kvm::host_identity()};
}

}  // namespace

Result<ChosenEngine> choose_engine(api::EngineChoice choice) {
    switch (choice) {
    case api::EngineChoice::Bt: return bt("asked for");
    case api::EngineChoice::Kvm: return kvm("asked for");
    case api::EngineChoice::Auto: break;
    }
    const cpu_kvm::ProbeReport probe = cpu_kvm::probe();
    if (!probe.usable) return bt(probe.reason);
    if (auto chosen = kvm(probe.reason)) return chosen;
    else return bt(chosen.error().message());
}

std::vector<EngineFinding> probe_engines() {
    const cpu_kvm::ProbeReport probe = cpu_kvm::probe();
    return {
        {.name = "kvm", .present = probe.present, .works = probe.usable, .chosen = probe.usable, .detail = probe.reason},
        {.name = "bt", .present = true, .works = true, .chosen = !probe.usable, .detail = "software engine, needs nothing of the host; tier: interpreter"},
    };
}

}  // namespace yado::assemble
