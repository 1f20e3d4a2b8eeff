// CPUID, time stamp counter, random numbers, hypercalls, MONITOR (SDM vol. 2; Linux virt/kvm/x86/hypercalls.rst).
#include <sys/random.h>

#include "cpu/cpu_model.h"
#include "cpu/local_apic.h"
#include "cpu_interp/system/access.h"
#include "cpu_interp/system/handlers.h"
#include "cpu_interp/system/system.h"

namespace yado::cpu_interp {

namespace {

void need_tsc(Core& c, const Insn* i) {
    if (c.cr4 & cpu::cr4::TSD && c.cpl > 0) c.raise(i, Vec::GP, 0);
}

void put_tsc(Core& c) {
    const uint64_t tsc = guest_tsc(c);
    c.gpr[cpu::RAX] = static_cast<uint32_t>(tsc);
    c.gpr[cpu::RDX] = tsc >> 32;
}

/// One word of the host's random source, read 32 at a time; false if it has none now.
bool random_word(SystemState& s, uint64_t* word) {
    if (s.random_left == 0) {
        if (getrandom(s.random.data(), sizeof s.random, GRND_NONBLOCK) != sizeof s.random) return false;
        s.random_left = s.random.size();
    }
    *word = std::exchange(s.random[--s.random_left], 0);
    return true;
}

void put_random(Core& c, const Insn* i) {
    uint64_t word = 0;
    const bool ok = random_word(*c.system, &word);
    uint64_t& r = c.gpr[i->rm];
    if (i->opsize == 2)
        r = (r & ~0xffffull) | (word & 0xffff);
    else
        r = i->opsize == 4 ? static_cast<uint32_t>(word) : word;
    c.aflags = ok ? 0x0200 | hflags::CF : 0x0200;  // CF: a number was there; the other flags are 0
    return next(c, i);
}

constexpr int64_t kKvmEnosys = 1000, kKvmEperm = 1;
constexpr uint64_t kHypercallPollIrq = 1;

}  // namespace

namespace op {

namespace {
void do_cpuid(Core& c) {
    cpu::CpuidContext context{.cr4 = c.cr4, .xcr0 = c.xcr0};
    if (c.wiring.apic) c.wiring.apic->msr_read(cpu::msr::IA32_APIC_BASE, &context.apic_base);
    const auto r = cpu::cpuid(c.wiring.model, c.system->cpuid_table, static_cast<uint32_t>(c.gpr[cpu::RAX]),
                              static_cast<uint32_t>(c.gpr[cpu::RCX]), context);
    c.gpr[cpu::RAX] = r.eax;
    c.gpr[cpu::RBX] = r.ebx;
    c.gpr[cpu::RCX] = r.ecx;
    c.gpr[cpu::RDX] = r.edx;
}
}  // namespace

/// Apart from its work, which has locals with addresses: next() must be a tail call.
void cpuid(Core& c, const Insn* i) {
    do_cpuid(c);
    return next(c, i);
}

void rdtsc(Core& c, const Insn* i) {
    need_tsc(c, i);
    put_tsc(c);
    return next(c, i);
}

void rdtscp(Core& c, const Insn* i) {
    if (!c.wiring.model.has(cpu::Feature::RDTSCP)) c.raise(i, Vec::UD);
    need_tsc(c, i);
    put_tsc(c);
    c.gpr[cpu::RCX] = c.system->tsc_aux;
    return next(c, i);
}

void rdpid(Core& c, const Insn* i) {
    if (!c.wiring.model.has(cpu::Feature::RDPID)) c.raise(i, Vec::UD);
    c.gpr[i->rm] = c.system->tsc_aux;
    return next(c, i);
}

/// There is no performance counter.
void rdpmc(Core& c, const Insn* i) { c.raise(i, Vec::GP, 0); }

void rdrand(Core& c, const Insn* i) {
    if (!c.wiring.model.has(cpu::Feature::RDRAND)) c.raise(i, Vec::UD);
    return put_random(c, i);
}

void rdseed(Core& c, const Insn* i) {
    if (!c.wiring.model.has(cpu::Feature::RDSEED)) c.raise(i, Vec::UD);
    return put_random(c, i);
}

/// MONITOR and MWAIT: where shown, MWAIT is allowed to return at once.
void monitor(Core& c, const Insn* i) {
    if (!c.system->monitor || c.cpl > 0) c.raise(i, Vec::UD);
    return next(c, i);
}

void hypercall(Core& c, const Insn* i) {
    if (!c.system->hypervisor) c.raise(i, Vec::UD);
    int64_t result = -kKvmEnosys;
    if (c.cpl > 0)
        result = -kKvmEperm;
    else if (c.gpr[cpu::RAX] == kHypercallPollIrq)
        result = 0;
    c.gpr[cpu::RAX] = c.code_mode == CodeMode::Bits64 ? static_cast<uint64_t>(result) : static_cast<uint32_t>(result);
    return next(c, i);
}

void undefined(Core& c, const Insn* i) { c.raise(i, Vec::UD); }

}  // namespace op

}  // namespace yado::cpu_interp
