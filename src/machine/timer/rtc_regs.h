// Motorola MC146818A datasheet: registers A to D and the alarm's "don't care".
#pragma once

#include "base/register.h"

namespace yado::machine {

namespace rtc_reg {
inline constexpr unsigned SECONDS = 0, SECONDS_ALARM = 1, MINUTES = 2, MINUTES_ALARM = 3, HOURS = 4, HOURS_ALARM = 5,
                          DAY_OF_WEEK = 6, DAY_OF_MONTH = 7, MONTH = 8, YEAR = 9, A = 10, B = 11, C = 12, D = 13,
                          CENTURY = 0x32;
}

struct RtcA : Register<RtcA, uint8_t> {
    using Register::Register;
    static constexpr Field<RtcA, uint8_t, 0, 4> RS{};
    static constexpr Field<RtcA, uint8_t, 4, 3> DV{};
    static constexpr Field<RtcA, bool, 7> UIP{};
};
struct RtcB : Register<RtcB, uint8_t> {
    using Register::Register;
    static constexpr Field<RtcB, bool, 1> HOURS24{};
    static constexpr Field<RtcB, bool, 2> BINARY{};
    static constexpr Field<RtcB, bool, 7> SET{};
};
/// PIE, AIE, UIE in B are at the bits of PF, AF, UF in C.
inline constexpr uint8_t kRtcUpdate = 0x10, kRtcAlarm = 0x20, kRtcPeriodic = 0x40, kRtcIrq = 0x80;
inline constexpr uint8_t kRtcSources = kRtcUpdate | kRtcAlarm | kRtcPeriodic;
inline constexpr uint8_t kRtcValidRamAndTime = 0x80;  ///< D
/// Divider values 110 and 111 hold the divider in reset.
constexpr bool divider_in_reset(RtcA a) { return a.get(RtcA::DV) >= 6; }

}  // namespace yado::machine
