// Segment descriptors as they lie in memory (SDM vol. 3, 3.4.5, 3.5) and the checks of loading segment registers.
#pragma once

#include <optional>

#include "cpu_interp/core.h"
#include "cpu_interp/system/access.h"

namespace yado::cpu_interp {

/// Type field of system descriptors (SDM vol. 3, table 3-2).
namespace systype {
inline constexpr unsigned Tss16 = 1, Ldt = 2, Tss16Busy = 3, CallGate16 = 4, TaskGate = 5, IntGate16 = 6, TrapGate16 = 7,
                          Tss32 = 9, Tss32Busy = 11, CallGate32 = 12, IntGate32 = 14, TrapGate32 = 15;
}

/// cpu::Segment::attr bits.
namespace attr {
inline constexpr uint32_t Accessed = 1, Writable = 2 /* code: readable */, Expand = 4 /* code: conforming */, Code = 8,
                          S = 0x10, P = 0x80, L = 0x2000, DB = 0x4000, G = 0x8000, Unusable = 0x10000;
inline constexpr uint32_t dpl(unsigned level) { return level << 5; }
}

struct Descriptor {
    uint64_t raw = 0;
    uint64_t upper = 0;    ///< second half of a 16-byte system descriptor
    uint64_t address = 0;  ///< linear, where it was read from

    unsigned type() const { return raw >> 40 & 15; }
    bool s() const { return raw >> 44 & 1; }
    unsigned dpl() const { return raw >> 45 & 3; }
    bool present() const { return raw >> 47 & 1; }
    bool long_code() const { return raw >> 53 & 1; }
    bool big() const { return raw >> 54 & 1; }
    bool is_code() const { return s() && type() & 8; }
    bool is_data() const { return s() && !(type() & 8); }
    bool conforming() const { return type() & 4; }
    bool readable() const { return !(type() & 8) || type() & 2; }
    bool writable_data() const { return is_data() && type() & 2; }

    uint64_t base() const { return (raw >> 16 & 0xff'ffff) | (raw >> 56 & 0xff) << 24 | upper << 32; }
    uint32_t limit() const {
        const uint32_t n = (raw & 0xffff) | (raw >> 32 & 0xf'0000);
        return raw >> 55 & 1 ? n << 12 | 0xfff : n;
    }
    uint32_t attributes() const { return raw >> 40 & 0xf0ff; }
    cpu::Segment segment(uint16_t selector) const { return {selector, attributes(), limit(), base()}; }

    /// Gates (SDM vol. 3, 5.8.3, 6.11).
    uint16_t gate_selector() const { return raw >> 16 & 0xffff; }
    uint64_t gate_offset() const { return (raw & 0xffff) | (raw >> 48 & 0xffff) << 16 | upper << 32; }
    uint64_t gate_offset16() const { return raw & 0xffff; }
    unsigned gate_parameters() const { return raw >> 32 & 31; }
    unsigned gate_ist() const { return raw >> 32 & 7; }
};

inline bool null_selector(uint16_t selector) { return !(selector & 0xfffc); }
inline unsigned dpl_of(const cpu::Segment& s) { return s.attr >> 5 & 3; }

/// Reads a descriptor; nullopt: null, outside its table, or no LDT. Raises only page faults.
std::optional<Descriptor> try_descriptor(Core& c, const Insn* i, uint16_t selector);
/// As above, raising vector(selector & ~3) where there is none.
Descriptor need_descriptor(Core& c, const Insn* i, uint16_t selector, Vec vector, uint32_t ext = 0);
/// Reads the second 8 bytes of a 16-byte system descriptor in IA-32e mode (limit checked like the first).
void read_upper(Core& c, const Insn* i, uint16_t selector, Descriptor& d, Vec vector, uint32_t ext = 0);
/// Sets the accessed bit of a code or data descriptor in memory, if it is clear.
void set_accessed(Core& c, const Insn* i, Descriptor& d);
/// Sets or clears the busy bit of a TSS descriptor.
void set_busy(Core& c, const Insn* i, uint64_t address, bool busy);

/// A segment of real-address or virtual-8086 mode: only base and selector change in real mode.
void load_paragraph(Core& c, unsigned seg, uint16_t selector);
/// MOV, POP, LDS...: loads ES, SS, DS, FS, GS in the current mode with every check (SDM vol. 2, MOV).
void load_segment(Core& c, const Insn* i, unsigned seg, uint16_t selector);
/// The checked hidden part for SS at privilege `cpl`; raises `vector` (TS during stack switches, GP otherwise).
cpu::Segment check_stack_segment(Core& c, const Insn* i, uint16_t selector, unsigned cpl, Vec vector, uint32_t ext = 0);
/// SS after a load of a null selector in 64-bit mode; its DPL keeps the CPL.
cpu::Segment null_stack_segment(uint16_t selector, unsigned cpl);
/// Makes DS, ES, FS, GS null that the new, outer privilege may not use (SDM vol. 2, RET and IRET).
void drop_inner_segments(Core& c, unsigned cpl);
/// CS from a code descriptor, with RPL = cpl.
cpu::Segment code_segment(const Descriptor& d, uint16_t selector, unsigned cpl);

/// A stack other than (or the same as) the current, written or read item by item; commit() sets RSP.
class StackFrame {
  public:
    StackFrame(Core& c, const Insn* i, const cpu::Segment& ss, uint64_t sp, unsigned cpl, bool stack64, uint32_t error = 0)
        : c_(c), i_(i), ss_(ss), sp_(sp), error_(error), cpl_(cpl), stack64_(stack64), rights_(rights_at(c, cpl)) {}
    /// Of the current stack and privilege.
    StackFrame(Core& c, const Insn* i)
        : StackFrame(c, i, c.seg[cpu::SS], c.gpr[cpu::RSP], c.cpl, c.stack64) {}
    void push(unsigned size, uint64_t value);
    uint64_t pop(unsigned size);
    /// Skips parameters.
    void release(uint64_t bytes) { sp_ = wrapped(sp_ + bytes); }
    uint64_t sp() const { return sp_; }
    /// RSP with the stack pointer put in, by the stack's size.
    uint64_t merged(uint64_t rsp) const;

  private:
    uint64_t wrapped(uint64_t sp) const;
    uint64_t mask() const { return stack64_ ? ~0ull : ss_.attr & attr::DB ? 0xffff'ffffull : 0xffffull; }
    uint64_t linear(uint64_t sp, unsigned size);
    Core& c_;
    const Insn* i_;
    cpu::Segment ss_;
    uint64_t sp_;
    uint32_t error_;
    unsigned cpl_;
    bool stack64_;
    Mmu rights_;
};

/// True if [offset, offset + size) lies inside a segment's limit (expand-down too).
bool within_limit(const cpu::Segment& s, uint64_t offset, unsigned size);

}  // namespace yado::cpu_interp
