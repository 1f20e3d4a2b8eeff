#include "cpu_bt/engine.h"

#include "base/check.h"
#include "cpu/host_tsc.h"
#include "cpu_bt/lockstep_tier.h"
#include "cpu_bt/translator_tier.h"
#include "cpu_interp/interp.h"

namespace yado::cpu_bt {

namespace {

class BtEngine final : public cpu::Engine {
  public:
    BtEngine(TierOptions options, Check check) : options_(std::move(options)), check_(check) {}

    std::string name() const override { return "bt"; }
    bool owns_lapic() const override { return false; }
    void send_msi(GuestPhysAddr, uint32_t) override { YADO_CHECK(owns_lapic()); }
    void on_eoi(std::function<void(uint8_t)>) override { YADO_CHECK(owns_lapic()); }

    Result<> map_memory(mem::GuestMemory& memory) override {
        if (!shared_) shared_ = cpu_interp::make_shared_state(memory);
        return {};
    }
    Result<std::unique_ptr<cpu::Vcpu>> create_vcpu(const cpu::VcpuWiring& wiring) override {
        YADO_CHECK(shared_ != nullptr);
        return cpu_interp::make_vcpu(wiring, shared_, [this](Core& core) { return make_tier(core); });
    }
    uint64_t tsc_hz() const override { return cpu::host_tsc_hz(); }
    std::string describe() const override { return "translator over the interpreter"; }

  private:
    Result<std::unique_ptr<cpu_interp::Tier>> make_tier(Core& core) const {
        if (check_ == Check::Off) return YADO_TRY(TranslatorTier::create(core, options_));
        return YADO_TRY(LockstepTier::create(core, check_, [](Core& c, const std::string& report) { c.fail(report); }));
    }

    TierOptions options_;
    Check check_;
    std::shared_ptr<cpu_interp::Shared> shared_;
};

Result<std::unique_ptr<PerfFile>> perf_file(const EngineOptions& options) {
    if (options.perf == PerfOutput::JitDump) return make_jit_dump(options.perf_folder);
    return make_perf_map();
}

Result<std::shared_ptr<const PerfListing>> perf_listing(const EngineOptions& options) {
    if (options.perf == PerfOutput::None) return nullptr;
    std::optional<GuestSymbols> symbols;
    if (!options.system_map.empty()) symbols = YADO_TRY(GuestSymbols::read(options.system_map));
    return std::make_shared<const PerfListing>(YADO_TRY(perf_file(options)), std::move(symbols));
}

}  // namespace

Result<std::unique_ptr<cpu::Engine>> make_bt_engine(const EngineOptions& options) {
    return std::make_unique<BtEngine>(TierOptions{.perf = YADO_TRY(perf_listing(options))}, options.check);
}
cpu::FeatureSet supported_features() { return cpu_interp::supported_features(); }

}  // namespace yado::cpu_bt
