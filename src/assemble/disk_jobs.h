// What is done to a guest's disks while it runs, and takes its time: snapshots and commits. One job at a time.
//
//     begin (any thread) --> on the disks' executor, to its end --> event "job-ended"; list() tells how
#pragma once

#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "api/guest_info.h"
#include "base/guarded.h"
#include "io/executor.h"
#include "io/gate.h"
#include "storage/live/live_disk.h"

namespace yado::assemble {

class DiskJobs {
  public:
    struct Disk {
        std::string id;
        storage::LiveDisk* image;  ///< stays until close() or quiet() has returned
    };
    struct Wiring {
        io::Executor& executor;                      ///< the disks'
        std::function<std::vector<Disk>()> disks;    ///< on the executor
        std::function<void(std::string_view kind, std::string_view detail)> event;  ///< on the executor
    };
    explicit DiskJobs(Wiring wiring) : wiring_(std::move(wiring)) {}

    // Any thread but the executor's. Errors: Conflict (a job runs; the guest ends).
    Result<api::JobInfo> snapshot(api::SnapshotRequest request);
    Result<api::JobInfo> commit(api::CommitRequest request);
    /// Errors: NotFound (no such job runs).
    Result<> cancel(uint64_t id);
    std::vector<api::JobInfo> list() const;

    /// Waits until the job that runs now has ended: one that begins later does not know disks that are gone by now. Executor's thread.
    io::Task<> quiet();

    /// Cuts off what runs, and waits for its end. No job begins any more. Any thread but the executor's.
    void close();

    static constexpr size_t kKept = 16;  ///< ended jobs that list() still tells of

  private:
    using Targets = std::vector<Disk>;
    Result<api::JobInfo> begin(std::string kind, std::function<io::Task<Result<>>()> work);
    io::Task<> run(std::function<io::Task<Result<>>()> work, io::Gate::Pass pass);
    void ended(const Result<>& result);

    Result<Targets> choose(const api::SnapshotRequest& request) const;
    io::Task<Result<>> take_snapshot(api::SnapshotRequest request);
    io::Task<Result<>> prepare_all(const Targets& targets, std::string name);
    io::Task<Result<>> finish_all(const Targets& targets);
    io::Task<Result<>> commit_one(api::CommitRequest request);

    struct State {
        std::deque<api::JobInfo> jobs;  ///< the newest last
        uint64_t next = 1;
        bool running() const { return !jobs.empty() && jobs.back().state == api::JobState::Running; }
    };
    Wiring wiring_;
    mutable Guarded<State, LockRank::Leaf> state_;
    io::Gate gate_;           // the executor's
    bool cancelled_ = false;  // the executor's
    std::vector<io::Completion<bool>*> waiting_;  // the executor's
};

}  // namespace yado::assemble
