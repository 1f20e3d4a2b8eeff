// One image format: how its files are made, opened, described and checked. A folder under src/storage each; formats.cpp
// lists them. What a header says of other files (a backing file, a parent) is a claim: a format reports it and compares
// it, and never opens anything by it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "block/disk_image.h"
#include "storage/file/image_file.h"

namespace yado::storage {

/// The image below, as a header names it.
struct BackingClaim {
    std::string path;    ///< as written there: hostile
    std::string format;  ///< empty where the header does not say: such a claim is never followed. VHD, VHDX: their own name
};

struct Snapshot {
    std::string id, name;
    Bytes disk_size;
    Bytes vm_state_size;
    int64_t seconds = 0;  ///< since 1970
};

struct ImageInfo {
    std::string format;
    std::string variant;  ///< "version 3", "dynamic", ...
    Bytes size;           ///< as the guest sees it
    std::optional<Bytes> cluster_size;
    std::optional<BackingClaim> backing;
    std::vector<Snapshot> snapshots;
    std::vector<std::pair<std::string, std::string>> details;  ///< more for `yado disk info`: key, value
};

struct OpenOptions {
    /// What shows through where the image holds nothing; read-only. The caller has compared it with the claim.
    std::unique_ptr<block::DiskImage> backing;
    /// What identifies the parent for formats that check it (VHD, VHDX): its unique id as ImageInfo's detail "id" has it.
    std::string backing_id;
    bool discard = true;  ///< whether discards give space back
};

struct CreateOptions {
    Bytes size;
    std::optional<Bytes> cluster_size;
    bool preallocated = false;  ///< VHD and VHDX: fixed; raw: space reserved
    struct Parent {
        std::string path;    ///< as it is to be written into the header
        std::string format;
        std::string id;      ///< ImageInfo's detail "id" of the parent, where it has one
        int64_t modified_seconds = 0;  ///< since 1970, of the parent's file
    };
    std::optional<Parent> parent;
};

/// What an open image lets be done to its place in a chain while a guest uses it. Executor's thread.
class ChainLink {
  public:
    virtual ~ChainLink() = default;
    virtual ImageFile& file() = 0;
    /// What shows through; to be exchanged for another that shows the same, while nothing is in flight.
    virtual std::unique_ptr<block::DiskImage>& below() = 0;
    /// All that was written is on the disk, and nothing left to be done by close(). Nothing is written meanwhile.
    virtual io::Task<Result<>> settle() = 0;
    /// settle(), and nothing is written any more; others may read the file.
    io::Task<Result<>> become_base();
    /// Format::set_backing of the open image. Nothing is in flight. Errors: as there.
    virtual io::Task<Result<>> name_parent(CreateOptions::Parent parent);
};
/// Every format's images are one. nullptr: a layer over images (snapshot=on, a policy).
ChainLink* chain_link(block::DiskImage& image);

enum class SnapshotVerb : uint8_t { Create, Delete, Rollback };

enum class Repair : uint8_t { No, Leaks, All };

struct CheckReport {
    uint64_t errors = 0;         ///< found, and still there
    uint64_t leaks = 0;          ///< clusters or blocks that nobody refers to, still there
    uint64_t repaired = 0;
    uint64_t allocated = 0, total = 0;  ///< in clusters or blocks
    std::vector<std::string> findings;  ///< a line each; at most kMaxFindings, the counts go on
    static constexpr size_t kMaxFindings = 100;
    void note(std::string text) {
        if (findings.size() < kMaxFindings) findings.push_back(std::move(text));
    }
    void problem(std::string text) {
        ++errors;
        note(std::move(text));
    }
};

/// Corrupt: the first finding, and how many more there are. For a report with errors.
std::unexpected<Error> fail_damaged(const ImageFile& file, const CheckReport& report);

class Format {
  public:
    virtual ~Format() = default;
    virtual std::string_view name() const = 0;

    /// Takes the file in any case; on failure it is closed. Errors: Corrupt (not such an image, damaged), Failed (a
    /// feature that we do not have; a backing image is named and none was given, or the reverse).
    io::Task<Result<std::unique_ptr<block::DiskImage>>> open(std::unique_ptr<ImageFile> file, OpenOptions options) const;
    /// Writes an empty image into an empty file, and syncs. Errors: Usage (a size or option that the format cannot have).
    virtual io::Task<Result<>> create(ImageFile& file, const CreateOptions& options) const = 0;
    /// What the headers say, checked for sense. Errors: as open().
    virtual io::Task<Result<ImageInfo>> info(ImageFile& file) const = 0;
    /// Walks all metadata. Errors: Corrupt where the headers cannot be understood at all.
    virtual io::Task<Result<CheckReport>> check(ImageFile& file, Repair repair) const = 0;

    /// Makes the header name another parent, or none, and syncs; no other byte of what the image holds changes. For an image
    /// that nobody has open. The new name is written so that a crash leaves the old claim or the new one, never half of one:
    /// in place where the header fits a sector, else into fresh space that the header is then pointed to. A format
    /// that keeps the parent's id or time stamp writes those as well. Errors: Failed (no parents, no room in the header).
    virtual io::Task<Result<>> set_backing(ImageFile& file, const std::optional<CreateOptions::Parent>& parent) const;
    /// Internal snapshots of an image that nobody has open: `which` is a name, or (except for Create) an id. What there is
    /// comes from info(). Errors: Failed (the format has none), NotFound, Conflict (the name is taken).
    virtual io::Task<Result<>> snapshot(ImageFile& file, SnapshotVerb verb, const std::string& which) const;

  private:
    /// open() without the closing: moves from its parameters what the image owns, or has closed itself.
    virtual io::Task<Result<std::unique_ptr<block::DiskImage>>> do_open(std::unique_ptr<ImageFile>& file, OpenOptions& options) const = 0;
};

/// Errors: Usage (names those that there are).
Result<const Format*> find_format(std::string_view name);
const std::vector<const Format*>& all_formats();
/// One more: for tests, which have a format of their own. Before anything else looks at the list.
void add_format(const Format& format);

}  // namespace yado::storage
