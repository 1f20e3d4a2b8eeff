// yado snapshot, commit, limit: what is done to the disks of a running guest.
#include <algorithm>

#include "apps/disk/session.h"
#include "apps/guest_events.h"
#include "apps/reach.h"
#include "apps/verbs.h"

namespace yado::apps {

namespace {

/// No event for so long, and progress is shown anew.
constexpr auto kRefresh = std::chrono::milliseconds(250);

/// Any event may be the one that is waited for.
Result<> wait_for_event(GuestEvents& events) {
    const auto event = events.next(std::chrono::steady_clock::now() + kRefresh);
    if (event || event.error().kind() == ErrorKind::TimedOut) return {};
    return std::unexpected(event.error());
}

Result<api::JobInfo> look_up(control::Client& client, uint64_t id) {
    const auto jobs = YADO_TRY(api::jobs_from_json(YADO_TRY(client.get("/v1/jobs"))));
    const auto found = std::ranges::find(jobs, id, &api::JobInfo::id);
    if (found == jobs.end()) return fail(ErrorKind::NotFound, "job {} is not known any more", id);
    return *found;
}

/// Shows progress; SIGINT cuts the job off.
Result<api::JobInfo> wait_for_job(const std::string& guest, uint64_t id) {
    DiskSession session;
    const storage::Control control = session.control();
    auto client = YADO_TRY(reach(guest));
    GuestEvents events = YADO_TRY(GuestEvents::follow(YADO_TRY(find_living(guest)).socket()));
    for (bool cut_off = false;;) {
        api::JobInfo job = YADO_TRY(look_up(client, id));
        if (job.state != api::JobState::Running) return job;
        if (control.progress && job.total.value() > 0) control.progress(job.done, job.total);
        if (session.interrupted() && !std::exchange(cut_off, true)) YADO_TRY(client.post(fmt::format("/v1/jobs/cancel?job={}", id)));
        YADO_TRY(wait_for_event(events));
    }
}

/// Begins a job, and returns how it ended if that was well.
Result<api::JobInfo> do_job(const std::string& guest, const std::string& target, const std::string& body) {
    auto client = YADO_TRY(reach(guest));
    const auto begun = YADO_TRY(api::job_from_json(YADO_TRY(client.post(target, body))));
    api::JobInfo job = YADO_TRY(wait_for_job(guest, begun.id));
    if (job.state == api::JobState::Failed) return std::unexpected(Error(api::kind_from_name(job.error_kind), job.error));
    return job;
}

Result<api::DiskState> find_disk(control::Client& client, const std::string& id) {
    const auto disks = YADO_TRY(api::disks_from_json(YADO_TRY(client.get("/v1/disks"))));
    const auto found = std::ranges::find(disks, id, &api::DiskState::id);
    if (found != disks.end()) return *found;
    return fail(ErrorKind::NotFound, "there is no disk {}; yado info lists those that there are", id);
}

Result<> change_limits(const LimitOptions& options) {
    auto client = YADO_TRY(reach(options.guest));
    api::LimitsRequest request{options.disk, YADO_TRY(find_disk(client, options.disk)).limits};
    if (options.iops) request.limits.iops = *options.iops;
    if (options.bps) request.limits.bps = YADO_TRY(api::parse_size(*options.bps));
    if (options.burst) request.limits.burst = std::chrono::seconds(*options.burst);
    YADO_TRY(client.post("/v1/disks/limits", api::to_json(request)));
    return {};
}

}  // namespace

Result<> snapshot_guest(const SnapshotOptions& options) {
    if (!options.disk_only) return fail(ErrorKind::Usage, "only disks are taken for now, not the guest's memory; say so with --disk-only");
    const std::string body = api::to_json(api::SnapshotRequest{options.name, options.disks});
    const auto job = YADO_TRY(within_guest(do_job(options.guest, "/v1/disks/snapshot", body), options.guest));
    if (options.format == Format::Json) {
        fmt::print("{}\n", api::to_json(job));
        return {};
    }
    for (const api::DiskSnapshot& s : job.snapshots)
        fmt::print("{}: {} is the snapshot; the guest now writes to {} (format={}, backing=folder or any); requests waited {:.1f} ms\n", s.disk, s.base, s.active,
                   s.format, static_cast<double>(s.stall.count()) / 1e6);
    return {};
}

Result<> commit_guest(const CommitOptions& options) {
    const std::string body = api::to_json(api::CommitRequest{options.disk});
    YADO_TRY(within_guest(do_job(options.guest, "/v1/disks/commit", body), options.guest));
    return {};
}

Result<> limit_guest(const LimitOptions& options) { return within_guest(change_limits(options), options.guest); }

}  // namespace yado::apps
