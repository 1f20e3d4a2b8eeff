// A bare guest (unit/cpu_interp/guest.h) whose vCPUs translate every block at once.
#pragma once

#include "cpu_bt/translator_tier.h"
#include "unit/cpu_interp/guest.h"

namespace yado::cpu_bt::test {

using cpu_interp::test::kCode;
using cpu_interp::test::kData;
using cpu_interp::test::kStack;

class BtGuest : public cpu_interp::test::Guest {
  public:
    explicit BtGuest(const TierOptions& options = {.warm = 1}, bool timed = false) {
        const cpu::VcpuWiring wiring{0, model, memory, devices, nullptr, nullptr, 1'000'000'000, timed};
        auto made = cpu_interp::make_vcpu(wiring, shared, [=](Core& core) -> Result<std::unique_ptr<cpu_interp::Tier>> {
            return YADO_TRY(TranslatorTier::create(core, options));
        });
        EXPECT_TRUE(made);
        vcpus.push_back(std::move(*made));
    }
    /// The counters of a group; fails the test if there is none of that name.
    std::map<std::string, uint64_t> counted(std::string_view group) const {
        for (const cpu::StatGroup& g : vcpus[0]->stats())
            if (g.name == group) return g.values;
        ADD_FAILURE() << "no group " << group;
        return {};
    }
};

}  // namespace yado::cpu_bt::test
