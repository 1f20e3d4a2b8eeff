// The sixteen conditions of Jcc, SETcc, CMOVcc on Core::aflags. SDM vol. 1, appendix B.
#pragma once

#include <array>
#include <utility>

#include "cpu_interp/core.h"

namespace yado::cpu_interp {

template <unsigned Condition>
[[gnu::always_inline]] inline bool holds(unsigned f) {
    constexpr unsigned kind = Condition >> 1;
    bool yes;
    if constexpr (kind == 0) yes = f & hflags::OF;
    if constexpr (kind == 1) yes = f & hflags::CF;
    if constexpr (kind == 2) yes = f & hflags::ZF;
    if constexpr (kind == 3) yes = f & (hflags::CF | hflags::ZF);
    if constexpr (kind == 4) yes = f & hflags::SF;
    if constexpr (kind == 5) yes = f & hflags::PF;
    if constexpr (kind == 6) yes = (f >> 15 ^ f) & 1;
    if constexpr (kind == 7) yes = ((f >> 15 ^ f) & 1) | (f & hflags::ZF);
    return yes != (Condition & 1);
}

/// An array of sixteen: make.operator()<0>() to make.operator()<15>().
template <typename F>
constexpr auto for_each_condition(F make) {
    return [&]<size_t... N>(std::index_sequence<N...>) {
        return std::array{make.template operator()<N>()...};
    }(std::make_index_sequence<16>());
}

}  // namespace yado::cpu_interp
