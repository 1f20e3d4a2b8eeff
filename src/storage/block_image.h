// A disk cut into blocks of one size that lie anywhere in a file, or nowhere: what VHD, VHDX and VMDK have in common. A format
// says where a block is, makes new ones, and writes its tables; reading, writing, zeroes and maps are made of that here.
//
// New blocks are known in memory first. The tables in the file learn of them in write_tables(), by flush(), close(), or when
// kMostPending have gathered: data first, then a sync, then what refers to it. So a crash leaves what the last flush left, and
// what was written since is there or not.
//
// Executor's thread only.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "block/disk_image.h"
#include "io/gate.h"
#include "storage/format.h"
#include "storage/range_lock.h"

namespace yado::storage {

class BlockImage : public block::DiskImage, public ChainLink {
  public:
    Bytes size() const override { return size_; }
    bool readonly() const override { return file_->readonly(); }
    std::string describe() const override;

    io::Task<Result<>> readv(Bytes offset, std::span<const iovec> into) override;
    io::Task<Result<>> writev(Bytes offset, std::span<const iovec> from) override;
    io::Task<Result<>> flush() override;
    io::Task<Result<>> write_zeroes(Bytes offset, Bytes length, bool unmap) override;
    io::Task<Result<>> discard(Bytes offset, Bytes length) override;
    io::Task<Result<block::Extent>> map(Bytes offset, Bytes length) override;
    io::Task<Result<>> close() override;

    // ChainLink
    ImageFile& file() override { return *file_; }
    std::unique_ptr<block::DiskImage>& below() override { return options_.backing; }
    io::Task<Result<>> settle() override;

  protected:
    /// A range of the disk that lies in one piece.
    struct Run {
        enum class Kind : uint8_t {
            Own,     ///< in the file, at `where`
            Zero,
            Below,   ///< in the backing image; zeroes if there is none
            Packed,  ///< compressed, at `where`; read_packed() knows more
        };
        Kind kind = Kind::Below;
        uint64_t where = 0;
        uint64_t length = 0;
    };

    /// `kind` begins what describe() says.
    BlockImage(std::unique_ptr<ImageFile> file, OpenOptions options, std::string kind, Bytes size, uint64_t block_size);

    /// What lies at `at`: a run of at most `length` bytes, never 0.
    virtual io::Task<Result<Run>> find(uint64_t at, uint64_t length) = 0;
    virtual io::Task<Result<>> read_packed(const Run& run, uint64_t at, std::span<const iovec> into);

    /// Where a block's data is in the file, if it has a place.
    virtual std::optional<uint64_t> place_of(uint64_t block) const = 0;
    /// A place for a block's data that reads as zeroes; nothing in the file refers to it yet.
    virtual io::Task<Result<uint64_t>> allocate();
    /// What allocate() gave is not needed: it may have been written to.
    virtual void give_back(uint64_t place) { (void)place; }
    /// The block is at `place` from now on, in memory; write_tables() is to write it down.
    virtual void enter(uint64_t block, uint64_t place) { (void)block, (void)place; }
    /// A range inside one block, which has a place, has been written.
    virtual io::Task<Result<>> mark(uint64_t at, uint64_t length);
    /// Before anything of the image is changed for the first time.
    virtual io::Task<Result<>> begin_writing();
    /// How many changes wait for write_tables().
    virtual size_t pending() const { return 0; }
    /// Syncs the data, then writes down what is pending, durably. One caller at a time.
    virtual io::Task<Result<>> write_tables();
    /// The last thing before the file is closed; all is written down. Not called for what was never written to.
    virtual io::Task<Result<>> finish();

    io::Task<Result<>> commit();
    uint64_t block_of(uint64_t at) const { return at / block_size_; }
    std::unexpected<Error> fail_readonly() const;

    std::unique_ptr<ImageFile> file_;
    OpenOptions options_;  ///< with the backing image, if any
    std::string kind_;
    Bytes size_;
    uint64_t block_size_;

  private:
    static constexpr size_t kMostPending = 64;

    io::Task<Result<>> prepare(Bytes offset, Bytes length);
    io::Task<Result<>> write_part(uint64_t at, std::span<const iovec> from);
    io::Task<Result<>> write_new(uint64_t at, uint64_t length, std::span<const iovec> from);
    io::Task<Result<>> zero_part(uint64_t at, uint64_t length, bool unmap);
    io::Task<Result<>> commit_if_many();
    io::Task<Result<>> write_all_down();

    RangeLock blocks_;   ///< held by who gives a block its place
    RangeLock tables_;   ///< {0, 1}: held by who writes tables or begins to write
    bool writing_ = false;
    io::Gate gate_;
};

}  // namespace yado::storage
