// FXSAVE, FXRSTOR, XSAVE, XSAVEOPT, XRSTOR (standard format, SDM vol. 1, 10.5 and 13), LDMXCSR, STMXCSR.
#include "cpu_interp/chain.h"
#include "cpu_interp/fpu/ops.h"
#include "cpu_interp/system/access.h"

namespace yado::cpu_interp {

namespace {

constexpr unsigned kX87Head = 24, kMxcsrAt = 24, kStAt = 32, kXmmAt = 160, kHeaderAt = 512, kYmmAt = 576;
constexpr uint64_t kX87 = cpu::kXcr0X87, kSse = cpu::kXcr0Sse, kAvx = cpu::kXcr0Avx;

unsigned xmm_count(const Core& c) { return c.code_mode == CodeMode::Bits64 ? 16 : 8; }

void ldmxcsr(Core& c, const Insn* i) {
    sse_check(c, i);
    const auto v = static_cast<uint32_t>(low(memory_operand<4, Align::None>(c, i)));
    if (v & ~mxcsr::kValid) c.raise(i, Vec::GP, 0);
    fpu_set_mxcsr(*c.fpu, v);
    return next(c, i);
}
void stmxcsr(Core& c, const Insn* i) {
    sse_check(c, i);
    store_operand<uint32_t>(c, i, fpu_mxcsr(*c.fpu));
    return next(c, i);
}

// --- the x87 head of both images: with REX.W 64-bit pointers, without it 32 bits and a selector, which is 0 (ZERO_FCS_FDS) --

void put_head(const Fpu& f, const Insn* i, uint8_t* out) {
    std::memcpy(out, &f, kX87Head);
    if (i->rex_w) return;
    std::memset(out + 12, 0, 4);
    std::memset(out + 20, 0, 4);
}
void take_head(Fpu& f, const Insn* i, const uint8_t* in) {
    std::memcpy(static_cast<void*>(&f), in, kX87Head);
    if (i->rex_w) return;
    f.fip = static_cast<uint32_t>(f.fip);
    f.fdp = static_cast<uint32_t>(f.fdp);
}
void put_mxcsr(Fpu& f, uint8_t* out) {
    const uint32_t both[2] = {fpu_mxcsr(f), mxcsr::kValid};
    std::memcpy(out, both, sizeof both);
}
uint32_t mxcsr_in(Core& c, const Insn* i, const uint8_t* image) {
    uint32_t v;
    std::memcpy(&v, image + kMxcsrAt, sizeof v);
    if (v & ~mxcsr::kValid) c.raise(i, Vec::GP, 0);
    return v;
}

uint64_t image_address(Core& c, const Insn* i, unsigned size, unsigned alignment, Acc acc) {
    const uint64_t linear = c.address(i, size, acc);
    const bool misaligned = linear & (alignment - 1);
    if (misaligned && i->seg == cpu::SS && long_mode(c) && !is_canonical(linear)) c.raise(i, Vec::SS, 0);  // the more general check comes first
    if (misaligned) c.raise(i, Vec::GP, 0);
    return linear;
}

void fx_check(Core& c, const Insn* i) {
    if (c.cr0 & (cpu::cr0::EM | cpu::cr0::TS)) c.raise(i, Vec::NM);
}

void fxsave(Core& c, const Insn* i) {
    fx_check(c, i);
    Fpu& f = *c.fpu;
    const uint64_t linear = image_address(c, i, 512, 16, Acc::Write);
    const unsigned size = kXmmAt + 16 * xmm_count(c);
    uint8_t out[416];
    put_head(f, i, out);
    put_mxcsr(f, out + kMxcsrAt);
    std::memcpy(out + kStAt, f.st, size - kStAt);
    c.store_slow(i, linear, out, size);
}
void fxrstor(Core& c, const Insn* i) {
    fx_check(c, i);
    Fpu& f = *c.fpu;
    uint8_t in[512];
    c.load_slow(i, image_address(c, i, 512, 16, Acc::Read), in, sizeof in);
    const uint32_t mxcsr = mxcsr_in(c, i, in);
    fpu_set_mxcsr(f, mxcsr);
    take_head(f, i, in);
    std::memcpy(f.st, in + kStAt, 128 + 16 * xmm_count(c));
    normalize_x87(f);
}

// --- XSAVE ---------------------------------------------------------------------------------------------------------------

void xsave_check(Core& c, const Insn* i) {
    if (!(c.cr4 & cpu::cr4::OSXSAVE)) c.raise(i, Vec::UD);
    if (c.cr0 & cpu::cr0::TS) c.raise(i, Vec::NM);
}
/// The components asked for that are enabled (RFBM).
uint64_t requested(const Core& c) {
    const uint64_t mask = (c.gpr[cpu::RDX] << 32) | static_cast<uint32_t>(c.gpr[cpu::RAX]);
    return mask & c.xcr0 & (kX87 | kSse | kAvx);
}
/// What is accessed for these components (SDM vol. 1, 13.4): the legacy region and the header always.
unsigned area_size(uint64_t components) { return components & kAvx ? kYmmAt + 256 : kYmmAt; }

bool all_zero(const void* p, size_t size) {
    const auto* bytes = static_cast<const uint8_t*>(p);
    return bytes[0] == 0 && std::memcmp(bytes, bytes + 1, size - 1) == 0;
}
/// Components that are not in their initial configuration (XINUSE; SDM vol. 1, 13.6).
uint64_t in_use(const Core& c) {
    const Fpu& f = *c.fpu;
    const bool x87_initial = f.fcw == x87::kControlInit && !f.fsw && !f.ftw && !f.fop && !f.fip && !f.fdp &&
                             all_zero(f.st, sizeof f.st);
    const unsigned n = 16 * xmm_count(c);
    return (x87_initial ? 0 : kX87) | (all_zero(f.xmm, n) ? 0 : kSse) | (all_zero(f.ymm_high, n) ? 0 : kAvx);
}

/// XSAVEOPT may leave out what is in its initial configuration (the init optimization), XSAVE may not.
template <bool Optimized>
void xsave(Core& c, const Insn* i) {
    xsave_check(c, i);
    Fpu& f = *c.fpu;
    const uint64_t rfbm = requested(c), used = in_use(c);
    const uint64_t linear = image_address(c, i, area_size(rfbm), 64, Acc::Write);
    const uint64_t written = Optimized ? rfbm & used : rfbm;
    const auto old = c.load<uint64_t>(i, linear + kHeaderAt);
    c.probe_write(i, linear, area_size(rfbm));
    if (written & kX87) {
        uint8_t head[kX87Head];
        put_head(f, i, head);
        c.store_slow(i, linear, head, sizeof head);
        c.store_slow(i, linear + kStAt, f.st, sizeof f.st);
    }
    if (rfbm & (kSse | kAvx)) {
        uint8_t both[8];
        put_mxcsr(f, both);
        c.store_slow(i, linear + kMxcsrAt, both, sizeof both);
    }
    if (written & kSse) c.store_slow(i, linear + kXmmAt, f.xmm, 16 * xmm_count(c));
    if (written & kAvx) c.store_slow(i, linear + kYmmAt, f.ymm_high, 16 * xmm_count(c));
    c.store<uint64_t>(i, linear + kHeaderAt, (old & ~rfbm) | (used & rfbm));
}

/// Checks the header (SDM vol. 1, 13.8.1): no component that isn't enabled, standard format, reserved bytes zero.
uint64_t checked_components(Core& c, const Insn* i, const uint8_t* image) {
    uint64_t header[3];
    std::memcpy(header, image + kHeaderAt, sizeof header);
    if ((header[0] & ~c.xcr0) || header[1] || header[2]) c.raise(i, Vec::GP, 0);
    return header[0];
}

void restore_x87(Fpu& f, const Insn* i, const uint8_t* in, bool present) {
    static constexpr uint8_t kInitial[160] = {x87::kControlInit & 0xff, x87::kControlInit >> 8};
    const uint8_t* from = present ? in : kInitial;
    take_head(f, i, from);
    std::memcpy(f.st, from + kStAt, sizeof f.st);
    normalize_x87(f);
}
void restore_vectors(Xmm* to, const uint8_t* in, unsigned count, bool present) {
    if (present) std::memcpy(to, in, 16 * count);
    else std::memset(to, 0, 16 * count);
}

void xrstor(Core& c, const Insn* i) {
    xsave_check(c, i);
    Fpu& f = *c.fpu;
    uint8_t in[kYmmAt + 256];
    const uint64_t rfbm = requested(c);
    const uint64_t linear = image_address(c, i, area_size(rfbm), 64, Acc::Read);
    c.load_slow(i, linear, in, kYmmAt);
    const uint64_t present = checked_components(c, i, in);
    if (present & rfbm & kAvx) c.load_slow(i, linear + kYmmAt, in + kYmmAt, 256);
    if (rfbm & (kSse | kAvx)) fpu_set_mxcsr(f, mxcsr_in(c, i, in));
    if (rfbm & kX87) restore_x87(f, i, in, present & kX87);
    if (rfbm & kSse) restore_vectors(f.xmm, in + kXmmAt, xmm_count(c), present & kSse);
    if (rfbm & kAvx) restore_vectors(f.ymm_high, in + kYmmAt, xmm_count(c), present & kAvx);
}

}  // namespace

Handler select_save(const Insn& i) {
    if (!i.mem || i.mandatory != Mandatory::None) return nullptr;  // fences, CLFLUSHOPT, CLWB, FSGSBASE
    switch (i.modrm >> 3 & 7) {
    case 0: return then_next<fxsave>;
    case 1: return then_next<fxrstor>;
    case 2: return ldmxcsr;
    case 3: return stmxcsr;
    case 4: return then_next<xsave<false>>;
    case 5: return then_next<xrstor>;
    case 6: return then_next<xsave<true>>;
    default: return nullptr;
    }
}

}  // namespace yado::cpu_interp
