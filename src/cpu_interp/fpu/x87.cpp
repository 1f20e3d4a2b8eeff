// x87 instructions that compute: the very same instruction on the host's x87, with the guest's whole state in it.
//
//   handler -> check (#NM, pending #MF) -> operand into Fpu::operand -> guest state into the host (unless it is there from
//   the x87 instruction before) -> stub with the instruction -> state back (unless another x87 instruction follows)
//
// The guest's control word goes in as it is, unmasked exceptions too: x87 reports an exception at the next waiting
// instruction only, and with unmasked exceptions the state leaves by FXSAVE and FNINIT, which don't wait. So stores that an
// unmasked exception suppresses, biased results of unmasked overflow, C1 and the tags are the hardware's own.
#include <cstddef>

#include "cpu_interp/fpu/ops.h"
#include "cpu_interp/fpu/x87_encoding.h"

namespace yado::cpu_interp {

// 512 register forms (D8 C0 to DF FF), 16 bytes each: uint16_t(flags in hflags layout) -> flags.
extern "C" [[gnu::visibility("hidden")]] const uint8_t yado_x87_register_forms[];
asm(R"(
.pushsection .text.yado_stubs,"ax",@progbits
.balign 16
yado_x87_register_forms:
.set yado_n,0
.rept 512
.balign 16
movl %edi,%eax
addb $127,%al
sahf
.byte 0xd8+(yado_n>>6), 0xc0+(yado_n&63)
seto %al
lahf
ret
.set yado_n,yado_n+1
.endr
.popsection
)");
// 64 memory forms (D8 /0 to DF /7), 4 bytes each: void(operand).
extern "C" [[gnu::visibility("hidden")]] const uint8_t yado_x87_memory_forms[];
asm(R"(
.pushsection .text.yado_stubs,"ax",@progbits
.balign 16
yado_x87_memory_forms:
.set yado_n,0
.rept 64
.balign 4
.byte 0xd8+(yado_n>>3), 0x07+((yado_n&7)<<3)
ret
.set yado_n,yado_n+1
.endr
.popsection
)");

namespace {

using RegisterStub = uint16_t (*)(uint32_t flags);
using MemoryStub = void (*)(void* operand);

unsigned reg_field(const Insn* i) { return i->modrm >> 3 & 7; }

RegisterStub register_stub(const Insn* i) {
    const unsigned n = (i->opcode & 7u) << 6 | (i->modrm & 63u);
    return reinterpret_cast<RegisterStub>(reinterpret_cast<uintptr_t>(yado_x87_register_forms) + n * 16);
}
MemoryStub memory_stub(const Insn* i) {
    const unsigned n = (i->opcode & 7u) << 3 | reg_field(i);
    return reinterpret_cast<MemoryStub>(reinterpret_cast<uintptr_t>(yado_x87_memory_forms) + n * 4);
}

int operand_size(const Insn* i) { return x87_operand_size(*i); }

// --- between Fpu and the host -------------------------------------------------------------------------------------------

bool all_masked(const Fpu& f) { return (f.fcw & x87::kExceptions) == x87::kExceptions; }

/// XMM registers are lost.
void load_host(Fpu& f) {
    uint8_t* const image = f.host_image;
    std::memcpy(image, &f, 6);
    std::memset(image + 6, 0, 18);  // FOP, FIP, FDP: the guest's are kept apart
    asm volatile("stmxcsr %0" : "=m"(*reinterpret_cast<uint32_t*>(image + 24)));
    std::memcpy(image + 32, f.st, sizeof f.st);
    asm volatile("fxrstor64 (%0)"
                 : : "r"(image)
                 : "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11",
                   "xmm12", "xmm13", "xmm14", "xmm15");
}
[[gnu::noinline]] void to_host(Fpu& f) {
    load_host(f);
    f.x87_in_host = true;
}

[[gnu::noinline]] void from_host(Fpu& f) {
    uint8_t* const image = f.host_image;
    asm volatile("fxsave64 (%0)" : : "r"(image) : "memory");
    if (!all_masked(f)) asm volatile("fninit");
    else asm volatile("emms\n\tfldcw %0" : : "m"(kHostControl));
    std::memcpy(&f.fsw, image + 2, 3);
    std::memcpy(f.st, image + 32, sizeof f.st);
    f.x87_in_host = false;
}

void leave_host(Fpu& f) {
    if (f.x87_in_host) from_host(f);
}

void begin(Fpu& f) {
    if (!f.x87_in_host) to_host(f);
}

void x87_register(Core& c, const Insn* i);
void x87_register_flags(Core& c, const Insn* i);
void x87_read(Core& c, const Insn* i);
void x87_write(Core& c, const Insn* i);

bool stays_in_host(const Fpu& f, const Insn* i) {
    const Handler h = i[1].run;
    return (h == x87_register || h == x87_read || h == x87_write || h == x87_register_flags) && all_masked(f);
}

/// Notes the instruction pointer, and where an unmasked exception comes up the opcode and the operand's address, too; not so the
/// selectors: as processors do whose CPUID shows FDP_EXCPTN_ONLY and ZERO_FCS_FDS (SDM vol. 1, 8.1.8 and 8.1.9).
void finish(Core& c, const Insn* i) {
    Fpu& f = *c.fpu;
    f.fip = c.rip_of(i);
    if (stays_in_host(f, i)) return;
    leave_host(f);
    if (!(f.fsw & x87::ES)) [[likely]] return;
    f.fop = (i->opcode & 7u) << 8 | i->modrm;
    if (i->mem) f.fdp = c.effective(i);
}

// --- the lighter way for memory forms --------------------------------------------------------------------------------------

constexpr uint16_t kC1 = 0x200, kConditions = 0x4700;

bool is_arithmetic(const Insn* i) { return !(i->opcode & 1); }  // D8, DA, DC, DE
bool is_compare(const Insn* i) { return is_arithmetic(i) && (reg_field(i) & 6) == 2; }
bool pops(const Insn* i) { return is_arithmetic(i) ? reg_field(i) == 3 : reg_field(i) != 2; }  // of those that read ST(0)

/// True if ST(n) is not empty.
bool filled(const Fpu& f, unsigned n) { return f.ftw >> ((f.top() + n) & 7) & 1; }

/// Empties the host's exception flags, whoever raised them.
void clear_host_flags() {
    uint16_t status;
    asm volatile("fnstsw %0" : "=a"(status));
    if (status & 0xff) asm volatile("fnclex");
}
uint16_t host_status() {
    uint16_t status;
    asm volatile("fnstsw %0" : "=a"(status));
    return status;
}
void set_host_control(uint16_t fcw) { asm volatile("fldcw %0" : : "m"(fcw)); }

void light_load(Fpu& f, const Insn* i) {
    clear_host_flags();
    set_host_control(f.fcw);
    memory_stub(i)(f.operand);
    const uint16_t status = host_status();
    set_top(f, (f.top() - 1) & 7);
    asm volatile("fstpt %0" : "=m"(f.st[0]));
    set_host_control(kHostControl);
    std::memset(f.st[0].reserved, 0, sizeof f.st[0].reserved);
    f.ftw |= 1 << f.top();
    f.fsw = (f.fsw & ~kC1) | (status & (kC1 | x87::kExceptions));
}
void light_st0(Fpu& f, const Insn* i) {
    clear_host_flags();
    set_host_control(f.fcw);
    asm volatile("fldt %0" : : "m"(f.st[0]));
    memory_stub(i)(f.operand);
    const uint16_t status = host_status();
    const uint16_t changed = x87::kExceptions | (is_compare(i) ? kConditions : kC1);
    f.fsw = (f.fsw & ~(changed & kConditions)) | (status & changed);
    if (pops(i)) {
        f.ftw &= ~(1 << f.top());
        set_top(f, (f.top() + 1) & 7);
    } else {
        asm volatile("fstpt %0" : "=m"(f.st[0]));
    }
    set_host_control(kHostControl);
}

/// Executes a memory form on Fpu::operand.
void execute_memory_form(Fpu& f, const Insn* i) {
    if (!f.x87_in_host && all_masked(f)) {
        const bool loads = !is_arithmetic(i) && operand_size(i) > 0;
        if (loads && !filled(f, 7)) return light_load(f, i);
        if (!loads && filled(f, 0)) return light_st0(f, i);
    }
    begin(f);
    memory_stub(i)(f.operand);
}

// --- handlers -----------------------------------------------------------------------------------------------------------

void x87_register(Core& c, const Insn* i) {
    x87_check(c, i, Waits::Yes);
    begin(*c.fpu);
    register_stub(i)(c.aflags);  // FCMOVcc reads the flags
    finish(c, i);
    return next(c, i);
}
/// FCOMI and its kind.
void x87_register_flags(Core& c, const Insn* i) {
    x87_check(c, i, Waits::Yes);
    begin(*c.fpu);
    c.aflags = register_stub(i)(c.aflags);
    finish(c, i);
    return next(c, i);
}

/// Everything that may raise a fault or call a device happens with the x87 state at home.
uint64_t x87_address(Core& c, const Insn* i, unsigned size, Acc acc) {
    if (!i->flat) {
        leave_host(*c.fpu);
        return c.address(i, size, acc);
    }
    return c.effective(i);
}

void copy_operand(void* to, const void* from, unsigned size) {
    switch (size) {
    case 2: std::memcpy(to, from, 2); break;
    case 4: std::memcpy(to, from, 4); break;
    case 8: std::memcpy(to, from, 8); break;
    default: std::memcpy(to, from, 10); break;
    }
}

void x87_read(Core& c, const Insn* i) {
    x87_check(c, i, Waits::Yes);
    Fpu& f = *c.fpu;
    const unsigned size = operand_size(i);
    const uint64_t linear = x87_address(c, i, size, Acc::Read);
    const TlbEntry& e = c.tlb_entry(Acc::Read, linear);
    if (e.hit(linear, size)) [[likely]] {
        copy_operand(f.operand, e.at(linear), size);
    } else {
        leave_host(f);
        c.load_slow(i, linear, f.operand, size);
    }
    execute_memory_form(f, i);
    finish(c, i);
    return next(c, i);
}

/// An unmasked invalid, overflow or underflow exception leaves memory as it is (SDM vol. 1, 8.5). Such a flag cannot be
/// older than the instruction: it would have been pending.
bool store_suppressed(Fpu& f) {
    if (all_masked(f)) return false;
    leave_host(f);
    return f.fsw & ~f.fcw & (x87::IE | x87::DE | x87::ZE | x87::OE | x87::UE);
}

/// The store may fault or have to be repeated after the stack was popped: then all of x87 goes back.
[[gnu::noinline]] void write_slow(Core& c, const Insn* i, uint64_t linear, unsigned size) {
    Fpu& f = *c.fpu;
    leave_host(f);
    constexpr size_t kX87Size = offsetof(Fpu, xmm);
    uint8_t before[kX87Size];
    std::memcpy(before, &f, kX87Size);
    to_host(f);
    memory_stub(i)(f.operand);
    leave_host(f);
    try {
        if (store_suppressed(f)) c.probe_write(i, linear, size);  // the page's fault comes first
        else c.store_slow(i, linear, f.operand, size);
    } catch (...) {
        std::memcpy(static_cast<void*>(&f), before, offsetof(Fpu, mxcsr));
        std::memcpy(f.st, before + offsetof(Fpu, st), sizeof f.st);
        throw;
    }
}

void x87_write(Core& c, const Insn* i) {
    x87_check(c, i, Waits::Yes);
    Fpu& f = *c.fpu;
    const unsigned size = -operand_size(i);
    const uint64_t linear = x87_address(c, i, size, Acc::Write);
    const TlbEntry& e = c.tlb_entry(Acc::Write, linear);
    if (e.hit(linear, size)) [[likely]] {
        execute_memory_form(f, i);
        if (!store_suppressed(f)) copy_operand(e.at(linear), f.operand, size);
    } else {
        write_slow(c, i, linear, size);
    }
    finish(c, i);
    return next(c, i);
}

void x87_fisttp(Core& c, const Insn* i) {
    need_feature<Feature::SSE3>(c, i);
    return x87_write(c, i);
}

/// FNOP's relatives of the 8087 and 80287 (FENI, FDISI, FSETPM), and WAIT: nothing but the checks.
void x87_nothing(Core& c, const Insn* i) {
    x87_check(c, i, Waits::No);
    return next(c, i);
}
void fwait(Core& c, const Insn* i) {
    constexpr uint64_t kBoth = cpu::cr0::MP | cpu::cr0::TS;  // EM doesn't matter to WAIT (SDM vol. 3, table 2-2)
    if ((c.cr0 & kBoth) == kBoth) c.raise(i, Vec::NM);
    if (c.fpu->fsw & x87::ES) c.raise(i, Vec::MF);
    return next(c, i);
}

}  // namespace

bool fpu_host_x87(Fpu& f) {
    if (!all_masked(f)) return false;
    load_host(f);
    return true;
}

/// With CR0.NE clear a PC raises IRQ 13 through FERR# and waits; #MF at the same instruction stands for it here, as no
/// supported guest runs x87 exceptions through the PIC.
void raise_x87_unavailable(Core& c, const Insn* i, Waits waits) {
    if (c.cr0 & (cpu::cr0::EM | cpu::cr0::TS)) c.raise(i, Vec::NM);
    if (waits == Waits::Yes) c.raise(i, Vec::MF);
}

Handler select_x87(const Insn& i) {
    if (i.opcode == 0x9b) return fwait;
    if (i.opcode < 0xd8 || i.opcode > 0xdf) return nullptr;
    if (const Handler h = select_x87_environment(i)) return h;
    if (i.mem) {
        const int size = operand_size(&i);
        if (is_fisttp(i)) return x87_fisttp;
        return size > 0 ? x87_read : size < 0 ? x87_write : nullptr;
    }
    if (x87_reserved(i)) return nullptr;
    if (x87_does_nothing(i)) return x87_nothing;
    return x87_sets_flags(i) ? x87_register_flags : x87_register;
}

}  // namespace yado::cpu_interp
