// The control and event queues (5.6.6.2, 5.6.6.3).
#include "virtio/scsi/scsi.h"

namespace yado::virtio {

namespace {

constexpr size_t kMaxEvents = 64;

template <typename T>
bool put(mem::GuestMemory& memory, const Chain& chain, const T& answer) {
    return ChainCursor(memory, chain.writable()).write(std::as_bytes(std::span(&answer, 1))) == sizeof answer;
}

}  // namespace

io::Task<Result<uint32_t>> Scsi::handle_control(Chain& chain) {
    uint32_t type;
    ChainCursor front(*memory_, chain.readable());
    const auto malformed = [&] {
        return fail(ErrorKind::Corrupt, "a control request of {} bytes with room for {} is malformed", chain.readable_size(), chain.writable_size());
    };
    if (!front.read_object(type)) co_return malformed();
    switch (static_cast<ScsiControl>(type)) {
    case ScsiControl::VIRTIO_SCSI_T_TMF: {
        ScsiTaskManagement request;
        if (!front.read_object(request)) co_return malformed();
        const ScsiResponse response = co_await manage(request);
        if (!put(*memory_, chain, response)) co_return malformed();
        co_return static_cast<uint32_t>(sizeof response);
    }
    case ScsiControl::VIRTIO_SCSI_T_AN_QUERY:
    case ScsiControl::VIRTIO_SCSI_T_AN_SUBSCRIBE: {
        ScsiNotification request;
        if (!front.read_object(request)) co_return malformed();
        const std::optional<Address> address = address_of(request.lun);
        const bool known = address && at(address->target);
        const auto response = known ? ScsiResponse::VIRTIO_SCSI_S_OK : ScsiResponse::VIRTIO_SCSI_S_BAD_TARGET;
        const ScsiNotificationAnswer answer{0, std::to_underlying(response)};  // a disk reports none of the events
        if (!put(*memory_, chain, answer)) co_return malformed();
        co_return static_cast<uint32_t>(sizeof answer);
    }
    }
    co_return malformed();
}

io::Task<ScsiResponse> Scsi::manage(const ScsiTaskManagement& request) {
    const std::optional<Address> address = address_of(request.lun);
    const auto found = address ? units_.find(address->target) : units_.end();
    if (found == units_.end()) co_return ScsiResponse::VIRTIO_SCSI_S_BAD_TARGET;
    const auto function = static_cast<ScsiFunction>(request.subtype);
    // The nexus is all that the target has.
    if (address->lun && function != ScsiFunction::VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET) co_return ScsiResponse::VIRTIO_SCSI_S_INCORRECT_LUN;
    UnitPointer unit = found->second;
    const uint64_t tag = request.id;
    co_return co_await manage_unit(function, std::move(unit), tag);
}

/// SAM-5 7: nothing that is in flight can be taken back, so that "aborted" is answered when it has ended by itself.
io::Task<ScsiResponse> Scsi::manage_unit(ScsiFunction function, UnitPointer unit, uint64_t tag) {
    using enum ScsiFunction;
    const auto exists = [&](std::optional<uint64_t> which) {
        return unit->tasks.holds(which) ? ScsiResponse::VIRTIO_SCSI_S_FUNCTION_SUCCEEDED : VIRTIO_SCSI_S_FUNCTION_COMPLETE;
    };
    switch (function) {
    case VIRTIO_SCSI_T_TMF_ABORT_TASK: co_await ended(unit->tasks, tag, Waits::Driver); co_return VIRTIO_SCSI_S_FUNCTION_COMPLETE;
    case VIRTIO_SCSI_T_TMF_ABORT_TASK_SET:
    case VIRTIO_SCSI_T_TMF_CLEAR_TASK_SET: co_await ended(unit->tasks, std::nullopt, Waits::Driver); co_return VIRTIO_SCSI_S_FUNCTION_COMPLETE;
    case VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET:
    case VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET:
        co_await ended(unit->tasks, std::nullopt, Waits::Driver);
        unit->disk.reset(function == VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET ? sense::kUnitReset : sense::kNexusLost);
        co_return VIRTIO_SCSI_S_FUNCTION_COMPLETE;
    case VIRTIO_SCSI_T_TMF_QUERY_TASK: co_return exists(tag);
    case VIRTIO_SCSI_T_TMF_QUERY_TASK_SET: co_return exists(std::nullopt);
    case VIRTIO_SCSI_T_TMF_CLEAR_ACA: break;  // NACA is refused in every CDB: there is no such condition
    }
    co_return ScsiResponse::VIRTIO_SCSI_S_FUNCTION_REJECTED;
}

/// Waits for commands that are in flight. It goes on behind their answers: those are on the queue by then.
io::Task<> Scsi::ended(TaskSet& tasks, std::optional<uint64_t> tag, Waits who) {
    const size_t counts = who == Waits::Driver ? 1 : 0;  // only a chain of the driver's is inside the session
    io::Completion<bool> done;
    TaskSet::Waiter waiter;
    waiter.over = [this, &done, counts] {
        waiting_ -= counts;
        tell_resting();
        executor_->post([&done] { done.complete(true); });
    };
    if (!tasks.wait(waiter, tag)) co_return;
    waiting_ += counts;
    tell_resting();
    co_await done;
}

// ---- events ----

bool Scsi::wants(const Event& event) const {
    if (!session_) return false;  // a driver that starts looks for itself
    return session_->has(event.event == VIRTIO_SCSI_T_PARAM_CHANGE ? VIRTIO_SCSI_F_CHANGE : VIRTIO_SCSI_F_HOTPLUG);
}

void Scsi::tell(const Event& event) {
    if (!wants(event)) return;
    if (events_.size() == kMaxEvents) {
        events_missed_ = true;  // the driver is told to look at everything
    } else {
        events_.push_back(event);
    }
    deliver_events();
}

void Scsi::deliver_events() {
    VirtQueue* queue = session_ ? session_->queue(kScsiEventQueue) : nullptr;
    while (queue && (!events_.empty() || events_missed_)) {
        std::optional<Chain> chain = queue->pop();
        if (!chain) return;  // the next kick brings us back
        ScsiEvent told{};
        if (!events_.empty()) {
            told = {events_.front().event, lun_of(events_.front().target), events_.front().reason};
            events_.pop_front();
        }
        if (std::exchange(events_missed_, false)) told.event |= VIRTIO_SCSI_T_EVENTS_MISSED;
        if (!put(*memory_, *chain, told))
            return queue->fail_queue(Error(ErrorKind::Corrupt, fmt::format("an event buffer of {} bytes", chain->writable_size())));
        queue->complete(std::move(*chain), sizeof told);
    }
}

}  // namespace yado::virtio
