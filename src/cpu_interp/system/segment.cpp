// Core's members about segments, stacks, flags and modes.
#include "cpu_interp/system/access.h"
#include "cpu_interp/system/descriptor.h"
#include "cpu_interp/system/system.h"

namespace yado::cpu_interp {

namespace {

constexpr uint64_t kFlagBits = 0x3f'7fd5;  ///< every defined RFLAGS bit but the fixed one

Vec fault_of(unsigned seg) { return seg == cpu::SS ? Vec::SS : Vec::GP; }

/// Rights of an access by segment type (SDM vol. 3, 3.5.1, table 3-1).
bool type_allows(uint32_t a, Acc acc) {
    if (a & attr::Unusable) return false;
    if (acc == Acc::Write) return (a & (attr::Code | attr::Writable)) == attr::Writable;
    return !(a & attr::Code) || a & attr::Writable;
}

bool has_error_code(Vec v) {
    switch (v) {
    case Vec::DF: case Vec::TS: case Vec::NP: case Vec::SS: case Vec::GP: case Vec::PF: case Vec::AC: return true;
    default: return false;
    }
}

}  // namespace

uint64_t Core::segmented(const Insn* i, unsigned s, uint64_t ea, unsigned size, Acc acc) {
    if (code_mode == CodeMode::Bits64) {
        const uint64_t linear = s >= cpu::FS ? ea + seg[s].base : ea;
        if (!canonical(linear) || !canonical(linear + size - 1)) raise(i, fault_of(s), 0);
        return linear;
    }
    const cpu::Segment& segment = seg[s];
    if (!paragraphs(*this) && !type_allows(segment.attr, acc)) raise(i, fault_of(s), 0);
    if (!within_limit(segment, ea, size)) raise(i, fault_of(s), 0);
    return static_cast<uint32_t>(segment.base + ea);
}

void Core::push(const Insn* i, unsigned size, uint64_t value) {
    uint64_t sp = gpr[cpu::RSP] - size;
    uint64_t linear = sp;
    if (stack64) {
        if (!canonical(sp) || !canonical(sp + size - 1)) [[unlikely]] raise(i, Vec::SS, 0);
    } else {
        const uint64_t offset = stack32 ? static_cast<uint32_t>(sp) : static_cast<uint16_t>(sp);
        linear = segmented(i, cpu::SS, offset, size, Acc::Write);
        sp = stack32 ? offset : (gpr[cpu::RSP] & ~0xffffull) | offset;
    }
    switch (size) {
    case 8: store<uint64_t>(i, linear, value); break;
    case 4: store<uint32_t>(i, linear, static_cast<uint32_t>(value)); break;
    default: store<uint16_t>(i, linear, static_cast<uint16_t>(value)); break;
    }
    gpr[cpu::RSP] = sp;
}

uint64_t Core::pop(const Insn* i, unsigned size) {
    uint64_t linear = gpr[cpu::RSP];
    uint64_t sp = linear + size;
    if (stack64) {
        if (!canonical(linear) || !canonical(linear + size - 1)) [[unlikely]] raise(i, Vec::SS, 0);
    } else {
        const uint64_t offset = stack32 ? static_cast<uint32_t>(linear) : static_cast<uint16_t>(linear);
        sp = stack32 ? static_cast<uint32_t>(sp) : (gpr[cpu::RSP] & ~0xffffull) | static_cast<uint16_t>(sp);
        linear = segmented(i, cpu::SS, offset, size, Acc::Read);
    }
    uint64_t value;
    switch (size) {
    case 8: value = load<uint64_t>(i, linear); break;
    case 4: value = load<uint32_t>(i, linear); break;
    default: value = load<uint16_t>(i, linear); break;
    }
    gpr[cpu::RSP] = sp;
    return value;
}

uint64_t Core::rflags() const {
    return sysflags | (aflags >> 8 & 0xd5) | static_cast<uint64_t>(aflags & hflags::OF) << 11;
}

void Core::set_rflags(uint64_t value, uint64_t changeable) {
    changeable &= kFlagBits;
    const uint64_t all = (rflags() & ~changeable) | (value & changeable) | cpu::rflags::FIXED1;
    aflags = static_cast<uint16_t>((all & 0xd5) << 8 | 0x0200 | (all >> 11 & 1));
    const uint64_t before = sysflags;
    sysflags = all & ~cpu::rflags::ARITH;
    if ((before ^ sysflags) & (cpu::rflags::VM | cpu::rflags::AC)) update_mode();
}

void Core::update_mode() {
    const uint32_t cs = seg[cpu::CS].attr;
    cpl = vm86(*this) ? 3 : protected_mode(*this) ? dpl_of(seg[cpu::SS]) : 0;
    if (long_mode(*this) && cs & attr::L)
        code_mode = CodeMode::Bits64;
    else
        code_mode = cs & attr::DB ? CodeMode::Bits32 : CodeMode::Bits16;
    stack64 = code_mode == CodeMode::Bits64;
    stack32 = seg[cpu::SS].attr & attr::DB;
    mmu = rights_at(*this, cpl);
    const bool check = cpl == 3 && cr0 & cpu::cr0::AM && sysflags & cpu::rflags::AC;
    if (check && !system->alignment_check) tlb_flush_all();  // from now on user accesses are looked at one by one
    system->alignment_check = check;
}

void Core::jump_to(const Insn* i, uint64_t target) {
    if (code_mode == CodeMode::Bits64) {
        if (!canonical(target)) raise(i, Vec::GP, 0);
    } else {
        target = static_cast<uint32_t>(target);
        if (target > seg[cpu::CS].limit) raise(i, Vec::GP, 0);
    }
    rip = target;
}

void Core::raise(const Insn* i, Vec vector) { raise(i, vector, 0); }

void Core::raise(const Insn* i, Vec vector, uint32_t error) {
    fault_insn = i;
    throw GuestFault{vector, has_error_code(vector), error};
}

}  // namespace yado::cpu_interp
