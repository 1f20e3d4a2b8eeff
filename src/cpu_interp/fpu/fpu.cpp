#include "cpu_interp/fpu/fpu.h"

#include <cpuid.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>

#include "base/check.h"
#include "cpu_interp/fpu/ops.h"

namespace yado::cpu_interp {

static_assert(offsetof(Fpu, mxcsr) == 24 && offsetof(Fpu, st) == 32 && offsetof(Fpu, xmm) == 160 && offsetof(Fpu, ymm_high) == 416);

namespace {

constexpr size_t kHeader = 512, kYmm = 576;  // SDM vol. 1, 13.4

uint32_t read_host_mxcsr() {
    uint32_t v;
    asm volatile("stmxcsr %0" : "=m"(v) : : "memory");
    return v;
}
void write_host_mxcsr(uint32_t v) { asm volatile("ldmxcsr %0" : : "m"(v) : "memory"); }

bool denormal16(uint16_t v) { return !(v & 0x7c00) && (v & 0x03ff); }
bool denormal32(uint32_t v) { return !(v & 0x7f80'0000) && (v & 0x007f'ffff); }
bool denormal64(uint64_t v) { return !(v & 0x7ff0'0000'0000'0000) && (v & 0x000f'ffff'ffff'ffff); }

bool has_denormal(Xmm v, Elem elem) {
    const auto parts = std::bit_cast<std::array<uint32_t, 4>>(v);
    switch (elem) {
    case Elem::None: return false;
    case Elem::Ss: return denormal32(parts[0]);
    case Elem::Ps: return denormal32(parts[0]) || denormal32(parts[1]) || denormal32(parts[2]) || denormal32(parts[3]);
    case Elem::Sd: return denormal64(low(v));
    case Elem::Pd: return denormal64(low(v)) || denormal64(high(v));
    case Elem::Ph: return std::ranges::any_of(std::bit_cast<std::array<uint16_t, 8>>(v), denormal16);
    }
    return false;
}

}  // namespace

void set_control_word(Fpu& f, uint16_t fcw) {
    f.fcw = (fcw & x87::kControlMask) | x87::kControlFixed;
    const bool pending = f.fsw & ~f.fcw & x87::kExceptions;
    f.fsw = (f.fsw & ~(x87::ES | x87::B)) | (pending ? x87::ES | x87::B : 0);
}

void normalize_x87(Fpu& f) {
    set_control_word(f, f.fcw);
    f.fop &= 0x7ff;
    f.zero = 0;
    for (St& st : f.st) std::memset(st.reserved, 0, sizeof st.reserved);
}

void fpu_reset(Fpu& fpu) {
    fpu_leave(fpu);
    fpu = Fpu{};
    fpu.fcw = x87::kControlReset;
    fpu.ftw = 0xff;
}

void fpu_export(const Fpu& fpu, cpu::XsaveArea& area) {
    YADO_CHECK(fpu.place == MxcsrPlace::Memory && !fpu.x87_in_host);
    area.bytes.fill(0);
    std::memcpy(area.bytes.data(), &fpu, 416);
    static constexpr Xmm kZero[16] = {};
    uint64_t present = cpu::kXcr0X87 | cpu::kXcr0Sse;
    if (std::memcmp(fpu.ymm_high, kZero, sizeof kZero) != 0) {
        present |= cpu::kXcr0Avx;
        std::memcpy(area.bytes.data() + kYmm, fpu.ymm_high, sizeof fpu.ymm_high);
    }
    std::memcpy(area.bytes.data() + kHeader, &present, sizeof present);
}

void fpu_import(Fpu& fpu, const cpu::XsaveArea& area) {
    fpu_leave(fpu);
    fpu = Fpu{};
    uint64_t present;
    std::memcpy(&present, area.bytes.data() + kHeader, sizeof present);
    if (present & cpu::kXcr0X87) {
        std::memcpy(static_cast<void*>(&fpu), area.bytes.data(), offsetof(Fpu, mxcsr));
        std::memcpy(fpu.st, area.bytes.data() + offsetof(Fpu, st), sizeof fpu.st);
        normalize_x87(fpu);
    }
    if (present & cpu::kXcr0Sse) std::memcpy(fpu.xmm, area.bytes.data() + offsetof(Fpu, xmm), sizeof fpu.xmm);
    if (present & (cpu::kXcr0Sse | cpu::kXcr0Avx)) {
        std::memcpy(&fpu.mxcsr, area.bytes.data() + offsetof(Fpu, mxcsr), sizeof fpu.mxcsr);
        fpu.mxcsr &= mxcsr::kValid;
    }
    if (present & cpu::kXcr0Avx) std::memcpy(fpu.ymm_high, area.bytes.data() + kYmm, sizeof fpu.ymm_high);
}

/// Whether the host's kernel keeps the YMM registers (SDM vol. 1, 14.3).
bool host_keeps_ymm(unsigned ecx1) {
    if (!(ecx1 & bit_OSXSAVE)) return false;
    uint32_t low, high;
    asm("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    constexpr uint64_t kState = cpu::kXcr0Sse | cpu::kXcr0Avx;
    return (low & kState) == kState;
}

cpu::FeatureSet fpu_supported_features() {
    unsigned a = 0, b = 0, c1 = 0, d = 0, b7 = 0, c7 = 0;
    __get_cpuid(1, &a, &b, &c1, &d);
    __get_cpuid_count(7, 0, &a, &b7, &c7, &d);
    const bool ymm = host_keeps_ymm(c1);
    cpu::FeatureSet set = uint64_t{1} << static_cast<unsigned>(Feature::XSAVE);  // done in software
    const auto add = [&](bool present, Feature f) { set |= uint64_t{present} << static_cast<unsigned>(f); };
    add(c1 & bit_SSE3, Feature::SSE3);
    add(c1 & bit_SSSE3, Feature::SSSE3);
    add(c1 & bit_SSE4_1, Feature::SSE4_1);
    add(c1 & bit_SSE4_2, Feature::SSE4_2);
    add(c1 & bit_PCLMUL, Feature::PCLMULQDQ);
    add(c1 & bit_AES, Feature::AESNI);
    add(b7 & bit_SHA, Feature::SHA);
    add(c7 & bit_GFNI, Feature::GFNI);
    add(ymm && c1 & bit_AVX, Feature::AVX);
    add(ymm && c1 & bit_F16C, Feature::F16C);
    add(ymm && c1 & bit_FMA, Feature::FMA);
    add(ymm && b7 & bit_AVX2, Feature::AVX2);
    add(ymm && c7 & bit_VAES, Feature::VAES);
    add(ymm && c7 & bit_VPCLMULQDQ, Feature::VPCLMULQDQ);
    return set;
}

uint32_t fpu_mxcsr(Fpu& fpu) {
    if (fpu.place == MxcsrPlace::Host) fpu.mxcsr |= read_host_mxcsr() & mxcsr::kFlags;
    return fpu.mxcsr;
}

void fpu_set_mxcsr(Fpu& fpu, uint32_t value) {
    fpu_leave(fpu);
    fpu.mxcsr = value;
}

void fpu_leave_slow(Fpu& fpu) {
    fpu_mxcsr(fpu);
    write_host_mxcsr(fpu.host_mxcsr);
    fpu.place = MxcsrPlace::Memory;
}

void begin_fp_slow(Fpu& f) {
    f.host_mxcsr = read_host_mxcsr();
    if ((f.mxcsr & mxcsr::kMasks) == mxcsr::kMasks) {
        write_host_mxcsr(f.mxcsr);
        f.place = MxcsrPlace::Host;
        return;
    }
    uint32_t value = (f.mxcsr & ~mxcsr::kFlags) | mxcsr::kMasks;
    if (!(f.mxcsr & mxcsr::UM)) value &= ~mxcsr::FTZ;  // flushing happens only while underflow is masked (vol. 1, 10.2.3.3)
    write_host_mxcsr(value);
    f.place = MxcsrPlace::Precise;
}

bool fpu_host_mxcsr(Fpu& f) {
    if (f.place == MxcsrPlace::Host) return true;
    if ((f.mxcsr & mxcsr::kMasks) != mxcsr::kMasks) return false;
    begin_fp_slow(f);
    return true;
}

/// SDM vol. 1, 11.5.2: an unmasked invalid, denormal or divide-by-zero stops the instruction before it can find the others;
/// an unmasked underflow is any tiny result, exact ones too, which a masked host doesn't flag. Inside DPPS and DPPD only the
/// final sum is looked at for those.
void end_fp_precise(Core& c, const Insn* i, Xmm result, Xmm high, Elem elem) {
    Fpu& f = *c.fpu;
    uint32_t flags = read_host_mxcsr() & mxcsr::kFlags;
    write_host_mxcsr(f.host_mxcsr);
    f.place = MxcsrPlace::Memory;
    if (!(f.mxcsr & mxcsr::UM) && (has_denormal(result, elem) || has_denormal(high, elem))) flags |= x87::UE;
    const uint32_t unmasked = flags & ~(f.mxcsr >> 7);
    constexpr uint32_t kBefore = x87::IE | x87::DE | x87::ZE;
    if (unmasked & kBefore) flags &= kBefore;
    f.mxcsr |= flags;
    if (unmasked) c.raise(i, c.cr4 & cpu::cr4::OSXMMEXCPT ? Vec::XM : Vec::UD);
}

void raise_sse_unavailable(Core& c, const Insn* i) {
    if ((c.cr0 & cpu::cr0::EM) || !(c.cr4 & cpu::cr4::OSFXSR)) c.raise(i, Vec::UD);
    c.raise(i, Vec::NM);
}

void mmx_check_slow(Core& c, const Insn* i) {
    if (c.cr0 & cpu::cr0::EM) c.raise(i, Vec::UD);
    if (c.cr0 & cpu::cr0::TS) c.raise(i, Vec::NM);
    c.raise(i, Vec::MF);
}

void set_top(Fpu& f, unsigned top) {
    const unsigned turn = (top - f.top()) & 7;
    if (turn) {
        St turned[8];
        for (unsigned n = 0; n < 8; ++n) turned[n] = f.st[(n + turn) & 7];
        std::memcpy(f.st, turned, sizeof turned);
    }
    f.fsw = (f.fsw & ~x87::kTop) | top << 11;
}

void mmx_transition(Fpu& f) {
    if (f.top()) set_top(f, 0);
    f.ftw = 0xff;
}

}  // namespace yado::cpu_interp
