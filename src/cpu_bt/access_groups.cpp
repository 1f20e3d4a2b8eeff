#include "cpu_bt/access_groups.h"

#include <algorithm>

#include "cpu_bt/block_translator.h"

namespace yado::cpu_bt {

using cpu_interp::kNoReg;
using cpu_interp::kRipReg;
using T = BlockTranslator;

namespace {

/// A span that crosses a page costs an interpreted rest of the block, so spans are short.
constexpr int64_t kMaxSpan = 512;
constexpr uint16_t kNoVersion = 0xffff, kRipVersion = 0xfffe;

constexpr uint16_t bit(unsigned guest) { return static_cast<uint16_t>(1u << guest); }

bool is(const Form& f, Form::Translate t) { return f.translate == t; }

/// Guest registers that an instruction changes beside RSP by pushes and pops.
uint16_t written_by(const Insn& i, const Form& f) {
    if (is(f, &T::multiply) || is(f, &T::divide)) return bit(cpu::RAX) | bit(cpu::RDX);
    if (is(f, &T::compare_exchange)) return bit(cpu::RAX);
    if (is(f, &T::exchange_accumulator)) return bit(cpu::RAX) | bit(i.reg);
    if (is(f, &T::x87_status_to_ax) || is(f, &T::flags_to_ah)) return bit(cpu::RAX);
    if (is(f, &T::compare_exchange_pair)) return bit(cpu::RAX) | bit(cpu::RDX);
    if (is(f, &T::compare_strings)) return bit(cpu::RCX);
    if (is(f, &T::read_tsc)) return bit(cpu::RAX) | bit(cpu::RDX) | bit(cpu::RCX);
    if (is(f, &T::sign_extend_accumulator) || is(f, &T::accumulator_immediate)) return bit(cpu::RAX);
    if (is(f, &T::sign_extend_into_rdx)) return bit(cpu::RDX);
    if (is(f, &T::lea) || is(f, &T::move_immediate) || is(f, &T::byte_swap) || is(f, &T::pop_register)) return bit(i.reg);
    if (is(f, &T::move_immediate_byte)) return bit(i.reg) | bit(i.reg & 3);
    uint16_t mask = 0;
    if (writes(f.vvvv)) mask |= bit(i.vvvv);
    // a byte register 4 to 7 may be a high byte of 0 to 3
    if (!f.vector_reg && writes(f.reg)) mask |= bit(i.reg) | (f.reg_width == Width::Byte ? bit(i.reg & 3) : 0);
    if (!i.mem && !f.vector_rm && writes(f.rm)) mask |= bit(i.rm) | (f.rm_width == Width::Byte ? bit(i.rm & 3) : 0);
    return mask;
}

}  // namespace

void AccessGroups::clear() {
    for (auto& both : places_) both = {};
    used_ = open_count_ = member_count_ = 0;
}

void AccessGroups::find(const Line& line, std::span<const Form> forms) {
    clear();
    next_version_ = 0;
    for (unsigned guest = 0; guest < values_.size(); ++guest) unknown(guest);
    for (unsigned n = 0; n < line.size(); ++n) {
        const Form& f = forms[n];
        if (!f.translate) {  // the interpreter runs it: anything may change
            close_all();
            for (unsigned guest = 0; guest < values_.size(); ++guest) unknown(guest);
            continue;
        }
        if (is(f, &T::swap_gs)) close_all();  // addresses with the old base
        accesses_of(n, line[n], f);
        effects_of(*line[n].insn, f);
    }
    settle();
}

// --- addresses --------------------------------------------------------------------------------------------------------------

AccessGroups::Address AccessGroups::address_of(const Step& step) const {
    const Insn& i = *step.insn;
    Address a{kNoVersion, kNoVersion, 0, i.seg >= cpu::FS ? i.seg : uint8_t{0}, i.disp};
    if (i.base == kRipReg) {
        a.base = kRipVersion;
        a.offset += step.block_at() + (i.flat ? 0 : i.offset + i.length);
    } else if (i.base != kNoReg) {
        a.base = values_[i.base].version;
        a.offset += values_[i.base].offset;
    }
    if (i.index != kNoReg) {
        a.index = values_[i.index].version;
        a.scale = i.scale;
        a.offset += values_[i.index].offset << i.scale;
    }
    return a;
}

AccessGroups::Address AccessGroups::stack_address(unsigned guest, int64_t offset) const {
    return {values_[guest].version, kNoVersion, 0, 0, values_[guest].offset + offset};
}

// --- accesses ---------------------------------------------------------------------------------------------------------------

void AccessGroups::operand_access(unsigned n, const Step& step, const Form& f) {
    const Insn& i = *step.insn;
    if (i.addrsize != 8 || is(f, &T::bit_string)) return;
    const unsigned size = operand_bytes(i, f);
    const bool exchange = is(f, &T::modrm) && i.map == Map::One && (i.opcode & 0xfe) == 0x86;
    add(n, AccessKind::Operand, address_of(step), size, writes(f.rm), f.aligned || i.lock || exchange);
}

void AccessGroups::accesses_of(unsigned n, const Step& step, const Form& f) {
    const Insn& i = *step.insn;
    if (is(f, &T::push_memory)) add(n, AccessKind::Operand, address_of(step), 8, false, false);
    else if (i.mem && f.rm != Use::None) operand_access(n, step, f);
    const bool pushes = is(f, &T::push_register) || is(f, &T::push_immediate) || is(f, &T::push_memory) || is(f, &T::push_flags) ||
                        is(f, &T::call) || is(f, &T::call_indirect);
    if (pushes) add(n, AccessKind::Stack, stack_address(cpu::RSP, -8), 8, true, false);
    if (is(f, &T::pop_register) || is(f, &T::ret)) add(n, AccessKind::Stack, stack_address(cpu::RSP, 0), 8, false, false);
    if (is(f, &T::leave)) add(n, AccessKind::Stack, stack_address(cpu::RBP, 0), 8, false, false);
}

/// True if the access can rely on the check that the group's first one makes.
bool AccessGroups::join(Open& g, const Address& a, unsigned size, bool write, bool aligned) {
    if (!g.open || !g.low.same_base(a)) return false;
    if (aligned && (g.first_align < size || (a.offset - g.first) % size != 0)) return false;
    const int64_t low = std::min(g.low.offset, a.offset), high = std::max<int64_t>(g.high, a.offset + size);
    if (high - low > kMaxSpan) {
        g.open = false;
        return false;
    }
    g.low.offset = low;
    g.high = high;
    g.write |= write;
    ++g.members;
    return true;
}

void AccessGroups::add(unsigned n, AccessKind kind, const Address& a, unsigned size, bool write, bool aligned) {
    const auto member = [&](unsigned group) {
        members_[member_count_++] = {static_cast<uint8_t>(n), static_cast<uint8_t>(kind), static_cast<uint8_t>(group), a.offset};
    };
    for (unsigned g = 0; g < open_count_; ++g)
        if (join(open_[g], a, size, write, aligned)) return member(g);
    if (open_count_ == open_.size()) return;
    open_[open_count_] = {.low = a, .high = a.offset + size, .first = a.offset, .first_align = static_cast<uint8_t>(aligned ? size : 0),
                          .members = 1, .write = write};
    member(open_count_++);
}

void AccessGroups::close_all() {
    for (unsigned g = 0; g < open_count_; ++g) open_[g].open = false;
}

// --- what instructions do to registers ------------------------------------------------------------------------------------------

/// The instructions whose results are a known value plus a constant. False: none of them.
bool AccessGroups::followed(const Insn& i, const Form& f) {
    if (is(f, &T::lea) && i.opsize == 8 && i.addrsize == 8 && i.index == kNoReg && i.base < 16) {
        const Value v = values_[i.base];
        values_[i.reg] = {v.version, v.offset + i.disp};
        return true;
    }
    if (!is(f, &T::modrm) || i.map != Map::One || i.mem || i.opsize != 8) return false;
    if (i.opcode == 0x89 || i.opcode == 0x8b) {
        values_[i.opcode == 0x89 ? i.rm : i.reg] = values_[i.opcode == 0x89 ? i.reg : i.rm];
        return true;
    }
    const unsigned group = i.modrm >> 3 & 7;
    if ((i.opcode == 0x81 || i.opcode == 0x83) && (group == 0 || group == 5)) {
        values_[i.rm].offset += group == 0 ? i.imm : -static_cast<int64_t>(i.imm);
        return true;
    }
    if (i.opcode == 0xff && group < 2) {
        values_[i.rm].offset += group == 0 ? 1 : -1;
        return true;
    }
    return false;
}

void AccessGroups::effects_of(const Insn& i, const Form& f) {
    if (followed(i, f)) return;
    const bool pushes = is(f, &T::push_register) || is(f, &T::push_immediate) || is(f, &T::push_memory) || is(f, &T::push_flags) ||
                        is(f, &T::call);
    if (pushes) values_[cpu::RSP].offset -= 8;
    if (is(f, &T::pop_register)) values_[cpu::RSP].offset += 8;
    if (is(f, &T::leave)) {
        values_[cpu::RSP] = {values_[cpu::RBP].version, values_[cpu::RBP].offset + 8};
        unknown(cpu::RBP);
    }
    for (uint16_t left = written_by(i, f); left; left &= left - 1) unknown(static_cast<unsigned>(std::countr_zero(left)));
}

// --- the result -----------------------------------------------------------------------------------------------------------------

void AccessGroups::settle() {
    std::array<int8_t, 64> number;
    number.fill(-1);
    for (unsigned m = 0; m < member_count_; ++m) {
        const Member& member = members_[m];
        const Open& g = open_[member.group];
        int8_t& group = number[member.group];
        const bool first = group < 0;
        if (g.members < 2 || (first && used_ == kMaxGroups)) continue;
        if (first) {
            group = static_cast<int8_t>(used_++);
            groups_[group] = {static_cast<uint16_t>(g.high - g.low.offset), g.write};
        }
        places_[member.insn][member.kind] = {group, first, static_cast<uint16_t>(member.offset - g.low.offset)};
    }
}

}  // namespace yado::cpu_bt
