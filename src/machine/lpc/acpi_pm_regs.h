// The ICH9's power management block (ICH9 datasheet 13.8.3; ACPI 6.5, 4.8.3) and reset control (ICH9 13.7.5).
#pragma once

#include "base/register.h"

namespace yado::machine {

/// Offsets in the 128-byte block at PMBASE.
inline constexpr unsigned kPm1Status = 0x00, kPm1Enable = 0x02, kPm1Control = 0x04, kPmTimer = 0x08, kGpe0Status = 0x20,
                          kGpe0Enable = 0x28, kSmiEnable = 0x30;
inline constexpr unsigned kPmBlockSize = 128;

/// PM1_STS and PM1_EN share their positions (ACPI 6.5, tables 4.11 and 4.12).
inline constexpr uint16_t kPm1Timer = 1u << 0, kPm1BusMaster = 1u << 4, kPm1Global = 1u << 5, kPm1PowerButton = 1u << 8,
                          kPm1SleepButton = 1u << 9, kPm1Rtc = 1u << 10, kPm1Wake = 1u << 15;
inline constexpr uint16_t kPm1StatusBits =
    kPm1Timer | kPm1BusMaster | kPm1Global | kPm1PowerButton | kPm1SleepButton | kPm1Rtc | kPm1Wake;
inline constexpr uint16_t kPm1EnableBits = kPm1Timer | kPm1Global | kPm1PowerButton | kPm1SleepButton | kPm1Rtc;

struct Pm1Control : Register<Pm1Control, uint16_t> {  // ACPI 6.5, table 4.13
    using Register::Register;
    static constexpr Field<Pm1Control, bool, 0> SCI_EN{};
    static constexpr Field<Pm1Control, uint8_t, 10, 3> SLP_TYP{};
    static constexpr Field<Pm1Control, bool, 13> SLP_EN{};
};
inline constexpr uint16_t kPm1ControlWritable = 0x1c03;  ///< SLP_EN is write-only

/// What software writes to port B2h to hand ACPI over and back.
inline constexpr uint8_t kAcpiEnable = 0x02, kAcpiDisable = 0x03;

struct ResetControlRegister : Register<ResetControlRegister, uint8_t> {
    using Register::Register;
    static constexpr Field<ResetControlRegister, bool, 1> SYS_RST{};
    static constexpr Field<ResetControlRegister, bool, 2> RST_CPU{};
    static constexpr Field<ResetControlRegister, bool, 3> FULL_RST{};
};

}  // namespace yado::machine
