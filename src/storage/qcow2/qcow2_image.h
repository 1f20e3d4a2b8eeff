// An open qcow2 image.
//
// Reads, and writes of clusters that the image alone has, look their places up and go to the file as they are: no lock, no
// copy. Other writes take the lock of their guest clusters, get new clusters, fill them up with what was there, and change
// the mapping when the data are written. Metadata says when all of that becomes durable.
//
// What contradicts itself is an error of the request that finds it. Found on a write it marks the image corrupt, which then
// takes no writes any more.
#pragma once

#include <memory>

#include "io/gate.h"
#include "storage/format.h"
#include "storage/qcow2/metadata.h"

namespace yado::storage::qcow2 {

class Qcow2Image final : public block::DiskImage, public ChainLink {
  public:
    Qcow2Image(std::unique_ptr<ImageFile> file, const Header& header, OpenOptions options, Metadata::Options metadata);

    /// Before anything else. Errors: Corrupt, Failed.
    io::Task<Result<>> load();
    /// Instead of close(), where load() has failed: nothing is written.
    io::Task<> abandon();

    Bytes size() const override { return Bytes(size_); }
    bool readonly() const override { return file_->readonly(); }
    std::string describe() const override;

    io::Task<Result<>> readv(Bytes offset, std::span<const iovec> into) override;
    io::Task<Result<>> writev(Bytes offset, std::span<const iovec> from) override;
    io::Task<Result<>> flush() override;
    io::Task<Result<>> write_zeroes(Bytes offset, Bytes length, bool unmap) override;
    io::Task<Result<>> discard(Bytes offset, Bytes length) override;
    io::Task<Result<block::Extent>> map(Bytes offset, Bytes length) override;
    io::Task<Result<>> resize(Bytes size) override;
    io::Task<Result<>> close() override;

    // ChainLink
    ImageFile& file() override { return *file_; }
    std::unique_ptr<block::DiskImage>& below() override { return backing_; }
    io::Task<Result<>> settle() override;
    io::Task<Result<>> name_parent(CreateOptions::Parent parent) override;

  private:
    using Pieces = std::span<const iovec>;
    struct Range {
        uint64_t begin, end;
        uint64_t length() const { return end - begin; }
    };
    Result<> inside(Bytes offset, Bytes length) const;
    Result<> writable() const;
    /// Marks the image corrupt if that is what the error says.
    io::Task<Result<>> judged(Result<> result);
    uint64_t cluster_size() const { return metadata_.geometry().cluster_size(); }

    io::Task<Result<>> read_range(Range range, Pieces into);
    io::Task<Result<>> read_run(Run run, uint64_t at, Pieces into);
    io::Task<Result<>> read_file(uint64_t host, Pieces into);
    io::Task<Result<>> read_backing(uint64_t at, Pieces into);
    io::Task<Result<>> read_compressed(Run run, uint64_t at, Pieces into);

    io::Task<Result<>> write_range(Range range, Pieces from);
    io::Task<Result<>> write_in_place(uint64_t host, Pieces from);
    io::Task<Result<uint64_t>> write_new(Range range, Pieces from);
    struct Target;
    io::Task<Result<Target>> find_target(Run run, uint64_t clusters);
    io::Task<Result<>> fill_target(Target target, Run old, Range clusters, Range range, Pieces from);
    io::Task<Result<>> point_to(uint64_t cluster, uint64_t count, uint64_t entry, uint64_t step, bool punch);
    bool reads_zero(const Run& run) const;

    io::Task<Result<>> zero_range(Range range, bool unmap);
    io::Task<Result<>> zero_part(Range range);
    io::Task<Result<>> drop_clusters(Range range, uint64_t entry);
    io::Task<Result<>> discard_range(Range range);
    bool can_be_zero() const { return metadata_.header().version >= 3 || !backing_; }
    /// What an entry becomes that is to read as zeroes and take no space.
    uint64_t empty_entry() const { return backing_ ? ZERO : 0; }

    io::Task<Result<>> shrink(uint64_t size);
    io::Task<Result<>> grow(uint64_t size);
    io::Task<Result<>> grow_l1(uint64_t entries);
    io::Task<Result<>> store_size(uint64_t size);
    io::Task<Result<>> finish();

    std::unique_ptr<ImageFile> file_;
    std::unique_ptr<block::DiskImage> backing_;
    Metadata metadata_;
    uint64_t size_;
    bool discards_;
    RangeLock clusters_;  ///< guest clusters whose mapping is being changed
    io::Gate gate_;
    uint64_t inflated_entry_ = 0;  ///< whose contents inflated_ has; 0: nobody's
    std::vector<std::byte> inflated_;
};

}  // namespace yado::storage::qcow2
