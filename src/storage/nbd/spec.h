// The NBD protocol's numbers, as its specification spells them (NetworkBlockDevice/nbd, doc/proto.md). All are big-endian on the wire.
#pragma once

#include <cstddef>
#include <cstdint>

namespace yado::storage::nbd {

inline constexpr uint64_t NBDMAGIC = 0x4e42444d41474943;
inline constexpr uint64_t IHAVEOPT = 0x49484156454f5054;
inline constexpr uint64_t NBD_REP_MAGIC = 0x0003e889045565a9;
inline constexpr uint32_t NBD_REQUEST_MAGIC = 0x25609513;
inline constexpr uint32_t NBD_SIMPLE_REPLY_MAGIC = 0x67446698;
inline constexpr uint32_t NBD_STRUCTURED_REPLY_MAGIC = 0x668e33ef;

inline constexpr uint16_t NBD_FLAG_FIXED_NEWSTYLE = 1, NBD_FLAG_NO_ZEROES = 2;
inline constexpr uint32_t NBD_FLAG_C_FIXED_NEWSTYLE = 1, NBD_FLAG_C_NO_ZEROES = 2;

enum class Option : uint32_t {
    EXPORT_NAME = 1,
    ABORT = 2,
    LIST = 3,
    INFO = 6,
    GO = 7,
    STRUCTURED_REPLY = 8,
    LIST_META_CONTEXT = 9,
    SET_META_CONTEXT = 10,
};

enum class OptionReply : uint32_t {
    ACK = 1,
    SERVER = 2,
    INFO = 3,
    META_CONTEXT = 4,
    ERR_UNSUP = 0x80000001,
    ERR_INVALID = 0x80000003,
    ERR_UNKNOWN = 0x80000006,
};

enum class Info : uint16_t { EXPORT = 0, NAME = 1, BLOCK_SIZE = 3 };

/// Transmission flags.
inline constexpr uint16_t NBD_FLAG_HAS_FLAGS = 1 << 0, NBD_FLAG_READ_ONLY = 1 << 1, NBD_FLAG_SEND_FLUSH = 1 << 2, NBD_FLAG_SEND_FUA = 1 << 3,
                          NBD_FLAG_SEND_TRIM = 1 << 5, NBD_FLAG_SEND_WRITE_ZEROES = 1 << 6, NBD_FLAG_SEND_DF = 1 << 7,
                          NBD_FLAG_CAN_MULTI_CONN = 1 << 8;

enum class Command : uint16_t { READ = 0, WRITE = 1, DISC = 2, FLUSH = 3, TRIM = 4, WRITE_ZEROES = 6, BLOCK_STATUS = 7 };
inline constexpr uint16_t NBD_CMD_FLAG_FUA = 1 << 0, NBD_CMD_FLAG_NO_HOLE = 1 << 1, NBD_CMD_FLAG_DF = 1 << 2, NBD_CMD_FLAG_REQ_ONE = 1 << 3;

inline constexpr uint16_t NBD_REPLY_FLAG_DONE = 1;
enum class Chunk : uint16_t { NONE = 0, OFFSET_DATA = 1, BLOCK_STATUS = 5, ERROR = 0x8001 };

/// Of base:allocation.
inline constexpr uint32_t NBD_STATE_HOLE = 1, NBD_STATE_ZERO = 2;

enum class ErrorNumber : uint32_t { OK = 0, PERM = 1, IO = 5, INVAL = 22, NOSPC = 28 };

/// magic 4, flags 2, type 2, cookie 8, offset 8, length 4
inline constexpr size_t kRequestBytes = 28;
/// magic 8, option 4, length 4
inline constexpr size_t kOptionBytes = 16;
/// What follows size and flags in the answer to EXPORT_NAME, unless NO_ZEROES.
inline constexpr size_t kExportNameZeroes = 124;

inline constexpr const char* kBaseAllocation = "base:allocation";
inline constexpr uint32_t kBaseAllocationId = 1;
/// The longest string.
inline constexpr uint32_t kMaxString = 4096;

/// What our server asks of requests, and bounds them to: multiples of a sector, and what every client may assume of every server.
inline constexpr uint32_t kBlockBytes = 512, kPreferredBytes = 64 << 10, kMaxPayload = 32 << 20;

}  // namespace yado::storage::nbd
