// A disk of a running guest: the image that --disk names, and over it what may be done to it while the guest runs.
//
//     device --> limits --> requests that failed are kept back --> policy --> switch --> images
//
// Executor's thread.
#pragma once

#include <functional>
#include <memory>

#include "block/attachment.h"
#include "io/gate.h"
#include "storage/disk.h"
#include "storage/live/held_requests.h"
#include "storage/live/switch_image.h"
#include "storage/live/throttle.h"
#include "storage/operations/walk.h"

namespace yado::storage {

enum class OnError : uint8_t {
    Pause,   ///< a request that the host failed for want of space or by an I/O error is kept back; somebody pauses the guest
    Report,  ///< the guest is told
};

struct LiveConfig {
    DiskConfig disk;
    OnError on_error = OnError::Pause;
    HeldRequests::Tell kept_back;  ///< a request is kept back: the guest is to be paused
    Limits limits;
};

/// What a live snapshot made of a disk.
struct SnapshotMade {
    std::string base;    ///< has what the disk showed at that moment, and is not written any more
    std::string active;  ///< has what is written from then on
    std::string format;  ///< of `active`
    Nanoseconds stall{0};  ///< how long requests had to wait
};

class LiveDisk final : public block::DiskImage, public block::Attachment {
  public:
    /// Errors: as open_disk's.
    static io::Task<Result<std::unique_ptr<LiveDisk>>> open(io::Executor& executor, LiveConfig config);
    ~LiveDisk() override;

    // block::DiskImage
    Bytes size() const override { return image_->size(); }
    bool readonly() const override { return image_->readonly(); }
    std::string describe() const override { return image_->describe(); }
    io::Task<Result<>> readv(Bytes offset, std::span<const iovec> into) override;
    io::Task<Result<>> writev(Bytes offset, std::span<const iovec> from) override;
    io::Task<Result<>> flush() override { return image_->flush(); }
    io::Task<Result<>> write_zeroes(Bytes offset, Bytes length, bool unmap) override;
    io::Task<Result<>> discard(Bytes offset, Bytes length) override;
    io::Task<Result<block::Extent>> map(Bytes offset, Bytes length) override { return image_->map(offset, length); }
    io::Task<Result<>> resize(Bytes size) override { return image_->resize(size); }
    /// A commit under way is cut off.
    io::Task<Result<>> close() override;

    // block::Attachment
    void attached(std::function<void(size_t)> resting) override;
    void pausing() override { throttle_.open(); }
    void resumed() override;
    void detached() override;

    void change_limits(Limits limits) { throttle_.change(limits); }
    const Limits& limits() const { return throttle_.limits(); }
    const Throttle::Counters& throttle_counters() const { return throttle_.counters(); }

    // A live snapshot, in steps, so that several disks can be taken at one moment:
    //
    //     prepare --> halt (all) --> switch over (all) --> go (all)          prepared --abandon--> as before
    //
    // The file takes the snapshot's name, and an empty image over it the file's: STEM.NAME.EXT and STEM.qcow2 (STEM.vhd
    // of a VHD). At every moment what has the disk's name shows all that was written.

    /// Makes and names the files; the guest still writes to the old one. Errors: Usage (the name; nothing is kept of this
    /// disk), Conflict (a name is taken; an operation is under way), Failed (a server's, a block device).
    io::Task<Result<>> prepare_snapshot(std::string name);
    io::Task<> abandon_snapshot();
    io::Task<> halt();
    void switch_over();
    void go();
    /// After go(): the old file is durable, and others may read it. Errors: as flush(); the next flush tries again.
    io::Task<Result<SnapshotMade>> finish_snapshot();

    /// Folds what the image holds into the one below it, while the guest goes on; what it writes meanwhile is in a new, small
    /// image in the old one's place. What is cut off leaves a longer chain that shows the same, and the next commit goes on
    /// with it. Errors: Usage (nothing is below), Conflict (somebody uses what is below), Failed (the formats).
    io::Task<Result<>> commit(Control control);

    /// From the top down; empty for a disk whose writes are thrown away.
    const std::vector<Layer>& layers() const { return layers_; }

  private:
    LiveDisk(io::Executor& executor, LiveConfig config);
    struct Prepared;
    class Busy;
    Result<Busy> begin();
    io::Task<Result<>> prepare(std::string name);
    io::Task<Result<>> make_snapshot_files(Prepared& files);
    io::Task<Result<>> open_overlay(Prepared& files);
    static void take_names_back(const Prepared& files);

    io::Task<Result<>> cover_top();
    io::Task<Result<>> make_base_writable(size_t at);
    io::Task<Result<>> fold_down(Control control);
    io::Task<Result<>> leave_out_middle();
    io::Task<Result<>> open_base_for_writing(size_t at);
    Result<> check_committable() const;
    bool begun() const;
    std::string middle_path() const;

    io::Executor& executor_;
    const LiveConfig config_;
    io::Gate operations_;
    bool busy_ = false, closing_ = false;
    std::vector<Layer> layers_;
    std::unique_ptr<Prepared> prepared_;
    Throttle throttle_;
    HeldRequests held_;  ///< outlives image_
    SwitchImage* switch_ = nullptr;
    std::unique_ptr<block::DiskImage> image_;
};

}  // namespace yado::storage
