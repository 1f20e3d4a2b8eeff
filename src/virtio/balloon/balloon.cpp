#include "virtio/balloon/balloon.h"

#include <algorithm>

#include "virtio/virtio.pb.h"

namespace yado::virtio {

namespace {
constexpr uint64_t VIRTIO_BALLOON_F_STATS_VQ = 1 << 1, VIRTIO_BALLOON_F_DEFLATE_ON_OOM = 1 << 2, VIRTIO_BALLOON_F_PAGE_REPORTING = 1 << 5;
constexpr size_t kMaxFrames = 64 << 10;  // of one request: 256 MiB
constexpr size_t kMaxStatistics = 32;

struct BalloonConfig {  // 5.5.4
    uint32_t num_pages, actual;
};
struct Statistic {  // 5.5.6.3
    uint16_t tag;
    uint64_t value;
} __attribute__((packed));
}  // namespace

/// Queue 0: little-endian frame numbers of 4 KiB pages that the guest no longer uses.
struct Balloon::Inflate {
    Balloon& balloon;
    io::Task<Result<uint32_t>> handle(Chain& chain) {
        if (chain.readable_size() % 4 || chain.readable_size() / 4 > kMaxFrames)
            co_return fail(ErrorKind::Corrupt, "a list of {} bytes of page frames", chain.readable_size());
        std::vector<uint32_t> frames(chain.readable_size() / 4);
        ChainCursor(balloon.memory_, chain.readable()).read(std::as_writable_bytes(std::span(frames)));
        std::ranges::sort(frames);
        for (size_t i = 0; i < frames.size();) {  // runs of neighbours go in one call
            size_t n = 1;
            while (i + n < frames.size() && frames[i + n] - frames[i] <= n) ++n;
            balloon.discard_run(frames[i], frames[i + n - 1] - frames[i] + 1ull);
            i += n;
        }
        co_return 0u;
    }
};

/// Queue 1: pages that it takes back. They are there, zero, when touched.
struct Balloon::Deflate {
    io::Task<Result<uint32_t>> handle(Chain&) { co_return 0u; }
};

/// The reporting queue: the buffers themselves are the free pages (5.5.6.7).
struct Balloon::Report {
    Balloon& balloon;
    io::Task<Result<uint32_t>> handle(Chain& chain) {
        for (const mem::GuestRange& piece : chain.writable()) {
            const uint64_t first = page_up(piece.start().value()), end = page_down(piece.start().value() + piece.size().value());
            if (first >= end) continue;
            balloon.discard_run(first / kPageSize, (end - first) / kPageSize);
            balloon.reported_bytes_ += end - first;
        }
        co_return 0u;
    }
};

Balloon::Balloon(std::string id, mem::GuestMemory& memory)
    : id_(std::move(id)), memory_(memory), inflate_(new Inflate{*this}), deflate_(new Deflate), report_(new Report{*this}) {}
Balloon::~Balloon() = default;

uint64_t Balloon::features() const { return VIRTIO_BALLOON_F_STATS_VQ | VIRTIO_BALLOON_F_DEFLATE_ON_OOM | VIRTIO_BALLOON_F_PAGE_REPORTING; }

/// Pages outside of RAM are skipped: the guest's numbers are not to be trusted.
void Balloon::discard_run(uint64_t first_page, uint64_t pages) {
    const uint64_t start = first_page * kPageSize, end = start + pages * kPageSize;
    for (const mem::GuestMemory::Extent& e : memory_.extents()) {
        const uint64_t from = std::max(start, e.start.value()), to = std::min(end, (e.start + e.size).value());
        if (from >= to) continue;
        if (const auto range = memory_.range(GuestPhysAddr(from), Bytes(to - from), mem::GuestMemory::Intent::Write)) memory_.discard(*range);
    }
}

void Balloon::set_target(Bytes size) {
    const uint64_t most = std::min<uint64_t>(memory_.ram_size().value() / kPageSize, UINT32_MAX);
    target_pages_ = static_cast<uint32_t>(std::min(size.value() / kPageSize, most));
    config_changed();
}

uint64_t Balloon::read_config(uint32_t offset, unsigned size) { return read_field(BalloonConfig{target_pages_, actual_pages_}, offset, size); }

void Balloon::write_config(uint32_t offset, unsigned size, uint64_t value) {
    if (offset == offsetof(BalloonConfig, actual) && size == 4) actual_pages_ = static_cast<uint32_t>(value);
}

void Balloon::start(Session& session) {
    if (VirtQueue* q = session.queue(0)) io::spawn(serve(*q, *inflate_));
    if (VirtQueue* q = session.queue(1)) io::spawn(serve(*q, *deflate_));
    // Drivers number queues without gaps: one that does not take statistics has reporting in their place.
    unsigned next = 2;
    statistics_queue_ = session.has(VIRTIO_BALLOON_F_STATS_VQ) ? session.queue(next++) : nullptr;
    if (statistics_queue_) statistics_queue_->on_kick([this] { read_statistics(); });
    if (VirtQueue* q = session.has(VIRTIO_BALLOON_F_PAGE_REPORTING) ? session.queue(next) : nullptr) io::spawn(serve(*q, *report_));
}

// The driver always has one buffer out, filled when it was offered. It is read in place and stays the driver's next;
// giving it back asks for fresh numbers.
void Balloon::read_statistics() {
    std::optional<Chain> chain = statistics_queue_->pop();
    if (!chain) return;
    ChainCursor cursor(memory_, chain->readable());
    Statistic s;
    std::map<uint16_t, uint64_t> fresh;
    for (size_t i = 0; i < kMaxStatistics && cursor.read_object(s); ++i) fresh[s.tag] = s.value;
    statistics_ = std::move(fresh);
    statistics_queue_->put_back(std::move(*chain));
}

std::map<uint16_t, uint64_t> Balloon::statistics() {
    if (!statistics_queue_) return statistics_;
    if (std::optional<Chain> chain = statistics_queue_->pop()) statistics_queue_->complete(std::move(*chain), 0);
    std::map<uint16_t, uint64_t> told = statistics_;
    read_statistics();  // nothing yet, as a rule: then the queue asks for a kick
    return told;
}

void Balloon::reset() {
    actual_pages_ = 0;
    statistics_.clear();
}

std::string Balloon::save() const {
    pb::Balloon m;
    m.set_target_pages(target_pages_);
    m.set_actual_pages(actual_pages_);
    return m.SerializeAsString();
}

Result<> Balloon::load(const std::string& state) {
    pb::Balloon m;
    if (!m.ParseFromString(state)) return fail(ErrorKind::Corrupt, "saved state of {}: not a valid message", id_);
    target_pages_ = m.target_pages();
    actual_pages_ = m.actual_pages();
    return {};
}

std::string Balloon::detail() const { return fmt::format("{} of {} MiB given up", actual().value() >> 20, target().value() >> 20); }

}  // namespace yado::virtio
