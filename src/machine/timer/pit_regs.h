// Intel 8254 datasheet (231164), "Programming the 8254"; port 61h: ICH9 datasheet 13.7.1.
#pragma once

#include "base/register.h"

namespace yado::machine {

inline constexpr uint64_t kPitHz = 1'193'182;

enum class PitAccess : uint8_t { Latch = 0, Low = 1, High = 2, LowHigh = 3 };

struct PitControl : Register<PitControl, uint8_t> {
    using Register::Register;
    static constexpr Field<PitControl, bool, 0> BCD{};
    static constexpr Field<PitControl, uint8_t, 1, 3> MODE{};
    static constexpr Field<PitControl, PitAccess, 4, 2> RW{};
    static constexpr Field<PitControl, uint8_t, 6, 2> SELECT{};  // 3: read-back
};

struct PitReadBack : Register<PitReadBack, uint8_t> {
    using Register::Register;
    static constexpr Field<PitReadBack, uint8_t, 1, 3> CHANNELS{};
    static constexpr Field<PitReadBack, bool, 4> NO_STATUS{};
    static constexpr Field<PitReadBack, bool, 5> NO_COUNT{};
};

struct PitStatus : Register<PitStatus, uint8_t> {
    using Register::Register;
    static constexpr Field<PitStatus, uint8_t, 0, 6> CONTROL{};
    static constexpr Field<PitStatus, bool, 6> NULL_COUNT{};
    static constexpr Field<PitStatus, bool, 7> OUTPUT{};
};

struct SystemControlB : Register<SystemControlB, uint8_t> {  // port 61h
    using Register::Register;
    static constexpr Field<SystemControlB, bool, 0> GATE2{};
    static constexpr Field<SystemControlB, bool, 1> SPEAKER{};
    static constexpr Field<SystemControlB, bool, 4> REFRESH_TOGGLE{};
    static constexpr Field<SystemControlB, bool, 5> OUT2{};
};

}  // namespace yado::machine
