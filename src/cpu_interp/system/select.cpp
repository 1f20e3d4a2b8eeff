// Which handler runs a system instruction: small tables by opcode map, opcode and ModRM.
#include "cpu_interp/insn.h"
#include "cpu_interp/system/handlers.h"

namespace yado::cpu_interp {

namespace {

struct Rule {
    uint8_t opcode;
    Handler run;
    bool ends;
    int8_t group = -1;  ///< ModRM.reg, where the opcode is a group
};

constexpr Rule kOneByte[] = {
    {0x06, op::push_seg, false}, {0x0e, op::push_seg, false}, {0x16, op::push_seg, false}, {0x1e, op::push_seg, false},
    {0x07, op::pop_seg, true}, {0x17, op::pop_seg, true}, {0x1f, op::pop_seg, true},
    {0x63, op::arpl, false},
    {0x6c, op::ins, true}, {0x6d, op::ins, true}, {0x6e, op::outs, true}, {0x6f, op::outs, true},
    {0x8c, op::mov_from_seg, false}, {0x8e, op::mov_to_seg, true},
    {0x9a, op::call_far_immediate, true}, {0x9c, op::pushf, false}, {0x9d, op::popf, true},
    {0xc4, op::load_far_pointer, true}, {0xc5, op::load_far_pointer, true},
    {0xca, op::ret_far_release, true}, {0xcb, op::ret_far, true},
    {0xcc, op::int3, true}, {0xcd, op::int_n, true}, {0xce, op::into, true}, {0xcf, op::iret, true},
    {0xe4, op::in_immediate, true}, {0xe5, op::in_immediate, true},
    {0xe6, op::out_immediate, true}, {0xe7, op::out_immediate, true},
    {0xea, op::jmp_far_immediate, true},
    {0xec, op::in_dx, true}, {0xed, op::in_dx, true}, {0xee, op::out_dx, true}, {0xef, op::out_dx, true},
    {0xf1, op::icebp, true}, {0xf4, op::hlt, true}, {0xfa, op::cli, false}, {0xfb, op::sti, true},
};

constexpr Rule kTwoByte[] = {
    {0x00, op::sldt, false, 0}, {0x00, op::str, false, 1}, {0x00, op::lldt, false, 2}, {0x00, op::ltr, false, 3},
    {0x00, op::verr, false, 4}, {0x00, op::verw, false, 5},
    {0x02, op::lar, false}, {0x03, op::lsl, false}, {0x05, op::syscall, true}, {0x06, op::clts, false},
    {0x07, op::sysret, true}, {0x08, op::cache_control, false}, {0x09, op::cache_control, false},
    {0x20, op::mov_from_cr, false}, {0x21, op::mov_from_dr, false}, {0x22, op::mov_to_cr, true}, {0x23, op::mov_to_dr, true},
    {0x30, op::wrmsr, true}, {0x31, op::rdtsc, false}, {0x32, op::rdmsr, false}, {0x33, op::rdpmc, true},
    {0x34, op::sysenter, true}, {0x35, op::sysexit, true},
    {0xa0, op::push_seg, false}, {0xa8, op::push_seg, false}, {0xa1, op::pop_seg, true}, {0xa9, op::pop_seg, true},
    {0xa2, op::cpuid, false},
    {0xb2, op::load_far_pointer, true}, {0xb4, op::load_far_pointer, true}, {0xb5, op::load_far_pointer, true},
};

/// 0F 01 with a memory operand, by ModRM.reg.
constexpr Rule kGroup7Memory[] = {
    {0x01, op::sgdt, false, 0}, {0x01, op::sidt, false, 1}, {0x01, op::lgdt, false, 2}, {0x01, op::lidt, false, 3},
    {0x01, op::smsw, false, 4}, {0x01, op::lmsw, true, 6}, {0x01, op::invlpg, true, 7},
};
/// 0F 01 with mod 11: `opcode` is the ModRM byte.
constexpr Rule kGroup7Register[] = {
    {0xc1, op::hypercall, false}, {0xc8, op::monitor, false}, {0xc9, op::monitor, false},
    {0xca, op::clac, true}, {0xcb, op::stac, true},
    {0xd0, op::xgetbv, false}, {0xd1, op::xsetbv, true}, {0xd9, op::hypercall, false},
    {0xf8, op::swapgs, false}, {0xf9, op::rdtscp, false},
};

template <unsigned N>
Selected find(const Rule (&rules)[N], uint8_t opcode, unsigned group) {
    for (const Rule& r : rules)
        if (r.opcode == opcode && (r.group < 0 || static_cast<unsigned>(r.group) == group)) return {r.run, r.ends};
    return {};
}

Selected group7(const Insn& i, unsigned group) {
    if (i.mem) return find(kGroup7Memory, 0x01, group);
    if (group == 4) return {op::smsw, false};
    if (group == 6) return {op::lmsw, true};
    return find(kGroup7Register, i.modrm, group);
}

Selected one_byte(const Insn& i, unsigned group) {
    const bool mode64 = i.mode == static_cast<uint8_t>(CodeMode::Bits64);
    if (i.opcode == 0xff && i.mem && group == 3) return {op::call_far_memory, true};
    if (i.opcode == 0xff && i.mem && group == 5) return {op::jmp_far_memory, true};
    if (i.opcode == 0x63 && mode64) return {};                        // MOVSXD
    if ((i.opcode == 0xc4 || i.opcode == 0xc5) && !i.mem) return {};  // VEX where mod is 11
    return find(kOneByte, i.opcode, group);
}

Selected two_byte(const Insn& i, unsigned group) {
    if (i.opcode == 0x01) return group7(i, group);
    const bool f3 = i.mandatory == Mandatory::PF3;
    if (i.opcode == 0xae) return !i.mem && f3 && group < 4 ? Selected{op::fsgsbase, false} : Selected{};
    if (i.opcode == 0xc7 && !i.mem) {
        if (group == 7 && f3) return {op::rdpid, false};
        if (group == 6) return {op::rdrand, false};
        if (group == 7) return {op::rdseed, false};
        return {};
    }
    return find(kTwoByte, i.opcode, group);
}

}  // namespace

Selected select_system(const Insn& i) {
    const unsigned group = i.modrm >> 3 & 7;
    Selected s;
    if (i.map == Map::One)
        s = one_byte(i, group);
    else if (i.map == Map::Of)
        s = two_byte(i, group);
    else if (i.map == Map::Of38 && i.opcode == 0x82 && i.mandatory == Mandatory::P66)
        s = {op::invpcid, true};
    if (s.run && i.lock) return {op::undefined, true};  // no system instruction takes LOCK
    return s;
}

}  // namespace yado::cpu_interp
