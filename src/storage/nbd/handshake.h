// The server's half of the fixed newstyle handshake, up to where requests begin.
//
//     greeting, client flags --> options, each answered --> EXPORT_NAME or GO: requests; ABORT, too many, garbage: the end
#pragma once

#include <string>

#include "base/units.h"
#include "storage/nbd/stream.h"

namespace yado::storage::nbd {

/// What is offered. There is one export; a client that names none means it.
struct Export {
    std::string name;
    Bytes size;
    bool readonly = false;
};

/// What a client chose.
struct Agreement {
    bool structured_replies = false;
    bool block_status = false;  ///< base:allocation
};

inline constexpr unsigned kMaxOptions = 256;
/// What an option may hold. A longer one ends the connection.
inline constexpr uint32_t kMaxOptionBytes = 16384;

/// The export is chosen when it returns. Errors: Unreachable (gone, or said ABORT), Corrupt (not the protocol, or beyond the bounds).
io::Task<Result<Agreement>> shake_hands(Stream& stream, const Export& offered);

}  // namespace yado::storage::nbd
