// The firmware configuration device (QEMU docs/specs/fw_cfg).
#pragma once

#include <cstddef>

#include "base/register.h"

namespace yado::machine {

/// Item keys.
inline constexpr uint16_t kFwCfgSignature = 0x00, kFwCfgId = 0x01, kFwCfgFileDirectory = 0x19, kFwCfgFirstFile = 0x20;
inline constexpr uint16_t kFwCfgKeyMask = 0x3fff;
inline constexpr uint32_t kFwCfgTraditional = 1, kFwCfgDma = 2;
/// What the DMA address register reads: "QEMU CFG".
inline constexpr uint64_t kFwCfgDmaSignature = 0x51454d5520434647;
inline constexpr size_t kFwCfgNameSize = 56;

/// The control word of a DMA descriptor (big-endian, followed by length and address).
struct FwCfgDmaControl : Register<FwCfgDmaControl, uint32_t> {
    using Register::Register;
    static constexpr Field<FwCfgDmaControl, bool, 0> ERROR{};
    static constexpr Field<FwCfgDmaControl, bool, 1> READ{};
    static constexpr Field<FwCfgDmaControl, bool, 2> SKIP{};
    static constexpr Field<FwCfgDmaControl, bool, 3> SELECT{};
    static constexpr Field<FwCfgDmaControl, bool, 4> WRITE{};
    static constexpr Field<FwCfgDmaControl, uint16_t, 16, 16> KEY{};
};
inline constexpr size_t kFwCfgDescriptorSize = 16;

}  // namespace yado::machine
