// BMI1 and BMI2: the VEX instructions on general-purpose registers. ADCX, ADOX. SDM vol. 2, exception class 13.
#include <cpuid.h>

#include "cpu/cpu_model.h"
#include "cpu_interp/integer/flags.h"
#include "cpu_interp/integer/operands.h"
#include "cpu_interp/integer/select.h"
#include "cpu_interp/vex/table.h"

namespace yado::cpu_interp {

namespace {

using cpu::Feature;

/// name::run(rm, v, f): the r/m operand, the register that VEX.vvvv names, flags in and out.
#define YADO_BMI(name, text)                                                                                  \
    struct name {                                                                                             \
        template <typename T>                                                                                 \
        static T run(T rm, T v, uint16_t& f) {                                                                \
            T r;                                                                                              \
            asm(YADO_SET text YADO_GET : [r] "=&r"(r), "+&a"(f) : [rm] "r"(rm), [v] "r"(v) : "cc");            \
            return r;                                                                                         \
        }                                                                                                     \
    };
YADO_BMI(Andn, "andn %[rm], %[v], %[r]")
YADO_BMI(Blsr, "blsr %[rm], %[r]")
YADO_BMI(Blsmsk, "blsmsk %[rm], %[r]")
YADO_BMI(Blsi, "blsi %[rm], %[r]")
YADO_BMI(Bextr, "bextr %[v], %[rm], %[r]")
YADO_BMI(Bzhi, "bzhi %[v], %[rm], %[r]")
#undef YADO_BMI

/// As above, without flags.
#define YADO_BMI(name, text)                                                        \
    struct name {                                                                   \
        template <typename T>                                                       \
        static T run(T rm, T v, uint16_t&) {                                        \
            T r;                                                                    \
            asm(text : [r] "=r"(r) : [rm] "r"(rm), [v] "r"(v));                      \
            return r;                                                               \
        }                                                                           \
    };
YADO_BMI(Pdep, "pdep %[rm], %[v], %[r]")
YADO_BMI(Pext, "pext %[rm], %[v], %[r]")
YADO_BMI(Sarx, "sarx %[v], %[rm], %[r]")
YADO_BMI(Shlx, "shlx %[v], %[rm], %[r]")
YADO_BMI(Shrx, "shrx %[v], %[rm], %[r]")
#undef YADO_BMI

void check(Core& c, const Insn* i, Feature feature) {
    const bool protected_mode = c.cr0 & cpu::cr0::PE && !(c.sysflags & cpu::rflags::VM);
    if (!protected_mode || !c.wiring.model.has(feature)) [[unlikely]] c.raise(i, Vec::UD);
}

enum class To : uint8_t { Reg, Vvvv };

template <typename Op, Feature F, To Destination, typename T, bool Mem>
void bmi(Core& c, const Insn* i) {
    check(c, i, F);
    const T rm = read_rm<T, Mem>(c, i);
    const T r = Op::run(rm, static_cast<T>(c.gpr[i->vvvv]), c.aflags);
    c.gpr[Destination == To::Vvvv ? i->vvvv : i->reg] = r;
    return next(c, i);
}

/// reg:vvvv = rDX * rm; one register for both gets the upper half.
template <typename T, bool Mem>
void mulx(Core& c, const Insn* i) {
    check(c, i, Feature::BMI2);
    T high, low;
    asm("mulx %[rm], %[low], %[high]" : [low] "=r"(low), [high] "=r"(high) : [rm] "r"(read_rm<T, Mem>(c, i)), "d"(static_cast<T>(c.gpr[cpu::RDX])));
    c.gpr[i->vvvv] = low;
    c.gpr[i->reg] = high;
    return next(c, i);
}

template <typename T, bool Mem>
void rorx(Core& c, const Insn* i) {
    check(c, i, Feature::BMI2);
    c.gpr[i->reg] = std::rotr(read_rm<T, Mem>(c, i), static_cast<int>(i->imm & (8 * sizeof(T) - 1)));
    return next(c, i);
}

/// ADCX reads and writes CF alone, ADOX OF alone.
template <typename Op, typename T, bool Mem>
void add_carry(Core& c, const Insn* i) {
    if (!c.wiring.model.has(Feature::ADX)) c.raise(i, Vec::UD);
    const T source = read_rm<T, Mem>(c, i);
    c.gpr[i->reg] = Op::run(source, static_cast<T>(c.gpr[i->reg]), c.aflags);
    return next(c, i);
}

template <typename Op>
Handler pick_add_carry(const Insn& i) {
    if (i.rex_w) return i.mem ? add_carry<Op, uint64_t, true> : add_carry<Op, uint64_t, false>;
    return i.mem ? add_carry<Op, uint32_t, true> : add_carry<Op, uint32_t, false>;
}

/// f is called with a type of the operand's size and whether it lies in memory.
template <typename F>
void add_sizes(vex::Table& t, vex::Opcode o, vex::V v, int8_t group, F f) {
    using vex::L, vex::Rm, vex::W;
    const auto add = [&](W w, Rm rm, Handler run) { t.add(o, {w, L::L0, v, rm, group}, run); };
    add(W::Bits32, Rm::Register, f.template operator()<uint32_t, false>());
    add(W::Bits32, Rm::Memory, f.template operator()<uint32_t, true>());
    add(W::Bits64, Rm::Register, f.template operator()<uint64_t, false>());
    add(W::Bits64, Rm::Memory, f.template operator()<uint64_t, true>());
}

template <typename Op, Feature F, To Destination = To::Reg>
void add_op(vex::Table& t, Mandatory prefix, uint8_t opcode, int8_t group = -1) {
    add_sizes(t, {Map::Of38, prefix, opcode}, vex::V::Used, group,
              []<typename T, bool Mem>() -> Handler { return bmi<Op, F, Destination, T, Mem>; });
}

}  // namespace

Selected select_adx(const Insn& i) {
    if (i.map != Map::Of38 || i.opcode != 0xf6) return {};
    if (i.mandatory == Mandatory::P66) return {pick_add_carry<op::Adcx>(i)};
    if (i.mandatory == Mandatory::PF3) return {pick_add_carry<op::Adox>(i)};
    return {};
}

void vex::add_bmi(Table& t) {
    using enum Mandatory;
    using enum Feature;
    add_op<Andn, BMI1>(t, None, 0xf2);
    add_op<Blsr, BMI1, To::Vvvv>(t, None, 0xf3, 1);
    add_op<Blsmsk, BMI1, To::Vvvv>(t, None, 0xf3, 2);
    add_op<Blsi, BMI1, To::Vvvv>(t, None, 0xf3, 3);
    add_op<Bextr, BMI1>(t, None, 0xf7);
    add_op<Bzhi, BMI2>(t, None, 0xf5);
    add_op<Pdep, BMI2>(t, PF2, 0xf5);
    add_op<Pext, BMI2>(t, PF3, 0xf5);
    add_op<Shlx, BMI2>(t, P66, 0xf7);
    add_op<Sarx, BMI2>(t, PF3, 0xf7);
    add_op<Shrx, BMI2>(t, PF2, 0xf7);
    add_sizes(t, {Map::Of38, PF2, 0xf6}, V::Used, -1, []<typename T, bool Mem>() -> Handler { return mulx<T, Mem>; });
    add_sizes(t, {Map::Of3A, PF2, 0xf0}, V::None, -1, []<typename T, bool Mem>() -> Handler { return rorx<T, Mem>; });
}

cpu::FeatureSet integer_host_features() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    cpu::FeatureSet set = 0;
    const auto add = [&](bool present, Feature f) { set |= uint64_t{present} << static_cast<unsigned>(f); };
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
        add(b & bit_BMI, Feature::BMI1);
        add(b & bit_BMI2, Feature::BMI2);
        add(b & bit_ADX, Feature::ADX);
    }
    if (__get_cpuid(0x80000001, &a, &b, &c, &d)) add(c & bit_LZCNT, Feature::LZCNT);
    return set;
}

}  // namespace yado::cpu_interp
