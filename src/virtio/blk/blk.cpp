#include "virtio/blk/blk.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "virtio/virtio.pb.h"

namespace yado::virtio {

namespace {
constexpr uint64_t kSector = DiskAccess::kSector;
constexpr uint32_t kMaxSegments = 16, kMaxClearSectors = DiskAccess::kMaxClearSectors;
constexpr uint16_t kMaxQueues = 16;
BlkStatus answer(const Result<>& result) { return result ? BlkStatus::VIRTIO_BLK_S_OK : BlkStatus::VIRTIO_BLK_S_IOERR; }
}  // namespace

Result<std::unique_ptr<Blk>> Blk::create(block::DiskImage& image, Options options) {
    if (options.queues == 0 || options.queues > kMaxQueues)
        return fail(ErrorKind::Usage, "disk {}: {} queues; 1 to {} are possible", options.id, options.queues, kMaxQueues);
    if (!std::has_single_bit(options.queue_size) || options.queue_size < 4 || options.queue_size > 1024)
        return fail(ErrorKind::Usage, "disk {}: queue size {}; a power of two from 4 to 1024 is possible", options.id, options.queue_size);
    if (!std::has_single_bit(options.block_size) || options.block_size < 512 || options.block_size > 4096)
        return fail(ErrorKind::Usage, "disk {}: block size {}; 512 to 4096 are possible", options.id, options.block_size);
    return std::unique_ptr<Blk>(new Blk(image, std::move(options)));
}

Blk::Blk(block::DiskImage& image, Options options)
    : disk_(image, options.attachment, options.id), options_(std::move(options)) {}

uint64_t Blk::features() const {
    uint64_t f = VIRTIO_BLK_F_SEG_MAX | VIRTIO_BLK_F_BLK_SIZE | VIRTIO_BLK_F_FLUSH | VIRTIO_BLK_F_TOPOLOGY | VIRTIO_BLK_F_CONFIG_WCE;
    if (options_.queues > 1) f |= VIRTIO_BLK_F_MQ;
    f |= disk_.readonly() ? VIRTIO_BLK_F_RO : VIRTIO_BLK_F_DISCARD | VIRTIO_BLK_F_WRITE_ZEROES;
    return f;
}

BlkConfig Blk::config() const {
    return {
        .capacity = disk_.sectors(),
        .seg_max = options_.queue_size - 2u,
        .blk_size = options_.block_size,
        .physical_block_exp = options_.physical_block_exp,
        .min_io_size = 1,
        .writeback = writeback_,
        .num_queues = options_.queues,
        .max_discard_sectors = kMaxClearSectors,
        .max_discard_seg = kMaxSegments,
        .discard_sector_alignment = std::max(1u, 4096 / 512u),
        .max_write_zeroes_sectors = kMaxClearSectors,
        .max_write_zeroes_seg = kMaxSegments,
        .write_zeroes_may_unmap = 1,
    };
}

void Blk::write_config(uint32_t offset, unsigned size, uint64_t value) {
    if (offset == offsetof(BlkConfig, writeback) && size == 1) writeback_ = value & 1;
}

void Blk::resized() {
    disk_.resized();
    config_changed();
}

void Blk::start(Session& session) {
    session_ = &session;
    memory_ = &session.memory();
    flush_negotiated_ = session.has(VIRTIO_BLK_F_FLUSH);
    wce_negotiated_ = session.has(VIRTIO_BLK_F_CONFIG_WCE);
    disk_.attached([&session](size_t count) { session.set_resting(count); });
    for (unsigned i = 0; i < options_.queues; ++i)
        if (VirtQueue* queue = session.queue(i)) io::spawn(serve(*queue, *this));
}

void Blk::stop() {
    session_ = nullptr;
    disk_.detached();
}

void Blk::pause() {
    disk_.pausing();
}

void Blk::resume() {
    disk_.resumed();
}

std::string Blk::save() const {
    pb::Block m;
    m.set_writeback(writeback_);
    return m.SerializeAsString();
}

Result<> Blk::load(const std::string& state) {
    pb::Block m;
    if (!m.ParseFromString(state)) return fail(ErrorKind::Corrupt, "saved state of {}: not a valid message", id());
    writeback_ = m.writeback();
    return {};
}

// 5.2.5: without a flush command, or with the cache switched off, a write is stable when it completes.
bool Blk::writethrough() const { return !flush_negotiated_ || (wce_negotiated_ && !writeback_); }

io::Task<Result<uint32_t>> Blk::handle(Chain& chain) {
    BlkHeader header;
    ChainCursor front(*memory_, chain.readable());
    if (!front.read_object(header)) co_return fail(ErrorKind::Corrupt, "a request of {} bytes has no header", chain.readable_size());
    if (chain.writable_size() == 0) co_return fail(ErrorKind::Corrupt, "a request has no room for its status");

    uint32_t written = 0;
    const BlkStatus status = co_await execute(header, chain, written);
    if (status != BlkStatus::VIRTIO_BLK_S_OK) ++disk_.counters.errors;
    // The status is the last writable byte (5.2.6).
    const mem::GuestRange& last = chain.writable().back();
    const std::byte value{std::to_underlying(status)};
    const GuestPhysAddr at = last.start() + (last.size() - Bytes(1));
    if (auto stored = memory_->write(at, {&value, 1}); !stored) co_return std::unexpected(stored.error());
    const bool whole = written + 1 == chain.writable_size();
    co_return whole ? written + 1 : static_cast<uint32_t>(chain.writable_size());
}

io::Task<BlkStatus> Blk::execute(const BlkHeader& header, Chain& chain, uint32_t& written) {
    switch (static_cast<BlkRequest>(header.type)) {
    case BlkRequest::VIRTIO_BLK_T_IN: co_return co_await read(header, chain, written);
    case BlkRequest::VIRTIO_BLK_T_OUT: co_return co_await write(header, chain);
    case BlkRequest::VIRTIO_BLK_T_FLUSH: co_return co_await flush();
    case BlkRequest::VIRTIO_BLK_T_GET_ID: co_return get_id(chain, written);
    case BlkRequest::VIRTIO_BLK_T_DISCARD:
    case BlkRequest::VIRTIO_BLK_T_WRITE_ZEROES: co_return co_await clear_segments(static_cast<BlkRequest>(header.type), chain);
    }
    co_return BlkStatus::VIRTIO_BLK_S_UNSUPP;
}

io::Task<BlkStatus> Blk::read(const BlkHeader& header, Chain& chain, uint32_t& written) {
    const uint64_t bytes = chain.writable_size() - 1;
    if (bytes == 0 || bytes % kSector || !disk_.inside(header.sector, bytes)) co_return BlkStatus::VIRTIO_BLK_S_IOERR;
    const std::vector<iovec> into = ChainCursor(*memory_, chain.writable()).lend(bytes);
    const Result<> result = co_await disk_.read(header.sector, into);
    mark_written(*memory_, chain.writable(), bytes);  // a failed read may have written part of it
    written = static_cast<uint32_t>(bytes);
    co_return answer(result);
}

io::Task<BlkStatus> Blk::write(const BlkHeader& header, Chain& chain) {
    const uint64_t bytes = chain.readable_size() - sizeof(BlkHeader);
    if (disk_.readonly() || bytes == 0 || bytes % kSector || !disk_.inside(header.sector, bytes)) co_return BlkStatus::VIRTIO_BLK_S_IOERR;
    ChainCursor cursor(*memory_, chain.readable());
    cursor.skip(sizeof(BlkHeader));
    const std::vector<iovec> from = cursor.lend(bytes);
    const Result<> result = co_await disk_.write(header.sector, from);
    if (result && writethrough()) co_return co_await flush();
    co_return answer(result);
}

io::Task<BlkStatus> Blk::flush() {
    const Result<> result = co_await disk_.flush();
    co_return answer(result);
}

BlkStatus Blk::get_id(Chain& chain, uint32_t& written) {
    std::array<char, VIRTIO_BLK_ID_BYTES> id{};
    std::copy_n(options_.serial.data(), std::min(options_.serial.size(), id.size()), id.data());
    if (chain.writable_size() < id.size() + 1) return BlkStatus::VIRTIO_BLK_S_IOERR;
    ChainCursor cursor(*memory_, chain.writable());
    written = static_cast<uint32_t>(cursor.write(std::as_bytes(std::span(id))));
    return BlkStatus::VIRTIO_BLK_S_OK;
}

io::Task<BlkStatus> Blk::clear_segments(BlkRequest type, Chain& chain) {
    const uint64_t bytes = chain.readable_size() - sizeof(BlkHeader);
    if (disk_.readonly() || bytes == 0 || bytes % sizeof(BlkSegment) || bytes / sizeof(BlkSegment) > kMaxSegments)
        co_return BlkStatus::VIRTIO_BLK_S_IOERR;
    std::vector<BlkSegment> segments(bytes / sizeof(BlkSegment));
    ChainCursor cursor(*memory_, chain.readable());
    cursor.skip(sizeof(BlkHeader));
    cursor.read(std::as_writable_bytes(std::span(segments)));
    ++disk_.counters.discards;
    for (const BlkSegment& segment : segments) {
        const BlkStatus status = co_await clear_segment(type, segment);
        if (status != BlkStatus::VIRTIO_BLK_S_OK) co_return status;
    }
    if (writethrough()) co_return co_await flush();
    co_return BlkStatus::VIRTIO_BLK_S_OK;
}

io::Task<BlkStatus> Blk::clear_segment(BlkRequest type, BlkSegment segment) {
    const bool discard = type == BlkRequest::VIRTIO_BLK_T_DISCARD;
    const uint32_t known = discard ? 0 : VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;
    if (segment.flags & ~known) co_return BlkStatus::VIRTIO_BLK_S_UNSUPP;  // 5.2.6.2
    if (segment.num_sectors > kMaxClearSectors || !disk_.inside(segment.sector, segment.num_sectors * kSector)) co_return BlkStatus::VIRTIO_BLK_S_IOERR;
    if (segment.num_sectors == 0) co_return BlkStatus::VIRTIO_BLK_S_OK;
    if (discard) {
        const Result<> result = co_await disk_.discard(segment.sector, segment.num_sectors);
        co_return answer(result);
    }
    const Result<> result = co_await disk_.write_zeroes(segment.sector, segment.num_sectors, segment.flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP);
    co_return answer(result);
}

}  // namespace yado::virtio
