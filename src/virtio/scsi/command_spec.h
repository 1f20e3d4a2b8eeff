// What SCSI disks speak, as far as it is used: SAM-5 (status), SPC-4 (primary commands, sense data), SBC-3 (block commands).
#pragma once

#include <array>
#include <cstdint>
#include <optional>

namespace yado::virtio {

enum class ScsiStatus : uint8_t { Good = 0x00, CheckCondition = 0x02 };  // SAM-5 5.3.1

/// A command descriptor block; shorter ones have zeroes behind them. Multi-byte fields are big-endian.
using Cdb = std::array<uint8_t, 32>;

enum class SenseKey : uint8_t {  // SPC-4 4.5.6
    NoSense = 0x0,
    NotReady = 0x2,
    MediumError = 0x3,
    IllegalRequest = 0x5,
    UnitAttention = 0x6,
    DataProtect = 0x7,
    Miscompare = 0xe,
};

/// Why a command failed.
struct Sense {
    SenseKey key = SenseKey::NoSense;
    uint8_t asc = 0, ascq = 0;          ///< additional sense code and qualifier
    std::optional<uint8_t> cdb_byte{};  ///< where the CDB is wrong (SPC-4 4.5.2.4.2)

    constexpr uint16_t code() const { return static_cast<uint16_t>(asc << 8 | ascq); }
    friend bool operator==(const Sense&, const Sense&) = default;
};

namespace sense {
inline constexpr Sense kNone{};
inline constexpr Sense kStopped{SenseKey::NotReady, 0x04, 0x02};  // initializing command required
inline constexpr Sense kWriteError{SenseKey::MediumError, 0x0c, 0x00}, kReadError{SenseKey::MediumError, 0x11, 0x00};
inline constexpr Sense kListLength{SenseKey::IllegalRequest, 0x1a, 0x00}, kOpcode{SenseKey::IllegalRequest, 0x20, 0x00},
    kOutOfRange{SenseKey::IllegalRequest, 0x21, 0x00}, kNoSuchUnit{SenseKey::IllegalRequest, 0x25, 0x00},
    kListField{SenseKey::IllegalRequest, 0x26, 0x00}, kNotSaved{SenseKey::IllegalRequest, 0x39, 0x00};
inline constexpr Sense kPowerOn{SenseKey::UnitAttention, 0x29, 0x00}, kUnitReset{SenseKey::UnitAttention, 0x29, 0x03},
    kNexusLost{SenseKey::UnitAttention, 0x29, 0x07}, kCapacityChanged{SenseKey::UnitAttention, 0x2a, 0x09};
inline constexpr Sense kWriteProtected{SenseKey::DataProtect, 0x27, 0x00}, kNoSpace{SenseKey::DataProtect, 0x27, 0x07};
inline constexpr Sense kMiscompare{SenseKey::Miscompare, 0x1d, 0x00};
/// Invalid field in CDB.
constexpr Sense cdb_field(uint8_t byte) { return {SenseKey::IllegalRequest, 0x24, 0x00, byte}; }
}  // namespace sense

inline constexpr size_t kSenseBytes = 18;
/// Fixed format, current error (SPC-4 4.5.3).
std::array<uint8_t, kSenseBytes> fixed_sense(const Sense& sense);

enum class Opcode : uint8_t {
    TEST_UNIT_READY = 0x00,
    REQUEST_SENSE = 0x03,
    READ_6 = 0x08,
    WRITE_6 = 0x0a,
    INQUIRY = 0x12,
    MODE_SELECT_6 = 0x15,
    MODE_SENSE_6 = 0x1a,
    START_STOP_UNIT = 0x1b,
    READ_CAPACITY_10 = 0x25,
    READ_10 = 0x28,
    WRITE_10 = 0x2a,
    VERIFY_10 = 0x2f,
    SYNCHRONIZE_CACHE_10 = 0x35,
    WRITE_SAME_10 = 0x41,
    UNMAP = 0x42,
    MODE_SELECT_10 = 0x55,
    MODE_SENSE_10 = 0x5a,
    READ_16 = 0x88,
    WRITE_16 = 0x8a,
    VERIFY_16 = 0x8f,
    SYNCHRONIZE_CACHE_16 = 0x91,
    WRITE_SAME_16 = 0x93,
    SERVICE_ACTION_IN_16 = 0x9e,
    REPORT_LUNS = 0xa0,
    MAINTENANCE_IN = 0xa3,
    READ_12 = 0xa8,
    WRITE_12 = 0xaa,
    VERIFY_12 = 0xaf,
};
inline constexpr uint8_t SAI_READ_CAPACITY_16 = 0x10, MI_REPORT_SUPPORTED_OPERATION_CODES = 0x0c;  // service actions

enum class VpdPage : uint8_t {  // SPC-4 7.8, SBC-3 6.6
    SupportedPages = 0x00,
    SerialNumber = 0x80,
    DeviceIdentification = 0x83,
    BlockLimits = 0xb0,
    BlockDeviceCharacteristics = 0xb1,
    LogicalBlockProvisioning = 0xb2,
};

enum class ModePage : uint8_t { Caching = 0x08, Control = 0x0a, All = 0x3f };           // SBC-3 6.5, SPC-4 7.5
enum class PageControl : uint8_t { Current = 0, Changeable = 1, Default = 2, Saved = 3 };  // SPC-4 6.11

}  // namespace yado::virtio
