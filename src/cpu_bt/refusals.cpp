// Which instructions of a known form are left to the interpreter all the same: operands that would take more registers than
// there are to spare, and sizes that hardly occur. It is settled before the block is translated, since what is interpreted
// in the middle of a block separates what lies before and behind it.
#include "cpu_bt/block_translator.h"

namespace yado::cpu_bt {

namespace {

using T = BlockTranslator;

bool is(const Form& f, std::initializer_list<Form::Translate> any) {
    for (const Form::Translate t : any)
        if (f.translate == t) return true;
    return false;
}

bool high_byte(const Insn& i, unsigned r) { return !i.rex && r >= 4 && r < 8; }
bool at_home(unsigned guest) { return kHostOf[guest] == kAtHome; }

bool wants_64_bits(const Form& f) {
    return is(f, {&T::push_register, &T::push_immediate, &T::push_memory, &T::push_flags, &T::pop_register, &T::leave});
}
bool wants_32_bits(const Form& f) { return is(f, {&T::lea, &T::move_immediate, &T::exchange_accumulator}); }

}  // namespace

bool BlockTranslator::refuses(const Insn& i, const Form& f) const {
    const bool memory = i.mem && (f.rm != Use::None || is(f, {&T::push_memory, &T::lea}));
    if (memory && !addressable(i)) return true;
    if (wants_64_bits(f) && i.opsize != 8) return true;
    if (wants_32_bits(f) && i.opsize == 2) return true;
    if (is(f, {&T::lea})) return i.addrsize != 8 || !i.mem;
    if (is(f, {&T::move_immediate_byte})) return high_byte(i, i.reg);
    if (is(f, {&T::bit_manipulation})) return writes(f.reg) && writes(f.vvvv) && (at_home(i.vvvv) || at_home(i.reg));
    if (is(f, {&T::compare_exchange})) return !i.mem || has_high_byte(i, f) || at_home(i.reg);
    if (is(f, {&T::compare_exchange_pair})) return i.opsize == 2;
    if (is(f, {&T::bit_string})) return i.opsize == 2 || i.addrsize != 8;
    if (is(f, {&T::read_tsc, &T::swap_gs})) return purpose_ == Purpose::Compare;  // never the same twice; not put back between two runs
    if (is(f, {&T::multiply})) return has_high_byte(i, f);
    if (is(f, {&T::shift_by_cl})) return has_high_byte(i, f) || (i.mem && f.reg != Use::None && at_home(i.reg));
    return is(f, {&T::modrm}) && refuses_modrm(i, f);
}

bool BlockTranslator::refuses_modrm(const Insn& i, const Form& f) const {
    if (!i.mem && writes(f.reg) && writes(f.rm) && i.reg == i.rm) return true;  // XADD of a register with itself
    if (!has_high_byte(i, f)) return false;
    const bool high_reg = f.reg != Use::None && f.reg_width == Width::Byte && high_byte(i, i.reg);
    const bool high_rm = !i.mem && f.rm != Use::None && f.rm_width == Width::Byte && high_byte(i, i.rm);
    return (high_reg && high_rm && writes(f.reg) && writes(f.rm)) || (f.reg != Use::None && !high_reg && at_home(i.reg));
}

}  // namespace yado::cpu_bt
