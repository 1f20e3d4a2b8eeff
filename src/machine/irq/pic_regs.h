// Intel 8259A datasheet (231468), "Programming the 8259A"; ELCR: ICH9 datasheet 13.4.11, 13.4.12.
#pragma once

#include "base/register.h"

namespace yado::machine {

/// Bits that tell the three kinds of write to the command port apart.
inline constexpr uint8_t kIcw1Marker = 0x10, kOcw3Marker = 0x08;

struct Icw1 : Register<Icw1, uint8_t> {
    using Register::Register;
    static constexpr Field<Icw1, bool, 0> IC4{};
    static constexpr Field<Icw1, bool, 1> SNGL{};
};

struct Icw4 : Register<Icw4, uint8_t> {
    using Register::Register;
    static constexpr Field<Icw4, bool, 1> AEOI{};
    static constexpr Field<Icw4, bool, 4> SFNM{};
};

/// OCW2 bits 7:5: R, SL, EOI.
enum class Ocw2Command : uint8_t {
    ClearRotateInAutoEoi = 0,
    NonSpecificEoi = 1,
    NoOperation = 2,
    SpecificEoi = 3,
    SetRotateInAutoEoi = 4,
    RotateOnNonSpecificEoi = 5,
    SetPriority = 6,
    RotateOnSpecificEoi = 7,
};
struct Ocw2 : Register<Ocw2, uint8_t> {
    using Register::Register;
    static constexpr Field<Ocw2, uint8_t, 0, 3> LEVEL{};
    static constexpr Field<Ocw2, Ocw2Command, 5, 3> COMMAND{};
};

struct Ocw3 : Register<Ocw3, uint8_t> {
    using Register::Register;
    static constexpr Field<Ocw3, bool, 0> RIS{};
    static constexpr Field<Ocw3, bool, 1> RR{};
    static constexpr Field<Ocw3, bool, 2> P{};
    static constexpr Field<Ocw3, bool, 5> SMM{};
    static constexpr Field<Ocw3, bool, 6> ESMM{};
};

/// Inputs that may be level-triggered: not the timer, keyboard, cascade, RTC or FERR# (ICH9 13.4.11).
inline constexpr uint8_t kElcrMaster = 0xf8, kElcrSlave = 0xde;
inline constexpr unsigned kCascade = 2;

}  // namespace yado::machine
