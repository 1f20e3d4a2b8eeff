// The disks of a guest: what --disk names, opened and locked, and the device that the guest sees it by.
//
//     open() --> Opened --keep()--> the guest's --retire()--> flushed and closed in the background
//                   '--discard()--> closed
//
// Called from one thread at a time, not the executor's, where the images live; open() and discard() from any such. The list of disks changes
// on the executor only.
#pragma once

#include <functional>
#include <future>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "api/guest_config.h"
#include "api/guest_info.h"
#include "assemble/cut_off.h"
#include "assemble/disk_jobs.h"
#include "storage/live/live_disk.h"
#include "virtio/blk/blk.h"

namespace yado::assemble {

class Disks {
  public:
    struct Wiring {
        io::Executor& executor;
        /// A disk keeps requests back until the guest is resumed: one line with the reason. Executor's thread.
        std::function<void(std::string reason)> failed;
        /// Ends when no job uses a disk that is no longer in list(). Executor's thread.
        std::function<io::Task<>()> unused;
        /// One that was retired is closed: its file is free. Executor's thread.
        std::function<void(const std::string& id, const Result<>& closed)> closed;
    };
    explicit Disks(Wiring wiring) : wiring_(std::move(wiring)) {}

    struct Opened {
        std::string id;
        std::unique_ptr<storage::LiveDisk> image;
        std::unique_ptr<CutOff> cable;
        std::unique_ptr<virtio::Blk> device;  ///< nullptr for one that a controller has
        std::string serial;
    };
    /// Errors: as storage::open_disk's; Usage.
    Result<Opened> open(const api::DiskConfig& config);
    void discard(Opened disk);

    using Counters = std::function<virtio::DiskCounters()>;
    /// The device, for whoever plugs it in. Without one, `counters` are its controller's (executor's thread).
    std::unique_ptr<virtio::DeviceModel> keep(Opened disk, Counters counters = {});
    bool has(std::string_view id) const;
    /// Its requests fail from now on.
    void cut(std::string_view id);
    CutOff::Activity activity(std::string_view id) const;
    /// Its device is gone. Returns at once; the rest is told by Wiring::closed.
    void retire(std::string_view id);
    /// Closes all whose devices are gone, and waits. Errors: the first that a disk reports, naming it.
    Result<> close();

    // Executor's thread.
    void count_now(api::Counters& counters) const;
    std::vector<DiskJobs::Disk> list() const;
    std::vector<api::DiskState> states() const;
    /// Errors: NotFound.
    Result<> limit(const api::LimitsRequest& request);

  private:
    struct Disk {
        std::string id;
        std::unique_ptr<storage::LiveDisk> image;
        std::unique_ptr<CutOff> cable;
        Counters counters;
    };
    struct Retired {
        std::string id;
        std::unique_ptr<storage::LiveDisk> image;
        std::future<Result<>> closed;
    };
    void forget_closed();
    const Disk* find(std::string_view id) const;

    Wiring wiring_;
    std::vector<Disk> disks_;
    std::list<Retired> retired_;
};

}  // namespace yado::assemble
