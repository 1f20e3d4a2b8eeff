#include "storage/vhdx/vhdx_image.h"

#include <algorithm>

#include "storage/pieces.h"

namespace yado::storage::vhdx {

using io::or_return;

namespace {

constexpr uint64_t kEntriesInSector = kLogSector / 8;
constexpr uint64_t kMostAhead = 64 << 20;
/// Two entries as long as can be fit into the smallest log side by side: the one before stays valid while one is written.
constexpr size_t kMostUpdates = 100;
static_assert(2 * entry_length(kMostUpdates) <= kMiB);

uint64_t align_up(uint64_t v, uint64_t to) { return (v + to - 1) / to * to; }

}  // namespace

io::Task<Result<>> update_headers(ImageFile& file, Header& header, size_t& current) {
    for (int n = 0; n < 2; ++n) {
        store_le(&header.raw[header::kSequence], header.sequence() + 1);
        header.seal();
        current ^= 1;
        co_await or_return(co_await write_bytes(file, Bytes(kHeaderOffsets[current]), header.raw));
        co_await or_return(co_await file.sync());
    }
    co_return Result<>{};
}

VhdxImage::VhdxImage(std::unique_ptr<ImageFile> file, Layout layout, const Survey& survey, OpenOptions options)
    : BlockImage(std::move(file), std::move(options), std::string("vhdx ") + layout.variant(), Bytes(layout.size), layout.block_size),
      layout_(std::move(layout)), next_(survey.end) {}

// Zeroes are written only where the file has something: behind its end they come by themselves.
io::Task<Result<>> VhdxImage::replay(ImageFile& file, Layout& layout) {
    layout.header.set_guid(header::kFileWriteGuid, Uuid::random());
    co_await or_return(co_await update_headers(file, layout.header, layout.current));
    for (const Patch& patch : layout.replay.patches) {
        const uint64_t size = file.size().value();
        if (!patch.data.empty()) co_await or_return(co_await write_bytes(file, Bytes(patch.offset), patch.data));
        else if (patch.offset < size)
            co_await or_return(
                co_await file.write_zeroes(Bytes(patch.offset), Bytes(std::min(patch.length, size - patch.offset)), ZeroMode::FreeSpace));
    }
    if (file.size().value() < layout.replay.last_size) co_await or_return(co_await file.resize(Bytes(layout.replay.last_size)));
    co_await or_return(co_await file.sync());
    layout.header.set_guid(header::kLogGuid, Uuid{});
    co_await or_return(co_await update_headers(file, layout.header, layout.current));
    layout.replay = {};
    co_return Result<>{};
}

std::optional<uint64_t> VhdxImage::place_of(uint64_t block) const {
    const uint64_t entry = layout_.entries[layout_.entry_of(block)];
    if (Layout::state(entry) != State::FullyPresent) return std::nullopt;
    return Layout::offset(entry);
}

io::Task<Result<BlockImage::Run>> VhdxImage::find(uint64_t at, uint64_t length) {
    uint64_t block = block_of(at);
    const std::optional<uint64_t> place = place_of(block);
    Run run;
    run.length = std::min(length, block_size_ - at % block_size_);
    run.kind = !place ? Run::Kind::Zero : layout_.replay.patches.empty() ? Run::Kind::Own : Run::Kind::Packed;
    run.where = place.value_or(0) + at % block_size_;
    const auto continues = [&](uint64_t next) {
        return place ? place_of(next) == *place + (next - block_of(at)) * block_size_ : !place_of(next);
    };
    while (run.length < length && continues(++block)) run.length = std::min(length, run.length + block_size_);
    co_return run;
}

io::Task<Result<>> VhdxImage::read_packed(const Run& run, uint64_t, std::span<const iovec> into) {
    const View view{*file_, layout_.replay};
    uint64_t at = run.where;
    for (const iovec& piece : into) {
        const std::span<std::byte> bytes(static_cast<std::byte*>(piece.iov_base), piece.iov_len);
        co_await or_return(co_await view.read(at, bytes));
        at += piece.iov_len;
    }
    co_return Result<>{};
}

io::Task<Result<>> VhdxImage::begin_writing() {
    if (layout_.header.log_length() < kMiB) co_return fail(ErrorKind::Failed, "disk {}: it has no log, and so is only read", file_->name());
    layout_.header.set_guid(header::kFileWriteGuid, Uuid::random());
    layout_.header.set_guid(header::kDataWriteGuid, Uuid::random());
    co_return co_await update_headers(*file_, layout_.header, layout_.current);
}

io::Task<Result<uint64_t>> VhdxImage::allocate() {
    const RangeLock::Held held = co_await end_.take({0, 1});
    if (!returned_.empty()) {
        const uint64_t place = returned_.back();
        co_await or_return(co_await file_->write_zeroes(Bytes(place), Bytes(block_size_), ZeroMode::FreeSpace));
        returned_.pop_back();
        co_return place;
    }
    const uint64_t place = next_;
    co_await or_return(co_await extend(place + block_size_));
    next_ = place + block_size_;
    co_return place;
}

/// What a crash or another program has left behind the last block is cut off first: new blocks read as zeroes.
io::Task<Result<>> VhdxImage::extend(uint64_t end) {
    if (!end_tidy_ && file_->size().value() > next_) co_await or_return(co_await file_->resize(Bytes(next_)));
    end_tidy_ = true;
    if (file_->size().value() >= end) co_return Result<>{};
    co_await or_return(co_await file_->resize(Bytes(std::max(end, next_ + ahead_))));
    ahead_ = std::min(ahead_ * 2, kMostAhead);
    co_return Result<>{};
}

void VhdxImage::enter(uint64_t block, uint64_t place) {
    const uint64_t entry = layout_.entry_of(block);
    layout_.entries[entry] = place | static_cast<uint64_t>(State::FullyPresent);
    unwritten_.insert(entry);
}

// What is entered meanwhile waits for the next time: its data need not be durable yet.
io::Task<Result<>> VhdxImage::write_tables() {
    Entries entries = std::exchange(unwritten_, {});
    const Result<> done = co_await write_down(entries);
    if (!done) unwritten_.merge(entries);
    co_return done;
}

io::Task<Result<>> VhdxImage::write_down(const Entries& entries) {
    for (auto it = entries.begin(); it != entries.end();) {
        std::vector<Update> updates;
        while (it != entries.end() && updates.size() < kMostUpdates) {
            const uint64_t first = *it / kEntriesInSector * kEntriesInSector;
            updates.push_back(table_sector(first));
            it = entries.lower_bound(first + kEntriesInSector);
        }
        co_await or_return(co_await log_updates(updates));
    }
    co_return Result<>{};
}

/// As it may be in the file now: without what is not durable yet, which was not present.
Update VhdxImage::table_sector(uint64_t first) const {
    Update update{layout_.table.offset + first * 8, std::vector<std::byte>(kLogSector)};
    for (uint64_t n = 0; n < kEntriesInSector && first + n < layout_.entries.size(); ++n)
        if (!unwritten_.contains(first + n)) store_le(&update.sector[n * 8], layout_.entries[first + n]);
    return update;
}

uint64_t VhdxImage::end_of_use() const { return align_up(next_, kMiB); }

// The first sync makes durable the data, and what the entry before put to its place: that one is no longer needed then, but stays valid
// until this one is. FlushedFileOffset is a size that the file has had durably.
io::Task<Result<>> VhdxImage::log_updates(std::span<const Update> updates) {
    const uint64_t flushed = file_->size().value() / kMiB * kMiB;
    co_await or_return(co_await file_->sync());
    if (log_guid_.zero()) log_guid_ = Uuid::random();
    const uint64_t length = entry_length(updates.size());
    if (log_position_ + length > layout_.header.log_length()) log_position_ = 0;
    const std::vector<std::byte> entry =
        make_entry(log_guid_, ++log_sequence_, static_cast<uint32_t>(log_position_), updates, flushed, end_of_use());
    co_await or_return(co_await write_bytes(*file_, Bytes(layout_.header.log_offset() + log_position_), entry));
    co_await or_return(co_await file_->sync());
    log_position_ += length;
    if (layout_.header.log_guid() != log_guid_) {
        layout_.header.set_guid(header::kLogGuid, log_guid_);
        co_await or_return(co_await update_headers(*file_, layout_.header, layout_.current));
    }
    for (const Update& update : updates) co_await or_return(co_await write_bytes(*file_, Bytes(update.offset), update.sector));
    co_return Result<>{};
}

/// All that is in it is made durable in its place; the next entry begins a new log.
io::Task<Result<>> VhdxImage::leave_log() {
    co_await or_return(co_await file_->sync());
    if (layout_.header.log_guid().zero()) co_return Result<>{};
    layout_.header.set_guid(header::kLogGuid, Uuid{});
    log_guid_ = Uuid{};
    co_return co_await update_headers(*file_, layout_.header, layout_.current);
}

/// The log is given up before the file is cut: its entries say how long the file is at least.
io::Task<Result<>> VhdxImage::finish() {
    co_await or_return(co_await leave_log());
    if (end_tidy_ && file_->size().value() > next_) co_await or_return(co_await file_->resize(Bytes(next_)));
    co_return Result<>{};
}

io::Task<Result<>> VhdxImage::resize(Bytes size) {
    const uint64_t bytes = size.value(), old = layout_.entries.size();
    if (readonly()) co_return fail_readonly();
    if (size == size_) co_return Result<>{};
    if (layout_.fixed || bytes < size_.value())
        co_return fail(ErrorKind::Failed, "disk {}: a {} {}; copy it into another", file_->name(), kind_,
                       layout_.fixed ? "keeps its size" : "cannot shrink");
    if (bytes % 512 || bytes > kMostBytes)
        co_return fail(ErrorKind::Usage, "disk {}: {} bytes: a VHDX has a multiple of 512, and at most 64 TiB", file_->name(), bytes);
    const uint64_t blocks = (bytes + block_size_ - 1) / block_size_, needed = layout_.entries_for(blocks);
    if (needed > layout_.table.length / 8 || blocks > kMostBlocks)
        co_return fail(ErrorKind::Failed, "disk {}: its table has no room for {} bytes; copy it into another", file_->name(), bytes);
    co_await or_return(co_await commit());
    if (log_guid_.zero()) co_await or_return(co_await begin_writing());
    const Bytes behind((layout_.table.length / 8 - old) * 8);
    co_await or_return(co_await file_->write_zeroes(Bytes(layout_.table.offset + old * 8), behind, ZeroMode::KeepSpace));
    std::vector<Update> updates{{layout_.size_item / kLogSector * kLogSector, std::vector<std::byte>(kLogSector)}};
    const uint64_t inside = layout_.size_item % kLogSector;
    if (inside > kLogSector - 8)
        co_return fail(ErrorKind::Failed, "disk {}: its size is written across two sectors; copy it into another", file_->name());
    co_await or_return(co_await read_bytes(*file_, Bytes(updates[0].offset), updates[0].sector));
    store_le(&updates[0].sector[inside], bytes);
    co_await or_return(co_await log_updates(updates));
    layout_.entries.resize(needed);
    layout_.size = bytes;
    size_ = size;
    co_return co_await leave_log();
}

}  // namespace yado::storage::vhdx
