// The row that each command has in the table of opcodes.
#pragma once

#include "virtio/scsi/scsi_disk.h"

namespace yado::virtio {

struct ScsiDisk::Command {
    /// What the CDB says of the data.
    enum class Data : uint8_t {
        None,
        Allocation,      ///< in, at most as many bytes as a field says
        List,            ///< out, as many bytes as a field says
        Capacity,        ///< in, 8 bytes
        BlocksIn,
        BlocksOut,
        BlocksCompared,  ///< out where BYTCHK is set
        OneBlock,        ///< out, unless NDOB is set
    };
    /// A big-endian number in the CDB.
    struct Field {
        uint8_t at = 0, size = 0;
    };
    static constexpr uint16_t kNoAction = 0xffff;

    Opcode opcode;
    uint16_t action;
    uint8_t length;
    Data data;
    Field count;  ///< of Allocation and List
    bool before_attention;  ///< carried out although a unit attention waits
    bool medium;            ///< not while the unit is stopped
    bool ranged;            ///< its blocks have to be there
    bool writes;
    Handler handler;
    /// Bits of the CDB that may be set (SPC-4 6.34.3: CDB usage data); byte 0 is the opcode's.
    std::array<uint8_t, 16> usage;
};

}  // namespace yado::virtio
