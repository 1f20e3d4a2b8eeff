// Every SSE, MMX and x87 form with register and with memory operands, random states, against the host CPU.
#include <fmt/core.h>
#include <gtest/gtest.h>
#include <setjmp.h>
#include <signal.h>

#include "fpu_bench.h"

namespace yado::cpu_interp::test {
namespace {

class Random {
  public:
    explicit Random(uint64_t seed) : engine_(seed) {}
    uint64_t bits() { return engine_(); }
    unsigned below(unsigned n) { return static_cast<unsigned>(engine_() % n); }

    uint64_t real64() {
        static constexpr uint64_t kEdges[] = {0, 1ull << 63, 0x7ff0000000000000, 0xfff0000000000000, 0x7ff8000000000000,
                                              0x7ff0000000000001, 1, 0x000fffffffffffff, 0x0010000000000000, 0x3ff0000000000000,
                                              0xbff0000000000000, 0x7fefffffffffffff, 0x41e0000000000000, 0x3fe0000000000000};
        const unsigned kind = below(4);
        if (kind == 0) return kEdges[below(std::size(kEdges))];
        if (kind == 1) return bits();
        return (bits() & 0x800fffffffffffff) | static_cast<uint64_t>(0x3f0 + below(0x30)) << 52;
    }
    uint32_t real32() {
        static constexpr uint32_t kEdges[] = {0, 0x80000000, 0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001, 1, 0x007fffff,
                                              0x00800000, 0x3f800000, 0xbf800000, 0x7f7fffff, 0x4f000000};
        const unsigned kind = below(4);
        if (kind == 0) return kEdges[below(std::size(kEdges))];
        if (kind == 1) return static_cast<uint32_t>(bits());
        return (static_cast<uint32_t>(bits()) & 0x807fffff) | (0x70 + below(0x28)) << 23;
    }
    uint64_t lane() {
        switch (below(3)) {
        case 0: return real64();
        case 1: return real32() | static_cast<uint64_t>(real32()) << 32;
        default: return bits();
        }
    }
    St real80() {
        static constexpr uint16_t kExponents[] = {0, 1, 0x7fff, 0xffff, 0x3fff, 0xbfff, 0x7ffe, 0x8000, 0x403e, 0x401e, 0x3fbf};
        St st;
        st.exponent = below(3) ? static_cast<uint16_t>(0x3ff0 + below(0x20) + (below(2) << 15)) : kExponents[below(std::size(kExponents))];
        st.mantissa = bits() | (below(8) ? 1ull << 63 : 0);
        if (!below(4)) st.mantissa = 1ull << 63;
        if (!below(8)) st.mantissa = 0;
        return st;
    }

