#include "virtio/scsi/scsi.h"

#include <algorithm>
#include <bit>

#include "virtio/virtio.pb.h"

namespace yado::virtio {

namespace {
constexpr uint16_t kMaxQueues = 16, kSmallQueue = 64;
// The CDB is read, the sense data written by this many bytes of the chain: bounded, whatever the driver says.
constexpr uint32_t kMaxCdbSize = 260, kMaxSenseSize = 252;  // SPC-4 4.2.3, 4.5.1
constexpr uint32_t kMaxLun = 255;
}  // namespace

Result<std::unique_ptr<Scsi>> Scsi::create(Options options) {
    if (options.queues == 0 || options.queues > kMaxQueues)
        return fail(ErrorKind::Usage, "{}: {} queues; 1 to {} are possible", options.id, options.queues, kMaxQueues);
    if (!std::has_single_bit(options.queue_size) || options.queue_size < 4 || options.queue_size > 1024)
        return fail(ErrorKind::Usage, "{}: queue size {}; a power of two from 4 to 1024 is possible", options.id, options.queue_size);
    return std::unique_ptr<Scsi>(new Scsi(std::move(options)));
}

Scsi::~Scsi() = default;

// ---- units ----

Scsi::Unit* Scsi::at(uint8_t target) const {
    const auto found = units_.find(target);
    return found == units_.end() ? nullptr : found->second.get();
}

void Scsi::attach(Unit& unit) {
    unit.disk.access().attached([this, &unit](size_t count) {
        unit.resting = count;
        tell_resting();
    });
}

/// A task management function that waits for commands that rest does rest, too.
void Scsi::tell_resting() {
    if (!session_) return;
    size_t count = waiting_;
    for (const auto& [target, unit] : units_) count += unit->resting;
    session_->set_resting(count);
}

Result<> Scsi::attach_unit(uint8_t target, block::DiskImage& image, ScsiDisk::Options options) {
    if (target >= kTargets) return fail(ErrorKind::Usage, "{}: target {}; 0 to {} are possible", options_.id, target, kTargets - 1);
    if (at(target)) return fail(ErrorKind::Conflict, "{}: target {} has a disk", options_.id, target);
    const auto unit = std::make_shared<Unit>(image, std::move(options));
    units_[target] = unit;
    units_changed();
    if (session_) attach(*unit);
    tell({VIRTIO_SCSI_T_TRANSPORT_RESET, target, VIRTIO_SCSI_EVT_RESET_RESCAN});
    return {};
}

io::Task<Result<>> Scsi::detach_unit(uint8_t target) {
    const auto found = units_.find(target);
    if (found == units_.end()) co_return fail(ErrorKind::NotFound, "{}: target {} has no disk", options_.id, target);
    const UnitPointer unit = found->second;
    unit->disk.access().detached();
    units_.erase(found);
    units_changed();
    const Event removed{VIRTIO_SCSI_T_TRANSPORT_RESET, target, VIRTIO_SCSI_EVT_RESET_REMOVED};
    tell(removed);
    co_await ended(unit->tasks, std::nullopt, Waits::Host);
    co_return Result<>{};
}

Result<> Scsi::unit_resized(uint8_t target) {
    Unit* unit = at(target);
    if (!unit) return fail(ErrorKind::NotFound, "{}: target {} has no disk", options_.id, target);
    unit->disk.resized();
    tell({VIRTIO_SCSI_T_PARAM_CHANGE, target, static_cast<uint32_t>(sense::kCapacityChanged.asc | sense::kCapacityChanged.ascq << 8)});
    return {};
}

DiskCounters Scsi::counters(uint8_t target) const {
    const Unit* unit = at(target);
    return unit ? unit->disk.access().counters : DiskCounters{};
}

void Scsi::units_changed() {
    std::string all;
    for (const auto& [target, unit] : units_)
        all += fmt::format("{}target {}: {} {}", all.empty() ? "" : ", ", target, unit->disk.access().id(), unit->disk.access().describe());
    *detail_.lock() = std::move(all);
}

// ---- configuration and life ----

std::vector<uint16_t> Scsi::queues() const {
    std::vector<uint16_t> all{kSmallQueue, kSmallQueue};
    all.resize(kScsiFirstRequestQueue + options_.queues, options_.queue_size);
    return all;
}

ScsiConfig Scsi::config() const {
    return {
        .num_queues = options_.queues,
        .seg_max = options_.queue_size - 2u,
        .max_sectors = ScsiDisk::kMaxBlocks,
        .cmd_per_lun = options_.queue_size / 2u,
        .event_info_size = sizeof(ScsiEvent),
        .sense_size = sense_size_,
        .cdb_size = cdb_size_,
        .max_channel = 0,
        .max_target = kTargets - 1,
        .max_lun = kMaxLun,
    };
}

void Scsi::write_config(uint32_t offset, unsigned size, uint64_t value) {
    if (size != 4) return;
    if (offset == offsetof(ScsiConfig, sense_size) && value <= kMaxSenseSize) sense_size_ = static_cast<uint32_t>(value);
    if (offset == offsetof(ScsiConfig, cdb_size) && value > 0 && value <= kMaxCdbSize) cdb_size_ = static_cast<uint32_t>(value);
}

void Scsi::start(Session& session) {
    session_ = &session;
    memory_ = &session.memory();
    executor_ = &session.executor();
    session_sense_size_ = sense_size_;
    session_cdb_size_ = cdb_size_;
    for (const auto& [target, unit] : units_) attach(*unit);
    if (VirtQueue* queue = session.queue(kScsiControlQueue)) io::spawn(serve(*queue, control_side_));
    if (VirtQueue* queue = session.queue(kScsiEventQueue)) queue->on_kick([this] { deliver_events(); });
    for (unsigned i = 0; i < options_.queues; ++i)
        if (VirtQueue* queue = session.queue(kScsiFirstRequestQueue + i)) io::spawn(serve(*queue, request_side_));
}

void Scsi::stop() {
    session_ = nullptr;
    for (const auto& [target, unit] : units_) unit->disk.access().detached();
}

void Scsi::pause() {
    for (const auto& [target, unit] : units_) unit->disk.access().pausing();
}

void Scsi::resume() {
    for (const auto& [target, unit] : units_) unit->disk.access().resumed();
}

void Scsi::reset() {
    sense_size_ = kScsiDefaultSenseSize;
    cdb_size_ = kScsiDefaultCdbSize;
    events_.clear();
    events_missed_ = false;
    for (const auto& [target, unit] : units_) unit->disk.reset(sense::kPowerOn);
}

std::string Scsi::save() const {
    pb::Scsi m;
    m.set_sense_size(sense_size_);
    m.set_cdb_size(cdb_size_);
    for (const auto& [target, unit] : units_) {
        pb::ScsiUnit& saved = *m.add_units();
        saved.set_target(target);
        unit->disk.save(saved);
    }
    for (const Event& event : events_) {
        pb::ScsiEvent& saved = *m.add_events();
        saved.set_event(event.event);
        saved.set_target(event.target);
        saved.set_reason(event.reason);
    }
    m.set_events_missed(events_missed_);
    return m.SerializeAsString();
}

Result<> Scsi::load(const std::string& state) {
    pb::Scsi m;
    const auto corrupt = [this](std::string_view what) { return fail(ErrorKind::Corrupt, "saved state of {}: {}", id(), what); };
    if (!m.ParseFromString(state)) return corrupt("not a valid message");
    if (m.sense_size() > kMaxSenseSize || m.cdb_size() == 0 || m.cdb_size() > kMaxCdbSize) return corrupt("sizes of commands");
    if (m.events_size() > kSmallQueue) return corrupt("too many events");
    if (std::ranges::any_of(m.events(), [](const pb::ScsiEvent& e) { return e.target() >= kTargets; })) return corrupt("an event of a target that cannot be");
    std::map<uint8_t, const pb::ScsiUnit*> saved;
    for (const pb::ScsiUnit& unit : m.units()) {
        if (unit.target() >= kTargets || !at(static_cast<uint8_t>(unit.target()))) return corrupt("a disk that is not there");
        if (!ScsiDisk::valid(unit)) return corrupt("a disk's state");
        saved[static_cast<uint8_t>(unit.target())] = &unit;
    }
    if (saved.size() != units_.size()) return corrupt("other disks than there are");
    for (const auto& [target, unit] : saved) at(target)->disk.load(*unit);
    sense_size_ = m.sense_size();
    cdb_size_ = m.cdb_size();
    events_.clear();
    for (const pb::ScsiEvent& e : m.events()) events_.push_back({e.event(), static_cast<uint8_t>(e.target()), e.reason()});
    events_missed_ = m.events_missed();
    return {};
}

// ---- requests ----

/// Single-level LUNs of up to 16,383: 01h, target, two bytes in flat or peripheral form (5.6.6.1, SAM-5 4.7.6).
std::optional<Scsi::Address> Scsi::address_of(const ScsiLun& lun) {
    if (lun[0] != 1) return std::nullopt;
    const auto number = static_cast<uint16_t>((lun[2] & 0x3f) << 8 | lun[3]);
    return Address{lun[1], number};
}

io::Task<Result<uint32_t>> Scsi::handle_request(Chain& chain) {
    const uint32_t before_out = sizeof(ScsiRequestHeader) + session_cdb_size_, before_in = sizeof(ScsiResponseHeader) + session_sense_size_;
    if (chain.readable_size() < before_out) co_return fail(ErrorKind::Corrupt, "a request of {} bytes has no header", chain.readable_size());
    if (chain.writable_size() < before_in) co_return fail(ErrorKind::Corrupt, "a request has no room for its response");
    ScsiRequestHeader header;
    Cdb cdb{};
    ChainCursor front(*memory_, chain.readable());
    front.read_object(header);
    front.read(std::as_writable_bytes(std::span(cdb)).first(std::min<size_t>(cdb.size(), session_cdb_size_)));
    Transfer data(*memory_, chain, before_out, before_in);

    ScsiFailure failure;
    ScsiResponseHeader response{};
    response.response = std::to_underlying(co_await run(header, cdb, data, failure));
    // 5.6.6.1: what of the driver's buffers was not used. Both together are less than 8 GiB, each less than 4.
    response.residual = static_cast<uint32_t>(data.out_size() + data.in_size() - data.moved());
    std::vector<std::byte> answer(before_in);
    if (failure) {
        const auto sense = fixed_sense(*failure);
        response.status = std::to_underlying(ScsiStatus::CheckCondition);
        response.sense_len = static_cast<uint32_t>(std::min<size_t>(sense.size(), session_sense_size_));
        std::memcpy(&answer[sizeof response], sense.data(), response.sense_len);
    }
    std::memcpy(answer.data(), &response, sizeof response);
    ChainCursor(*memory_, chain.writable()).write(answer);
    co_return before_in + static_cast<uint32_t>(data.sent());
}

io::Task<ScsiResponse> Scsi::run(const ScsiRequestHeader& header, const Cdb& cdb, Transfer& data, ScsiFailure& failure) {
    using enum ScsiResponse;
    const std::optional<Address> address = address_of(header.lun);
    const auto found = address ? units_.find(address->target) : units_.end();
    if (found == units_.end()) co_return VIRTIO_SCSI_S_BAD_TARGET;
    if (data.out_size() && data.in_size()) co_return VIRTIO_SCSI_S_FAILURE;  // 5.6.6.1: without F_INOUT
    const ScsiAmount amount = ScsiDisk::amount(cdb);
    if (amount.out > data.out_size() || amount.in > data.in_size()) co_return VIRTIO_SCSI_S_OVERRUN;
    if (address->lun) {
        failure = ScsiDisk::execute_absent(cdb, data);
        co_return VIRTIO_SCSI_S_OK;
    }
    const UnitPointer unit = found->second;
    const TaskSet::Task task(unit->tasks, header.id);
    failure = co_await unit->disk.execute(cdb, data);
    co_return VIRTIO_SCSI_S_OK;
}

}  // namespace yado::virtio
