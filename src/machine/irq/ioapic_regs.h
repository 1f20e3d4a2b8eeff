// Intel 82093AA I/O APIC datasheet (290566), section 3; EOI register: ICH9 datasheet 13.5.
#pragma once

#include "base/register.h"

namespace yado::machine {

enum class TriggerMode : uint8_t { Edge = 0, Level = 1 };
enum class DestinationMode : uint8_t { Physical = 0, Logical = 1 };
/// Intel SDM vol. 3, 11.5.1 and 11.6.1; 82093AA 3.2.4.
enum class DeliveryMode : uint8_t {
    Fixed = 0,
    LowestPriority = 1,
    Smi = 2,
    Reserved = 3,
    Nmi = 4,
    Init = 5,
    StartUp = 6,
    ExtInt = 7
};

/// Offsets in the memory window (3.1).
inline constexpr uint64_t kIoRegSel = 0x00, kIoWin = 0x10, kIoEoi = 0x40;
/// Indexes behind IOREGSEL (3.2).
inline constexpr uint8_t kIoApicId = 0x00, kIoApicVer = 0x01, kIoApicArb = 0x02, kIoRedTblFirst = 0x10;

struct IoApicVer : Register<IoApicVer, uint32_t> {  // 3.2.2
    using Register::Register;
    static constexpr Field<IoApicVer, uint8_t, 0, 8> VERSION{};
    static constexpr Field<IoApicVer, uint8_t, 16, 8> MAX_REDIRECTION_ENTRY{};
};

struct IoRedTbl : Register<IoRedTbl, uint64_t> {  // 3.2.4
    using Register::Register;
    static constexpr Field<IoRedTbl, uint8_t, 0, 8> INTVEC{};
    static constexpr Field<IoRedTbl, DeliveryMode, 8, 3> DELMOD{};
    static constexpr Field<IoRedTbl, DestinationMode, 11> DESTMOD{};
    static constexpr Field<IoRedTbl, bool, 12> DELIVS{};
    static constexpr Field<IoRedTbl, bool, 13> INTPOL{};
    static constexpr Field<IoRedTbl, bool, 14> REMOTE_IRR{};
    static constexpr Field<IoRedTbl, TriggerMode, 15> TRIGGER_MODE{};
    static constexpr Field<IoRedTbl, bool, 16> INTERRUPT_MASK{};
    /// Bits 14:8 of a 15-bit destination id, a paravirtual extension (KVM_FEATURE_MSI_EXT_DEST_ID).
    static constexpr Field<IoRedTbl, uint8_t, 49, 7> DESTINATION_EXTENDED{};
    static constexpr Field<IoRedTbl, uint8_t, 56, 8> DESTINATION{};
};
/// What software may change of an entry; the rest is status or reserved.
inline constexpr uint64_t kIoRedTblWritable = 0x1ffffull & ~(IoRedTbl::DELIVS.mask | IoRedTbl::REMOTE_IRR.mask);
inline constexpr uint64_t kIoRedTblWritableHigh = IoRedTbl::DESTINATION_EXTENDED.mask | IoRedTbl::DESTINATION.mask;

}  // namespace yado::machine
