// Debug registers, breakpoints and single step (SDM vol. 3, chapter 17).
#include "cpu_interp/system/access.h"
#include "cpu_interp/system/handlers.h"
#include "cpu_interp/system/system.h"

namespace yado::cpu_interp {

namespace {

constexpr uint64_t kDr6Fixed = 0xffff'0ff0, kDr6Writable = 0xe00f, kBD = 1u << 13;
constexpr uint64_t kDr7Fixed = 0x400, kDr7Writable = 0xffff'23ff, kGD = 1u << 13;

/// DR4 and DR5 are DR6 and DR7 unless CR4.DE (17.2.2); DR7.GD guards all of them.
unsigned checked_number(Core& c, const Insn* i) {
    unsigned number = i->reg;
    if (number > 7) c.raise(i, Vec::UD);
    if (number == 4 || number == 5) {
        if (c.cr4 & cpu::cr4::DE) c.raise(i, Vec::UD);
        number += 2;
    }
    if (c.cpl > 0) c.raise(i, Vec::GP, 0);
    if (c.dr7 & kGD) {
        c.dr6 |= kBD;
        c.raise(i, Vec::DB);
    }
    return number;
}

bool data_enabled(uint64_t dr7) {
    for (unsigned n = 0; n < 4; ++n)
        if (dr7 >> (2 * n) & 3 && dr7 >> (16 + 4 * n) & 1) return true;
    return false;
}

}  // namespace

bool instruction_breakpoint(Core& c) {
    if (c.sysflags & cpu::rflags::RF || c.mov_ss_shadow) return false;
    const uint64_t linear = c.code_mode == CodeMode::Bits64 ? c.rip : static_cast<uint32_t>(c.rip + c.seg[cpu::CS].base);
    uint64_t hits = 0;
    for (unsigned n = 0; n < 4; ++n)
        if (c.dr7 >> (2 * n) & 3 && !(c.dr7 >> (16 + 4 * n) & 15) && c.dr[n] == linear) hits |= 1u << n;
    c.dr6 |= hits;
    return hits;
}

bool debug_trap_due(Core& c, uint64_t flags_at_start) {
    if (flags_at_start & cpu::rflags::RF) c.sysflags &= ~cpu::rflags::RF;
    if (c.mov_ss_shadow) return false;
    uint64_t hits = std::exchange(c.debug_hits, 0);
    const uint64_t flags = std::exchange(c.system->new_tf_counts, false) ? c.sysflags : flags_at_start;
    if (flags & cpu::rflags::TF) hits |= kDr6SingleStep;
    c.dr6 |= hits;
    return hits;
}

namespace op {

void mov_from_dr(Core& c, const Insn* i) {
    const unsigned number = checked_number(c, i);
    const uint64_t value = number < 4 ? c.dr[number] : number == 6 ? c.dr6 : c.dr7;
    c.gpr[i->rm] = c.code_mode == CodeMode::Bits64 ? value : static_cast<uint32_t>(value);
    return next(c, i);
}

void mov_to_dr(Core& c, const Insn* i) {
    const unsigned number = checked_number(c, i);
    const uint64_t value = c.code_mode == CodeMode::Bits64 ? c.gpr[i->rm] : static_cast<uint32_t>(c.gpr[i->rm]);
    if (number >= 6 && value >> 32) c.raise(i, Vec::GP, 0);
    if (number < 4)
        c.dr[number] = value;
    else if (number == 6)
        c.dr6 = (value & kDr6Writable) | kDr6Fixed;
    else
        c.dr7 = (value & kDr7Writable) | kDr7Fixed;
    c.system->data_armed = data_enabled(c.dr7);
    if (c.system->data_armed) c.tlb_flush_all();  // accesses to watched pages must come to the slow path
    c.rip = c.next_rip(i);
}

}  // namespace op

}  // namespace yado::cpu_interp
