// The header of a qcow2 image: read, checked for sense against the file's size and our bounds, and changed in place.
// What is changed lies in the first 512 bytes, which are written as one: a crash leaves the old header or the new one.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "storage/file/image_file.h"
#include "storage/format.h"
#include "storage/qcow2/spec.h"
#include "storage/range_lock.h"

namespace yado::storage::qcow2 {

enum class Compression : uint8_t { Zlib = 0, Zstd = 1 };

struct BitmapsExtension {
    uint32_t count = 0;
    uint64_t directory_size = 0, directory_offset = 0;
    bool consistent = false;  ///< the autoclear bit is set
};

struct Header {
    uint32_t version = 3;
    Geometry geometry;
    uint64_t size = 0;
    uint32_t l1_size = 0;
    uint64_t l1_offset = 0;
    uint64_t refcount_table_offset = 0;
    uint32_t refcount_table_clusters = 0;
    uint32_t snapshot_count = 0;
    uint64_t snapshots_offset = 0;
    uint64_t incompatible = 0, autoclear = 0;
    Compression compression = Compression::Zlib;
    std::optional<BackingClaim> backing;
    std::optional<BitmapsExtension> bitmaps;

    bool dirty() const { return incompatible & DIRTY; }
    bool corrupt() const { return incompatible & CORRUPT; }
};

/// A format's name as headers have it, which is QEMU's: a VHD is "vpc" there.
std::string_view name_in_header(std::string_view format);
std::string_view name_from_header(std::string_view text);

/// Errors: Corrupt (no qcow2 image, or damaged), Failed (a feature that we do not have, named).
io::Task<Result<Header>> read_header(ImageFile& file);

/// Writes an image's header fields.
class HeaderSector {
  public:
    explicit HeaderSector(ImageFile& file) : file_(file) {}

    io::Task<Result<>> load();
    void set32(uint64_t at, uint32_t value) { store_be(sector_.data() + at, value); }
    void set64(uint64_t at, uint64_t value) { store_be(sector_.data() + at, value); }
    /// Writes what was set, and syncs. What is durable before is the caller's affair.
    io::Task<Result<>> store();
    /// Moves the refcount table; if that fails the old place stays.
    io::Task<Result<>> set_refcount_table(uint64_t old_offset, uint64_t old_clusters, uint64_t offset, uint64_t clusters);

  private:
    ImageFile& file_;
    std::array<std::byte, 512> sector_{};
    RangeLock lock_;
};

/// "disk NAME: damaged qcow2 image: WHAT".
template <typename... Args>
std::unexpected<Error> damaged(const ImageFile& file, fmt::format_string<Args...> format, Args&&... args) {
    return fail(ErrorKind::Corrupt, "disk {}: damaged qcow2 image: {}", file.name(), fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace yado::storage::qcow2
