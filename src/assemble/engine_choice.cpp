#include "assemble/engine_choice.h"

#include <unistd.h>

#include "assemble/guest.h"
#include "assemble/kvm_verdict.h"
#include "cpu_bt/engine.h"
#include "cpu_kvm/engine.h"
#include "cpu_kvm/system.h"

namespace yado::assemble {

namespace {

cpu_bt::PerfOutput perf_output(api::PerfKind kind) {
    switch (kind) {
    case api::PerfKind::Off: break;
    case api::PerfKind::Map: return cpu_bt::PerfOutput::Map;
    case api::PerfKind::JitDump: return cpu_bt::PerfOutput::JitDump;
    }
    return cpu_bt::PerfOutput::None;
}

cpu_bt::Check check_of(api::CheckKind kind) {
    switch (kind) {
    case api::CheckKind::Off: break;
    case api::CheckKind::Lockstep: return cpu_bt::Check::Lockstep;
    case api::CheckKind::Sampled: return cpu_bt::Check::Sampled;
    }
    return cpu_bt::Check::Off;
}

Result<ChosenEngine> bt(const api::GuestConfig& config, std::string reason) {
    const cpu_bt::EngineOptions options{
        .perf = perf_output(config.perf.kind), .perf_folder = config.perf.folder, .system_map = config.system_map,
        .check = check_of(config.check)};
    return ChosenEngine{YADO_TRY(cpu_bt::make_bt_engine(options)), std::move(reason), cpu_bt::supported_features(), {}};
}

Result<ChosenEngine> kvm(std::string reason) {
    auto engine = YADO_TRY(cpu_kvm::make_kvm_engine());
    return ChosenEngine{std::move(engine), std::move(reason), YADO_TRY(cpu_kvm::supported_features()), cpu_kvm::host_identity()};
}

/// What an earlier start found, or else a probe.
KvmVerdict verdict_on_kvm(const KvmVerdictFile& file) {
    auto known = file.recall();
    if (!known) return probe_anew(file);
    known->reason += "; found at an earlier start, yado doctor looks again";
    return *std::move(known);
}

}  // namespace

Result<ChosenEngine> choose_engine(const api::GuestConfig& config, const std::string& verdict_file) {
    switch (config.engine) {
    case api::EngineChoice::Bt: return bt(config, "asked for");
    case api::EngineChoice::Kvm: return kvm("asked for");
    case api::EngineChoice::Auto: break;
    }
    const KvmVerdict verdict = verdict_on_kvm(KvmVerdictFile(verdict_file));
    if (!verdict.usable) return bt(config, verdict.reason);
    if (auto chosen = kvm(verdict.reason)) return chosen;
    else return bt(config, chosen.error().message());
}

std::vector<EngineFinding> probe_engines(const std::string& verdict_file) {
    const KvmVerdict kvm = probe_anew(KvmVerdictFile(verdict_file));
    return {
        {.name = "kvm", .present = access("/dev/kvm", F_OK) == 0, .works = kvm.usable, .chosen = kvm.usable, .detail = kvm.reason},
        {.name = "bt", .present = true, .works = true, .chosen = !kvm.usable, .detail = "binary translator, needs nothing of the host"},
    };
}

}  // namespace yado::assemble
