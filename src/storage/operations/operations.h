// What `yado disk` does to images. Every operation opens and locks what it needs, and closes it again.
//
//     convert, compact, clone: make a new file, whole or not at all; the source is only read
//     resize, commit, rebase: change a file in place, in an order that may be cut off anywhere and done again
//
// On the executor's thread. Errors of all: as open_chain's.
#pragma once

#include <optional>
#include <string>

#include "storage/chain/chain.h"
#include "storage/operations/walk.h"

namespace yado::storage {

struct ConvertTarget {
    std::string path;
    std::string format;
    std::optional<Bytes> cluster_size;
    bool preallocated = false;
};
/// A new image, without a parent, with what the source's whole chain shows. Errors: Conflict (the target is there already).
io::Task<Result<>> convert(io::Executor& executor, ChainConfig source, ConvertTarget target, const Control& control);

/// Writes the image anew, without what is no longer used, and puts it in the old one's place. Its parent stays.
/// Errors: Failed (it holds snapshots; its kind has a fixed size).
io::Task<Result<>> compact(io::Executor& executor, ChainConfig image, const Control& control);

struct CloneTarget {
    std::string path;
    std::string format;
};
/// A new image that shows `base` until it is written to. Takes no longer for a large one.
io::Task<Result<>> clone(io::Executor& executor, ChainConfig base, CloneTarget target);

enum class Shrink : uint8_t {
    Refuse,    ///< a smaller size is refused
    IfUnused,  ///< refused where what is cut off is not all zeroes
    Cut,
};
io::Task<Result<>> resize(io::Executor& executor, ChainConfig image, Bytes size, Shrink shrink);

enum class AfterCommit : uint8_t { Empty, Keep };
/// Copies what the image holds into the one below it, which grows if it is smaller; then empties the image.
io::Task<Result<>> commit(io::Executor& executor, ChainConfig image, AfterCommit after, const Control& control);

struct NewBase {
    std::string path;
    std::string format;
};
enum class RebaseMode : uint8_t {
    Safe,        ///< what the image shows stays the same: what differs is copied into it first
    HeaderOnly,  ///< only the name changes; for a base that was moved
};
/// Puts the image on another base, or (nothing) on none.
io::Task<Result<>> rebase(io::Executor& executor, ChainConfig image, std::optional<NewBase> base, RebaseMode mode, const Control& control);

struct Comparison {
    std::optional<Bytes> difference;     ///< the first one
    Bytes left, right;                   ///< sizes
    /// As far as both go, and zeroes beyond.
    bool same() const { return !difference; }
};
io::Task<Result<Comparison>> compare(io::Executor& executor, ChainConfig left, ChainConfig right, const Control& control);

/// What the header says: nothing below it is opened.
io::Task<Result<ImageInfo>> read_info(io::Executor& executor, std::string path, std::string format);
io::Task<Result<CheckReport>> check_image(io::Executor& executor, std::string path, std::string format, Repair repair);
io::Task<Result<>> change_snapshot(io::Executor& executor, std::string path, std::string format, SnapshotVerb verb, std::string which);

}  // namespace yado::storage
