// The log of a VHDX ([MS-VHDX] 2.3): finding what is to be replayed, and making entries.
#pragma once

#include <optional>
#include <vector>

#include "base/bytes.h"
#include "storage/file/image_file.h"
#include "storage/vhdx/spec.h"

namespace yado::storage::vhdx {

/// What replay does to one range of the file: `data`, or zeroes if there is none.
struct Patch {
    uint64_t offset = 0, length = 0;
    std::vector<std::byte> data;
};

struct Replay {
    std::vector<Patch> patches;     ///< in order
    uint64_t flushed_size = 0;      ///< the file was at least as large
    uint64_t last_size = 0;         ///< and is to be
};

struct LogPlace {
    uint64_t offset = 0, length = 0;
    Uuid guid;  ///< zero: the log is empty
};

/// Reads the log and finds its active sequence (2.3.3). The place lies inside the file. Errors: Corrupt (none; too much work).
io::Task<Result<Replay>> find_replay(ImageFile& file, const LogPlace& place);

/// An update of 4 KiB of the file.
struct Update {
    uint64_t offset;
    std::vector<std::byte> sector;
};
/// The bytes of an entry that is the only one of its sequence: its tail is `position` in the log, where it is to be written.
std::vector<std::byte> make_entry(const Uuid& log_guid, uint64_t sequence, uint32_t position, std::span<const Update> updates,
                                  uint64_t flushed_size, uint64_t last_size);
/// Of make_entry's.
constexpr uint64_t entry_length(size_t updates) {
    const uint64_t descriptors = (log::kHeaderSize + updates * log::kDescriptorSize + kLogSector - 1) / kLogSector;
    return (descriptors + updates) * kLogSector;
}

}  // namespace yado::storage::vhdx
