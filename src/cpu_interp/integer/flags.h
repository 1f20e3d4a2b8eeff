// Arithmetic by the host's own instructions, so that results and flags, undefined ones too, are the host's.
// Flags come out in AX by LAHF and SETO, and go in by ADD 7FH (sets OF from AL) and SAHF: Core::aflags' layout.
#pragma once

#include <cstdint>

namespace yado::cpu_interp::op {

#define YADO_GET "\n\tlahf\n\tseto %%al"
#define YADO_SET "add $0x7f, %%al\n\tsahf\n\t"
#define YADO_CARRY "bt $8, %k1\n\t"

/// name::run(a, b, f): a = a op b, f = flags. kReads: needs f's flags before; kWrites: false for CMP and TEST.
#define YADO_BINARY(name, text, reads, writes)                                              \
    struct name {                                                                           \
        static constexpr bool kWrites = writes;                                             \
        template <typename T>                                                               \
        static T run(T a, T b, uint16_t& f) {                                               \
            if constexpr (reads)                                                            \
                asm(YADO_CARRY text " %2, %0" YADO_GET : "+r"(a), "+&a"(f) : "r"(b) : "cc"); \
            else                                                                            \
                asm(text " %2, %0" YADO_GET : "+r"(a), "=&a"(f) : "r"(b) : "cc");            \
            return a;                                                                       \
        }                                                                                   \
    };
YADO_BINARY(Add, "add", false, true)
YADO_BINARY(Or, "or", false, true)
YADO_BINARY(Adc, "adc", true, true)
YADO_BINARY(Sbb, "sbb", true, true)
YADO_BINARY(And, "and", false, true)
YADO_BINARY(Sub, "sub", false, true)
YADO_BINARY(Xor, "xor", false, true)
YADO_BINARY(Cmp, "cmp", false, false)
YADO_BINARY(Test, "test", false, false)
#undef YADO_BINARY

/// name::run(a, f): a = op a, all flags in and out.
#define YADO_UNARY(name, text)                                                       \
    struct name {                                                                    \
        template <typename T>                                                        \
        static T run(T a, uint16_t& f) {                                             \
            asm(YADO_CARRY text " %0" YADO_GET : "+r"(a), "+&a"(f) : : "cc");         \
            return a;                                                                \
        }                                                                            \
    };
YADO_UNARY(Inc, "inc")
YADO_UNARY(Dec, "dec")
YADO_UNARY(Neg, "neg")
#undef YADO_UNARY
struct Not {
    template <typename T>
    static T run(T a, uint16_t&) {
        return static_cast<T>(~a);
    }
};

/// name::run(a, count, f): shifts and rotates; a masked count of 0 leaves the flags.
#define YADO_SHIFT(name, text)                                                                      \
    struct name {                                                                                   \
        template <typename T>                                                                       \
        static T run(T a, uint8_t count, uint16_t& f) {                                             \
            asm(YADO_SET text " %%cl, %0" YADO_GET : "+r"(a), "+&a"(f) : "c"(count) : "cc");         \
            return a;                                                                               \
        }                                                                                           \
    };
YADO_SHIFT(Rol, "rol")
YADO_SHIFT(Ror, "ror")
YADO_SHIFT(Rcl, "rcl")
YADO_SHIFT(Rcr, "rcr")
YADO_SHIFT(Shl, "shl")
YADO_SHIFT(Shr, "shr")
YADO_SHIFT(Sar, "sar")
#undef YADO_SHIFT

/// SHLD, SHRD: a shifted, bits from b.
#define YADO_DOUBLE_SHIFT(name, text)                                                                           \
    struct name {                                                                                               \
        template <typename T>                                                                                   \
        static T run(T a, T b, uint8_t count, uint16_t& f) {                                                    \
            asm(YADO_SET text " %%cl, %3, %0" YADO_GET : "+r"(a), "+&a"(f) : "c"(count), "r"(b) : "cc");         \
            return a;                                                                                           \
        }                                                                                                       \
    };
YADO_DOUBLE_SHIFT(Shld, "shld")
YADO_DOUBLE_SHIFT(Shrd, "shrd")
#undef YADO_DOUBLE_SHIFT

/// BT and kin on a value; bit is already below the width.
#define YADO_BIT(name, text, writes)                                                                 \
    struct name {                                                                                    \
        static constexpr bool kWrites = writes;                                                      \
        template <typename T>                                                                        \
        static T run(T a, T bit, uint16_t& f) {                                                      \
            asm(YADO_SET text " %2, %0" YADO_GET : "+r"(a), "+&a"(f) : "r"(bit) : "cc");              \
            return a;                                                                                \
        }                                                                                            \
    };
YADO_BIT(Bt, "bt", false)
YADO_BIT(Bts, "bts", true)
YADO_BIT(Btr, "btr", true)
YADO_BIT(Btc, "btc", true)
#undef YADO_BIT

/// BSF, BSR: a source of 0 leaves the destination (AMD documents it, Intel's processors do it).
#define YADO_SCAN(name, text)                                                                          \
    struct name {                                                                                      \
        template <typename T>                                                                          \
        static T run(T source, T destination, uint16_t& f) {                                           \
            asm(YADO_SET text " %2, %0" YADO_GET : "+r"(destination), "+&a"(f) : "r"(source) : "cc");   \
            return destination;                                                                        \
        }                                                                                              \
    };
YADO_SCAN(Bsf, "bsf")
YADO_SCAN(Bsr, "bsr")
YADO_SCAN(Popcnt, "popcnt")
YADO_SCAN(Tzcnt, "tzcnt")
YADO_SCAN(Lzcnt, "lzcnt")
YADO_SCAN(Adcx, "adcx")
YADO_SCAN(Adox, "adox")
YADO_SCAN(Imul2, "imul")  // destination *= source
#undef YADO_SCAN

/// MUL, IMUL with one operand: high:low = low * b.
#define YADO_MULTIPLY(name, text)                                                                                      \
    struct name {                                                                                                      \
        template <typename T>                                                                                          \
        static void run(T& low, T& high, T b, uint16_t& f) {                                                           \
            uint16_t flags = f;                                                                                        \
            if constexpr (sizeof(T) == 1) {                                                                            \
                uint16_t wide = low;                                                                                   \
                asm("xchg %0, %%ax\n\t" YADO_SET "xchg %0, %%ax\n\t" text " %2\n\txchg %0, %%ax" YADO_GET               \
                    : "+&r"(flags), "+&a"(wide) : "r"(b) : "cc");                                                      \
                /* after the last XCHG the product is in `flags`, the flags in AX */                                   \
                low = static_cast<uint8_t>(flags);                                                                     \
                high = static_cast<uint8_t>(flags >> 8);                                                               \
                f = wide;                                                                                              \
            } else {                                                                                                   \
                uint64_t keep = flags;                                                                                 \
                asm("xchg %q2, %%rax\n\t" YADO_SET "xchg %q2, %%rax\n\t" text " %3\n\txchg %q2, %%rax" YADO_GET         \
                    : "+&a"(low), "=&d"(high), "+&r"(keep) : "r"(b) : "cc");                                           \
                f = static_cast<uint16_t>(low);                                                                        \
                low = static_cast<T>(keep);                                                                            \
            }                                                                                                          \
        }                                                                                                              \
    };
YADO_MULTIPLY(Mul, "mul")
YADO_MULTIPLY(Imul, "imul")
#undef YADO_MULTIPLY

}  // namespace yado::cpu_interp::op
