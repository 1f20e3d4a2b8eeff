// VEX instructions of the host as callable code. A stub is the guest's instruction again with fixed operands, and RET:
//   VEX.vvvv  ymm0, eax      ModRM.reg  ymm1, ecx (the destination)      ModRM.rm  ymm2, edx      imm8[7:4]  ymm3
// Two kinds: a table by map, W, L, prefix and opcode; 256 copies by immediate. A stub that is not an instruction is never
// called: select_vex knows which are. run_*() load the operands, call a stub and store its destination. Operands are pairs
// of halves that lie 256 bytes apart (ops.h).
#pragma once

#include "cpu_interp/fpu/fpu.h"
#include "cpu_interp/insn.h"

extern "C" {
[[gnu::visibility("hidden")]] extern const uint8_t yado_vex_stubs[];

/// *d = stub(reg, vvvv, rm). The 128-bit form leaves bits 255:128 to the caller; none leaves any in the host's registers.
void yado_vex_run128(yado::cpu_interp::Xmm* d, const yado::cpu_interp::Xmm* reg, const yado::cpu_interp::Xmm* vvvv,
                     const yado::cpu_interp::Xmm* rm, uintptr_t stub);
void yado_vex_run256(yado::cpu_interp::Xmm* d, const yado::cpu_interp::Xmm* reg, const yado::cpu_interp::Xmm* vvvv,
                     const yado::cpu_interp::Xmm* rm, uintptr_t stub);
/// *d = stub(vvvv, rm, is4).
void yado_vex_run128_is4(yado::cpu_interp::Xmm* d, const yado::cpu_interp::Xmm* is4, const yado::cpu_interp::Xmm* vvvv,
                         const yado::cpu_interp::Xmm* rm, uintptr_t stub);
void yado_vex_run256_is4(yado::cpu_interp::Xmm* d, const yado::cpu_interp::Xmm* is4, const yado::cpu_interp::Xmm* vvvv,
                         const yado::cpu_interp::Xmm* rm, uintptr_t stub);
/// Flags (hflags layout) of stub(reg, rm).
uint16_t yado_vex_flags128(const yado::cpu_interp::Xmm* reg, const yado::cpu_interp::Xmm* rm, uintptr_t stub);
uint16_t yado_vex_flags256(const yado::cpu_interp::Xmm* reg, const yado::cpu_interp::Xmm* rm, uintptr_t stub);
/// A general-purpose register from rm, 128 or 256 bits; a vector from vvvv and a general-purpose register.
uint64_t yado_vex_to_gpr128(const yado::cpu_interp::Xmm* rm, uintptr_t stub);
uint64_t yado_vex_to_gpr256(const yado::cpu_interp::Xmm* rm, uintptr_t stub);
void yado_vex_from_gpr(yado::cpu_interp::Xmm* d, const yado::cpu_interp::Xmm* vvvv, uint64_t value, uintptr_t stub);
}

namespace yado::cpu_interp::vex {

/// Maps 0F and 0F38 only.
constexpr unsigned stub_index(Map map, bool w, bool l, Mandatory prefix, uint8_t opcode) {
    return (map == Map::Of38 ? 0x1000u : 0) | w * 0x800u | l * 0x400u | static_cast<unsigned>(prefix) << 8 | opcode;
}
constexpr unsigned kStubBytes = 8;

inline uintptr_t stub_at(unsigned index) { return reinterpret_cast<uintptr_t>(yado_vex_stubs) + index * kStubBytes; }

}  // namespace yado::cpu_interp::vex

/// 256 copies of an instruction of 128 (name_0) or 256 bits (name_1): `pp` is VEX.pp, `modrm` CA or what it is to be instead.
/// `vvvv` counts from 0 as in the stubs above.
#define YADO_VEX_COPIES(name, map, w, l, pp, opcode, modrm, vvvv)                                                          \
    extern "C" [[gnu::visibility("hidden")]] const uint8_t yado_vex_##name[];                                              \
    asm(".pushsection .text.yado_stubs,\"ax\",@progbits\n.balign 64\nyado_vex_" #name ":\n.set yado_n,0\n.rept 256\n"       \
        ".byte 0xc4,0xe0+" #map ",0x80*" #w "+0x78-8*" #vvvv "+4*" #l "+" #pp "," #opcode "," #modrm ",yado_n,0xc3,0x90\n"  \
        ".set yado_n,yado_n+1\n.endr\n.popsection")
#define YADO_VEX_IMM128(name, map, w, pp, opcode) YADO_VEX_COPIES(name##_0, map, w, 0, pp, opcode, 0xca, 0)
#define YADO_VEX_IMM256(name, map, w, pp, opcode) YADO_VEX_COPIES(name##_1, map, w, 1, pp, opcode, 0xca, 0)
#define YADO_VEX_IMM(name, map, w, pp, opcode) \
    YADO_VEX_IMM128(name, map, w, pp, opcode); \
    YADO_VEX_IMM256(name, map, w, pp, opcode)
