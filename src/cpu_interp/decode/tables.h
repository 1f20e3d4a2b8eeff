// What the decoder must know of each opcode: ModRM, immediate, operand-size default. SDM vol. 2, appendix A.
#pragma once

#include <array>
#include <cstdint>

namespace yado::cpu_interp {

/// Immediates, as appendix A.2.2 abbreviates them.
enum class Imm : uint8_t { None, Ib, Iw, Iz, Iv, Jz, Ap, IwIb, Moffs };

struct OpcodeInfo {
    Imm imm = Imm::None;
    bool undefined = false;
    bool modrm = false;
    bool no_64 = false;       ///< i64: #UD in 64-bit mode
    bool default_64 = false;  ///< d64: operand size 64 in 64-bit mode, 16 with 66
    bool force_64 = false;    ///< f64: operand size 64 in 64-bit mode whatever the prefixes
    bool register_only = false;  ///< MOV to and from CR, DR: ModRM.mod is ignored
};
using OpcodeTable = std::array<OpcodeInfo, 256>;

/// Applies f to the entries first..last.
template <typename F>
constexpr void each(OpcodeTable& t, unsigned first, unsigned last, F f) {
    for (unsigned op = first; op <= last; ++op) f(t[op]);
}
constexpr auto has_modrm = [](OpcodeInfo& o) { o.modrm = true; };
constexpr auto not_in_64 = [](OpcodeInfo& o) { o.no_64 = true; };
constexpr auto defaults_64 = [](OpcodeInfo& o) { o.default_64 = true; };
constexpr auto forces_64 = [](OpcodeInfo& o) { o.force_64 = true; };
constexpr auto is_undefined = [](OpcodeInfo& o) { o.undefined = true; };
constexpr auto with(Imm imm) {
    return [imm](OpcodeInfo& o) { o.imm = imm; };
}

constexpr OpcodeTable make_one_byte_table() {
    OpcodeTable t{};
    for (unsigned row = 0; row < 0x40; row += 8) {  // ADD OR ADC SBB AND SUB XOR CMP
        each(t, row, row + 3, has_modrm);
        t[row + 4].imm = Imm::Ib;
        t[row + 5].imm = Imm::Iz;
        each(t, row + 6, row + 7, not_in_64);  // PUSH, POP of segments; BCD (0F and prefixes never get here)
    }
    each(t, 0x50, 0x5f, defaults_64);
    each(t, 0x60, 0x62, not_in_64);
    each(t, 0x62, 0x63, has_modrm);
    each(t, 0x68, 0x6b, [](OpcodeInfo& o) { o.imm = Imm::Ib; });
    t[0x68].imm = t[0x69].imm = Imm::Iz;
    t[0x68].default_64 = t[0x6a].default_64 = true;
    t[0x69].modrm = t[0x6b].modrm = true;
    each(t, 0x70, 0x7f, with(Imm::Ib));
    each(t, 0x70, 0x7f, forces_64);
    each(t, 0x80, 0x8f, has_modrm);
    each(t, 0x80, 0x83, with(Imm::Ib));
    t[0x81].imm = Imm::Iz;
    t[0x82].no_64 = true;
    t[0x8f].default_64 = true;
    t[0x9a] = {.imm = Imm::Ap, .no_64 = true};
    each(t, 0x9c, 0x9d, defaults_64);
    each(t, 0xa0, 0xa3, with(Imm::Moffs));
    t[0xa8].imm = Imm::Ib;
    t[0xa9].imm = Imm::Iz;
    each(t, 0xb0, 0xb7, with(Imm::Ib));
    each(t, 0xb8, 0xbf, with(Imm::Iv));
    each(t, 0xc0, 0xc7, has_modrm);
    each(t, 0xc0, 0xc1, with(Imm::Ib));
    t[0xc2] = {.imm = Imm::Iw, .force_64 = true};
    t[0xc3] = {.force_64 = true};
    each(t, 0xc4, 0xc5, not_in_64);
    t[0xc6].imm = Imm::Ib;
    t[0xc7].imm = Imm::Iz;
    t[0xc8] = {.imm = Imm::IwIb, .default_64 = true};
    t[0xc9].default_64 = true;
    t[0xca].imm = Imm::Iw;
    t[0xcd].imm = Imm::Ib;
    t[0xce].no_64 = true;
    each(t, 0xd0, 0xd3, has_modrm);
    each(t, 0xd4, 0xd5, with(Imm::Ib));
    each(t, 0xd4, 0xd6, not_in_64);
    each(t, 0xd8, 0xdf, has_modrm);
    each(t, 0xe0, 0xe7, with(Imm::Ib));
    each(t, 0xe0, 0xe3, forces_64);
    each(t, 0xe8, 0xe9, with(Imm::Jz));
    each(t, 0xe8, 0xe9, forces_64);
    t[0xea] = {.imm = Imm::Ap, .no_64 = true};
    t[0xeb] = {.imm = Imm::Ib, .force_64 = true};
    each(t, 0xf6, 0xf7, has_modrm);
    each(t, 0xfe, 0xff, has_modrm);
    return t;
}

constexpr OpcodeTable make_0f_table() {
    OpcodeTable t{};
    each(t, 0x00, 0x03, has_modrm);
    for (unsigned op : {0x04, 0x0a, 0x0c, 0x0e, 0x0f, 0x36, 0x37, 0x39, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x7a, 0x7b, 0xa6, 0xa7})
        t[op].undefined = true;
    t[0x0d].modrm = true;
    each(t, 0x10, 0x23, has_modrm);
    each(t, 0x20, 0x23, [](OpcodeInfo& o) { o.register_only = true; });
    each(t, 0x24, 0x27, is_undefined);
    each(t, 0x28, 0x2f, has_modrm);
    each(t, 0x40, 0x76, has_modrm);
    each(t, 0x70, 0x73, with(Imm::Ib));
    each(t, 0x78, 0x79, has_modrm);
    each(t, 0x7c, 0x7f, has_modrm);
    each(t, 0x80, 0x8f, with(Imm::Jz));
    each(t, 0x80, 0x8f, forces_64);
    each(t, 0x90, 0x9f, has_modrm);
    each(t, 0xa0, 0xa1, defaults_64);
    each(t, 0xa8, 0xa9, defaults_64);
    for (unsigned op : {0xa3, 0xa4, 0xa5, 0xab, 0xac, 0xad, 0xae, 0xaf}) t[op].modrm = true;
    t[0xa4].imm = t[0xac].imm = Imm::Ib;
    each(t, 0xb0, 0xc7, has_modrm);
    t[0xba].imm = t[0xc2].imm = Imm::Ib;
    each(t, 0xc4, 0xc6, with(Imm::Ib));
    each(t, 0xd0, 0xff, has_modrm);
    return t;
}

/// VEX.0F: VZEROUPPER alone has no ModRM byte.
constexpr OpcodeTable make_vex_0f_table() {
    OpcodeTable t{};
    each(t, 0x00, 0xff, has_modrm);
    t[0x77].modrm = false;
    each(t, 0x70, 0x73, with(Imm::Ib));
    t[0xc2].imm = Imm::Ib;
    each(t, 0xc4, 0xc6, with(Imm::Ib));
    return t;
}

inline constexpr OpcodeTable kOneByte = make_one_byte_table();
inline constexpr OpcodeTable k0f = make_0f_table();
inline constexpr OpcodeTable kVex0f = make_vex_0f_table();
inline constexpr OpcodeInfo k0f38{.modrm = true};
inline constexpr OpcodeInfo k0f3a{.imm = Imm::Ib, .modrm = true};

}  // namespace yado::cpu_interp
