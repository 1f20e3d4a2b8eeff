#include "assemble/disk_jobs.h"

#include <algorithm>

#include "base/log.h"
#include "io/call_on.h"

namespace yado::assemble {

using io::or_return;

namespace {

/// What can be in a snapshot by itself: a user who wants others has to name them, and is told why not.
bool is_kept(const storage::LiveDisk& disk) { return !disk.readonly() && !disk.layers().empty(); }

Result<DiskJobs::Disk> find(const std::vector<DiskJobs::Disk>& disks, const std::string& id) {
    const auto found = std::ranges::find(disks, id, &DiskJobs::Disk::id);
    if (found == disks.end()) return fail(ErrorKind::NotFound, "there is no disk {}", id);
    return *found;
}

}  // namespace

Result<api::JobInfo> DiskJobs::snapshot(api::SnapshotRequest request) {
    return begin("snapshot", [this, request = std::move(request)] { return take_snapshot(request); });
}

Result<api::JobInfo> DiskJobs::commit(api::CommitRequest request) {
    return begin("commit", [this, request = std::move(request)] { return commit_one(request); });
}

Result<api::JobInfo> DiskJobs::begin(std::string kind, std::function<io::Task<Result<>>()> work) {
    return io::call_on(wiring_.executor, [&]() -> Result<api::JobInfo> {
        auto pass = gate_.enter();
        if (!pass) return fail(ErrorKind::Conflict, "the guest ends");
        api::JobInfo job;
        {
            auto state = state_.lock();
            if (state->running()) return fail(ErrorKind::Conflict, "a {} is under way (job {}); wait for its end", state->jobs.back().kind, state->jobs.back().id);
            job = {.id = state->next++, .kind = std::move(kind), .error_kind = {}, .error = {}, .snapshots = {}};
            state->jobs.push_back(job);
            if (state->jobs.size() > kKept) state->jobs.pop_front();
        }
        cancelled_ = false;
        wiring_.executor.post([this, work = std::move(work), pass = std::move(*pass)]() mutable { io::spawn(run(std::move(work), std::move(pass))); });
        return job;
    });
}

io::Task<> DiskJobs::run(std::function<io::Task<Result<>>()> work, io::Gate::Pass pass) {
    const io::Gate::Pass inside = std::move(pass);
    const Result<> result = co_await work();
    ended(result);
}

void DiskJobs::ended(const Result<>& result) {
    std::string line;
    {
        auto state = state_.lock();
        api::JobInfo& job = state->jobs.back();
        job.state = result ? api::JobState::Done : api::JobState::Failed;
        if (!result) {
            job.error_kind = api::kind_name(result.error().kind());
            job.error = result.error().message();
        }
        line = fmt::format("job {}: {} {}{}{}", job.id, job.kind, result ? "done" : "failed", result ? "" : ": ", job.error);
    }
    wiring_.event("job-ended", line);
    for (io::Completion<bool>* one : std::exchange(waiting_, {})) one->complete(true);
}

io::Task<> DiskJobs::quiet() {
    if (!state_.lock()->running()) co_return;
    io::Completion<bool> ended;
    waiting_.push_back(&ended);
    co_await ended;
}

Result<> DiskJobs::cancel(uint64_t id) {
    return io::call_on(wiring_.executor, [&]() -> Result<> {
        auto state = state_.lock();
        if (!state->running() || state->jobs.back().id != id) return fail(ErrorKind::NotFound, "job {} does not run", id);
        cancelled_ = true;
        return {};
    });
}

std::vector<api::JobInfo> DiskJobs::list() const {
    auto state = state_.lock();
    return {state->jobs.begin(), state->jobs.end()};
}

void DiskJobs::close() {
    const auto closing = [](DiskJobs* self) -> io::Task<Result<>> {
        self->cancelled_ = true;
        co_await self->gate_.close();
        co_return Result<>{};
    };
    (void)io::finish_on(wiring_.executor, closing(this));
}

Result<DiskJobs::Targets> DiskJobs::choose(const api::SnapshotRequest& request) const {
    const Targets all = wiring_.disks();
    Targets chosen;
    if (request.disks.empty()) std::ranges::copy_if(all, std::back_inserter(chosen), [](const Disk& d) { return is_kept(*d.image); });
    for (const std::string& id : request.disks) {
        const Disk found = YADO_TRY(find(all, id));
        if (std::ranges::find(chosen, id, &Disk::id) != chosen.end()) return fail(ErrorKind::Usage, "disk {} is named twice", id);
        chosen.push_back(found);
    }
    if (chosen.empty()) return fail(ErrorKind::Usage, "the guest has no disk that keeps what it writes");
    return chosen;
}

io::Task<Result<>> DiskJobs::take_snapshot(api::SnapshotRequest request) {
    const Targets targets = co_await or_return(choose(request));
    co_await or_return(co_await prepare_all(targets, request.name));
    for (const Disk& d : targets) co_await d.image->halt();
    for (const Disk& d : targets) d.image->switch_over();
    for (const Disk& d : targets) d.image->go();
    co_return co_await finish_all(targets);
}

/// All, or none.
io::Task<Result<>> DiskJobs::prepare_all(const Targets& targets, std::string name) {
    for (size_t n = 0; n < targets.size(); ++n) {
        std::string copy = name;
        const Result<> prepared = co_await targets[n].image->prepare_snapshot(std::move(copy));
        if (prepared) continue;
        while (n-- > 0) co_await targets[n].image->abandon_snapshot();
        co_return prepared;
    }
    co_return Result<>{};
}

/// The snapshots are there; what is left is that others may read them.
io::Task<Result<>> DiskJobs::finish_all(const Targets& targets) {
    Result<> first;
    for (const Disk& d : targets) {
        const auto made = co_await d.image->finish_snapshot();
        if (!made) {
            if (first) first = std::unexpected(made.error().within(d.id));
            continue;
        }
        auto state = state_.lock();
        state->jobs.back().snapshots.push_back({.disk = d.id, .base = made->base, .active = made->active, .format = made->format, .stall = made->stall});
    }
    co_return first;
}

io::Task<Result<>> DiskJobs::commit_one(api::CommitRequest request) {
    const Targets all = wiring_.disks();
    const Disk disk = co_await or_return(find(all, request.disk));
    storage::Control control;
    control.in_flight = 4;  // the guest's own requests come first
    control.cancelled = [this] { return cancelled_; };
    control.progress = [this](Bytes done, Bytes total) {
        auto state = state_.lock();
        state->jobs.back().done = done;
        state->jobs.back().total = total;
    };
    co_return co_await disk.image->commit(std::move(control));
}

}  // namespace yado::assemble