  private:
    std::mt19937_64 engine_;
};

struct Parts {
    bool random_x87 = false;
    bool unmasked_x87 = false;
};

Registers random_registers(Random& random, Parts parts) {
    Registers r;
    Fpu f;
    f.mxcsr = 0x1f80 | random.below(4) << 13 | (random.below(4) ? 0 : mxcsr::DAZ) | (random.below(4) ? 0 : mxcsr::FTZ) | random.below(64);
    for (Xmm& x : f.xmm) x = Xmm{static_cast<long long>(random.lane()), static_cast<long long>(random.lane())};
    f.fcw = x87::kControlFixed | x87::kExceptions | random.below(4) << 10;
    static constexpr uint16_t kPrecision[] = {0, 0x200, 0x300, 0x300};
    f.fcw |= kPrecision[random.below(4)];
    if (parts.unmasked_x87) f.fcw &= ~random.below(64);
    if (parts.random_x87) {
        f.fsw = (random.below(8) << 11) | (random.bits() & 0x4700);
        if (!parts.unmasked_x87) f.fsw |= random.below(64);
        f.ftw = random.below(3) ? 0xff : static_cast<uint8_t>(random.bits());
    }
    for (St& st : f.st) st = random.real80();
    std::memcpy(r.image.data(), &f, 416);
    for (uint64_t& g : r.gpr) g = random.below(2) ? random.bits() : random.below(40) - 20ull;
    r.gpr[cpu::RBX] = 0;
    r.flags = 0x0200 | (random.bits() & 0xd501);
    const St st = random.real80();
    for (unsigned n = 0; n < 512; n += 8) {
        const uint64_t v = random.lane();
        std::memcpy(&r.memory[n], &v, 8);
    }
    if (parts.random_x87 && random.below(2)) std::memcpy(r.memory.data(), &st, 10);
    return r;
}

/// The pointers and, with them, FOP are the interpreter's own.
void forget_pointers(Registers& r) {
    std::memset(&r.image[6], 0, 18);
    std::memset(&r.image[28], 0, 4);
    std::memset(&r.image[416], 0, 96);
    for (unsigned n = 0; n < 8; ++n) std::memset(&r.image[32 + 16 * n + 10], 0, 6);
    r.gpr[cpu::RSP] = r.gpr[cpu::RBP] = 0;
}

std::string difference(const Registers& a, const Registers& b) {
    std::string text;
    for (unsigned n = 0; n < 512; ++n)
        if (a.image[n] != b.image[n]) text += fmt::format(" image[{}] {:02x}/{:02x}", n, a.image[n], b.image[n]);
    for (unsigned n = 0; n < 8; ++n)
        if (a.gpr[n] != b.gpr[n]) text += fmt::format(" gpr[{}] {:x}/{:x}", n, a.gpr[n], b.gpr[n]);
    for (unsigned n = 0; n < 512; ++n)
        if (a.memory[n] != b.memory[n]) text += fmt::format(" mem[{}] {:02x}/{:02x}", n, a.memory[n], b.memory[n]);
    if (a.flags != b.flags) text += fmt::format(" flags {:x}/{:x}", a.flags, b.flags);
    return text;
}

std::string name_of(const Form& f) {
    std::string text = "bytes";
    for (const uint8_t b : bytes_of(f)) text += fmt::format(" {:02x}", b);
    return text;
}

class FpuNative : public testing::Test {
  protected:
    /// Runs f on both sides `times` times; true if all agree.
    bool agree(const Form& f, unsigned times, Parts parts) {
        for (unsigned n = 0; n < times; ++n) {
            Form form = f;
            if (form.imm) form.imm = static_cast<uint8_t>(random_.bits());
            Registers guest = random_registers(random_, parts), host = guest;
            host.gpr[cpu::RBX] = reinterpret_cast<uint64_t>(&host.memory);
            bench_.set(guest);
            const auto fault = bench_.run(form);
            bench_.get(guest);
            native_.run(form, host);
            host.gpr[cpu::RBX] = guest.gpr[cpu::RBX];
            forget_pointers(guest);
            forget_pointers(host);
            const std::string wrong = difference(guest, host);
            if (fault || !wrong.empty()) {
                ADD_FAILURE() << name_of(form) << (fault ? " faulted" : "") << wrong;
                return false;
            }
        }
        return true;
    }
    /// The host has it, too.
    bool exists(const Form& f) {
        static const bool gfni = (supported_features() & cpu::feature_set({cpu::Feature::GFNI})) != 0;
        if (!gfni && f.map != Map::Of && f.mandatory == Mandatory::P66 && (f.opcode == 0xce || f.opcode == 0xcf)) return false;
        const Insn i = insn_of(f);
        return select_fpu(i).run != nullptr;
    }
    Random random_{20240611};
    Bench bench_;
    Native native_;
};

bool takes_immediate(const Form& f) {
    if (f.map == Map::Of3A) return true;
    return f.map == Map::Of && ((f.opcode >= 0x70 && f.opcode <= 0x73) || f.opcode == 0xc2 || (f.opcode >= 0xc4 && f.opcode <= 0xc6));
}

TEST_F(FpuNative, EverySseAndMmxFormGivesTheHostsResult) {
    unsigned forms = 0;
    for (const Map map : {Map::Of, Map::Of38, Map::Of3A})
        for (const Mandatory prefix : {Mandatory::None, Mandatory::P66, Mandatory::PF3, Mandatory::PF2})
            for (unsigned op = 0; op < 256; ++op)
                for (const uint8_t modrm : {0x0b, 0x33, 0xca, 0xf1, 0xc9, 0xd7, 0xe6, 0xf6, 0xde, 0xfe})
                    for (const bool rex_w : {false, true}) {
                        Form f{map, prefix, static_cast<uint8_t>(op), modrm, rex_w};
                        if (map == Map::Of && (op == 0x77 || op == 0xae || op == 0xf7)) continue;  // tests of their own
                        const bool group = map == Map::Of && op >= 0x71 && op <= 0x73;
                        if (!group && ((modrm >= 0xd0 && modrm < 0xf0) || modrm > 0xf1)) continue;  // RSP, RBP, RBX
                        if (!exists(f)) continue;
                        if (takes_immediate(f)) f.imm = 0;
                        ++forms;
                        agree(f, 100, {.random_x87 = prefix == Mandatory::None});
                    }
    EXPECT_GT(forms, 2000u);
}

TEST_F(FpuNative, EveryX87FormGivesTheHostsResult) {
    unsigned forms = 0;
    for (unsigned op = 0xd8; op <= 0xdf; ++op)
        for (unsigned modrm = 0; modrm < 256; ++modrm) {
            if (modrm < 0xc0 && (modrm & 0xc7) != 3) continue;
            const Form f{Map::One, Mandatory::None, static_cast<uint8_t>(op), static_cast<uint8_t>(modrm)};
            if (!exists(f)) continue;
            // FNSTENV, FNSAVE carry pointers; FLDENV, FRSTOR want a sensible image: x87_env's own tests
            if (modrm < 0xc0 && (op == 0xd9 || op == 0xdd) && ((modrm >> 3 & 5) == 4)) continue;
            ++forms;
            agree(f, 400, {.random_x87 = true});
        }
    EXPECT_GT(forms, 470u);
}

TEST_F(FpuNative, UnmaskedX87ExceptionsLeaveTheHostsState) {
    for (unsigned op = 0xd8; op <= 0xdf; ++op)
        for (unsigned modrm = 0; modrm < 256; ++modrm) {
            if (modrm < 0xc0 && (modrm & 0xc7) != 3) continue;
            const Form f{Map::One, Mandatory::None, static_cast<uint8_t>(op), static_cast<uint8_t>(modrm)};
            if (!exists(f)) continue;
            if (modrm < 0xc0 && (op == 0xd9 || op == 0xdd) && ((modrm >> 3 & 5) == 4)) continue;
            if (op == 0xdb && modrm == 0xe3) continue;
            agree(f, 200, {.random_x87 = true, .unmasked_x87 = true});
        }
}

TEST_F(FpuNative, RunsOfX87InstructionsGiveTheHostsResult) {
    std::vector<Form> all;
    for (unsigned op = 0xd8; op <= 0xdf; ++op)
        for (unsigned modrm = 0; modrm < 256; ++modrm) {
            if (modrm < 0xc0 && (modrm & 0xc7) != 3) continue;
            if (modrm < 0xc0 && (op == 0xd9 || op == 0xdd) && ((modrm >> 3 & 5) == 4)) continue;
            const Form f{Map::One, Mandatory::None, static_cast<uint8_t>(op), static_cast<uint8_t>(modrm)};
            const bool control = op == 0xd9 && modrm == 0x2b;  // FLDCW may unmask: then a fault is right
            if (exists(f) && !control) all.push_back(f);
        }
    const Form paddb{Map::Of, Mandatory::P66, 0xfc, 0xca};
    for (unsigned n = 0; n < 30000; ++n) {
        std::vector<Form> run;
        for (unsigned k = 0; k < 5; ++k) run.push_back(random_.below(6) ? all[random_.below(all.size())] : paddb);
        Registers guest = random_registers(random_, {.random_x87 = true}), host = guest;
        host.gpr[cpu::RBX] = reinterpret_cast<uint64_t>(&host.memory);
        bench_.set(guest);
        ASSERT_FALSE(bench_.run(run));
        bench_.get(guest);
        for (const Form& f : run) native_.run(f, host);
        host.gpr[cpu::RBX] = guest.gpr[cpu::RBX];
        forget_pointers(guest);
        forget_pointers(host);
        std::string names;
        for (const Form& f : run) names += name_of(f) + "; ";
        ASSERT_EQ(difference(guest, host), "") << names;
    }
}

sigjmp_buf refused;

/// True if the host has the instruction.
bool host_has(Native& native, const Form& f, Registers& r) {
    struct sigaction action {}, before {};
    action.sa_handler = [](int) { siglongjmp(refused, 1); };
    sigaction(SIGILL, &action, &before);
    const bool has = sigsetjmp(refused, 1) == 0 && (native.run(f, r), true);
    sigaction(SIGILL, &before, nullptr);
    asm volatile("fninit");
    return has;
}

TEST_F(FpuNative, ReservedX87FormsAreThoseThatTheHostRefuses) {
    for (unsigned op = 0xd8; op <= 0xdf; ++op)
        for (unsigned modrm = 0; modrm < 256; ++modrm) {
            if (modrm < 0xc0 && (modrm & 0xc7) != 3) continue;
            const Form f{Map::One, Mandatory::None, static_cast<uint8_t>(op), static_cast<uint8_t>(modrm)};
            Registers r = random_registers(random_, {});
            r.gpr[cpu::RBX] = reinterpret_cast<uint64_t>(&r.memory);
            r.memory.fill(0);
            EXPECT_EQ(exists(f), host_has(native_, f, r)) << name_of(f);
        }
}

}  // namespace
}  // namespace yado::cpu_interp::test
