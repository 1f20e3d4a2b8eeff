// National Semiconductor PC16550D datasheet, section 8 (Registers).
#pragma once

#include "base/register.h"

namespace yado::machine {

namespace uart_reg {
inline constexpr unsigned DATA = 0, IER = 1, IIR_FCR = 2, LCR = 3, MCR = 4, LSR = 5, MSR = 6, SCR = 7;
}

struct UartIer : Register<UartIer, uint8_t> {  // 8.7
    using Register::Register;
    static constexpr Field<UartIer, bool, 0> RECEIVED{};
    static constexpr Field<UartIer, bool, 1> TRANSMITTER_EMPTY{};
    static constexpr Field<UartIer, bool, 2> LINE_STATUS{};
    static constexpr Field<UartIer, bool, 3> MODEM_STATUS{};
};
/// IIR bits 3:0, highest priority first (8.6, table IV).
enum class UartInterrupt : uint8_t {
    LineStatus = 0x6,
    Received = 0x4,
    Timeout = 0xc,
    TransmitterEmpty = 0x2,
    ModemStatus = 0x0,
    None = 0x1
};
inline constexpr uint8_t kIirFifos = 0xc0;

struct UartFcr : Register<UartFcr, uint8_t> {  // 8.5
    using Register::Register;
    static constexpr Field<UartFcr, bool, 0> ENABLE{};
    static constexpr Field<UartFcr, bool, 1> RESET_RECEIVER{};
    static constexpr Field<UartFcr, uint8_t, 6, 2> TRIGGER{};
};
inline constexpr uint8_t kFcrKept = 0xc9;

struct UartMcr : Register<UartMcr, uint8_t> {  // 8.8
    using Register::Register;
    static constexpr Field<UartMcr, bool, 0> DTR{};
    static constexpr Field<UartMcr, bool, 1> RTS{};
    static constexpr Field<UartMcr, bool, 2> OUT1{};
    static constexpr Field<UartMcr, bool, 3> OUT2{};
    static constexpr Field<UartMcr, bool, 4> LOOP{};
};

inline constexpr uint8_t kLcrDivisorLatch = 0x80;                                                           // 8.1
inline constexpr uint8_t kLsrDataReady = 0x01, kLsrOverrun = 0x02, kLsrErrors = 0x1e, kLsrEmpty = 0x60;     // 8.4
inline constexpr uint8_t kMsrCts = 0x10, kMsrDsr = 0x20, kMsrRi = 0x40, kMsrDcd = 0x80, kMsrDeltas = 0x0f;  // 8.9

inline constexpr uint64_t kUartClockHz = 1'843'200;

}  // namespace yado::machine
