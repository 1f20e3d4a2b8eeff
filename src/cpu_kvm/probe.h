// Whether /dev/kvm can really run a guest kernel. Its presence is not enough: some hosts' KVM interprets ring 0 in
// software, a hundred times slower, and lacks instructions that every kernel uses.
#pragma once

#include <string>
#include <vector>

namespace yado::cpu_kvm {

struct ProbeReport {
    bool present = false;     ///< the device exists
    bool accessible = false;  ///< and we may open it, and it is a KVM with what we need
    bool usable = false;      ///< and it runs ring 0 at the processor's speed
    double ring0_mips = 0;    ///< million instructions a second, measured; 0: not measured
    std::vector<std::string> missing;  ///< instructions that do not work ("CMPXCHG16B")
    std::string reason;       ///< one sentence, for `yado doctor` and for the choice of `auto`
};

/// Below this a guest kernel is no faster than under our own engine.
inline constexpr double kUsableMips = 100;

/// Runs a loop and a few instructions in ring 0 of a VM made for it. At most some 200 ms; any thread.
ProbeReport probe(const char* path = "/dev/kvm");

}  // namespace yado::cpu_kvm
