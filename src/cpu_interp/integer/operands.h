// Operands of integer instructions: registers of four sizes, memory, read-modify-write, LOCK. SDM vol. 1, 3.4.1.1.
#pragma once

#include <type_traits>

#include "cpu/state.h"
#include "cpu_interp/core.h"

namespace yado::cpu_interp {

/// Byte register r: without REX, 4 to 7 are AH, CH, DH, BH.
inline uint8_t* byte_register(Core& c, const Insn* i, unsigned r) {
    const unsigned high = !i->rex && r >= 4;
    return reinterpret_cast<uint8_t*>(&c.gpr[r - 4 * high]) + high;
}

template <typename T>
inline T read_register(Core& c, const Insn* i, unsigned r) {
    if constexpr (sizeof(T) == 1) return static_cast<T>(*byte_register(c, i, r));
    return static_cast<T>(c.gpr[r]);
}

/// 32-bit writes clear the upper half, 16- and 8-bit ones keep the rest.
template <typename T>
inline void write_register(Core& c, const Insn* i, unsigned r, T value) {
    if constexpr (sizeof(T) == 1)
        *byte_register(c, i, r) = static_cast<uint8_t>(value);
    else if constexpr (sizeof(T) == 2)
        std::memcpy(&c.gpr[r], &value, 2);
    else
        c.gpr[r] = static_cast<std::make_unsigned_t<T>>(value);
}

/// The accumulator and its kin by fixed number, never a high byte.
template <typename T>
inline T read_low(const Core& c, unsigned r) {
    return static_cast<T>(c.gpr[r]);
}
template <typename T>
inline void write_low(Core& c, unsigned r, T value) {
    if constexpr (sizeof(T) <= 2)
        std::memcpy(&c.gpr[r], &value, sizeof(T));
    else
        c.gpr[r] = static_cast<std::make_unsigned_t<T>>(value);
}

/// Unaligned access to a host address.
template <typename T>
inline T peek(const void* p) {
    T v;
    std::memcpy(&v, p, sizeof(T));
    return v;
}
template <typename T>
inline void poke(void* p, T v) {
    std::memcpy(p, &v, sizeof(T));
}

/// The r/m operand, read.
template <typename T, bool Mem>
[[gnu::always_inline]] inline T read_rm(Core& c, const Insn* i) {
    if constexpr (Mem) return c.load<T>(i, c.address(i, sizeof(T), Acc::Read));
    else return read_register<T>(c, i, i->rm);
}
/// The r/m operand, written without having been read.
template <typename T, bool Mem>
[[gnu::always_inline]] inline void write_rm(Core& c, const Insn* i, T v) {
    if constexpr (Mem) c.store<T>(i, c.address(i, sizeof(T), Acc::Write), v);
    else write_register<T>(c, i, i->rm, v);
}

template <typename T, typename F>
[[gnu::noinline, gnu::cold]] void modify_slow(Core& c, const Insn* i, uint64_t linear, F f) {
    const T old = c.load<T>(i, linear);
    c.store<T>(i, linear, f(old));
}

/// *r/m = f(*r/m). f sets flags on the side; it must not fault. Not atomic.
template <typename T, bool Mem, typename F>
[[gnu::always_inline]] inline void modify_rm(Core& c, const Insn* i, F f) {
    if constexpr (!Mem) {
        write_register<T>(c, i, i->rm, f(read_register<T>(c, i, i->rm)));
    } else {
        const uint64_t linear = c.address(i, sizeof(T), Acc::Write);
        if (T* p = c.rmw_pointer<T>(i, linear)) [[likely]] {
            poke<T>(p, f(peek<T>(p)));
        } else {
            modify_slow<T>(c, i, linear, f);
        }
    }
}

/// Host pointer for a LOCKed access, or nullptr: stop the world instead. Splits over cache lines are not left to the
/// host: its kernel may slow down or end a process that makes them.
template <typename T>
inline T* lock_pointer(Core& c, const Insn* i, uint64_t linear) {
    T* p = c.rmw_pointer<T>(i, linear);
    return (linear & 63) + sizeof(T) <= 64 ? p : nullptr;
}

/// A LOCKed *linear = f(*linear) with every other vCPU stopped.
template <typename T, typename F>
[[gnu::noinline, gnu::cold]] void modify_stopped(Core& c, const Insn* i, uint64_t linear, F f) {
    c.stop_the_world([&] {
        const T old = c.load<T>(i, linear);
        c.store<T>(i, linear, f(old));
    });
}

/// Atomic *linear = f(*linear) by compare and exchange. f may run more than once.
template <typename T, typename F>
inline void modify_atomic(Core& c, const Insn* i, uint64_t linear, F f) {
    if (T* p = lock_pointer<T>(c, i, linear)) [[likely]] {
        T old = peek<T>(p);
        while (!__atomic_compare_exchange_n(p, &old, f(old), false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {}
    } else {
        modify_stopped<T>(c, i, linear, f);
    }
}

/// *r/m = f(*r/m), atomic if the instruction has LOCK.
template <typename T, bool Mem, bool Lock, typename F>
[[gnu::always_inline]] inline void modify(Core& c, const Insn* i, F f) {
    if constexpr (Mem && Lock) modify_atomic<T>(c, i, c.address(i, sizeof(T), Acc::Write), f);
    else modify_rm<T, Mem>(c, i, f);
}

/// Calls f with a type tag of the operand size: with_size(i, []<typename T>(T) { return &handler<T>; }).
template <typename F>
inline Handler with_size(const Insn& i, F f) {
    if (i.opsize == 2) return f(uint16_t{});
    return i.opsize == 4 ? f(uint32_t{}) : f(uint64_t{});
}
/// As with_size, where opcodes with bit 0 clear are the byte form.
template <typename F>
inline Handler with_size_or_byte(const Insn& i, F f) {
    return i.opcode & 1 ? with_size(i, f) : f(uint8_t{});
}

}  // namespace yado::cpu_interp
