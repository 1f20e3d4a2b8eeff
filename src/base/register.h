// Hardware registers as types. A register names its storage and its fields; a field knows its register, position and
// value type:
//     struct IoRedTbl : Register<IoRedTbl, uint64_t> {
//         static constexpr Field<IoRedTbl, uint8_t, 0, 8> INTVEC{};
//         static constexpr Field<IoRedTbl, bool, 16> INTERRUPT_MASK{};
//     };
//     IoRedTbl r(raw); if (r.get(IoRedTbl::INTERRUPT_MASK)) ...; r.set(IoRedTbl::INTVEC, 0x30);
#pragma once

#include <cstdint>
#include <type_traits>

namespace yado {

template <typename Reg, typename T, unsigned Low, unsigned Width = 1>
struct Field {
    using Owner = Reg;
    using Type = T;
    static constexpr unsigned low = Low;
    static constexpr unsigned width = Width;
    static constexpr uint64_t mask = (Width >= 64 ? ~0ull : (1ull << Width) - 1) << Low;
};

template <typename Derived, typename Storage>
struct Register {
    using Raw = Storage;
    Storage raw = 0;
    constexpr Register() = default;
    constexpr explicit Register(Storage value) : raw(value) {}

    template <typename F>
    constexpr typename F::Type get(F) const {
        static_assert(std::is_same_v<typename F::Owner, Derived>, "field of another register");
        return static_cast<typename F::Type>((raw & F::mask) >> F::low);
    }
    template <typename F>
    constexpr void set(F, typename F::Type value) {
        static_assert(std::is_same_v<typename F::Owner, Derived>, "field of another register");
        raw = static_cast<Storage>((raw & ~F::mask) | ((static_cast<uint64_t>(value) << F::low) & F::mask));
    }
    friend constexpr bool operator==(const Register&, const Register&) = default;
};

}  // namespace yado
