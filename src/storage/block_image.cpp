#include "storage/block_image.h"

#include "storage/pieces.h"
#include "storage/shown.h"

namespace yado::storage {

using io::or_return;

namespace {

/// Where the part of [at, end) that lies in at's block ends.
uint64_t part_end(uint64_t at, uint64_t end, uint64_t block_size) { return std::min(end, (at / block_size + 1) * block_size); }

constexpr RangeLock::Range kWhole{0, 1};

}  // namespace

BlockImage::BlockImage(std::unique_ptr<ImageFile> file, OpenOptions options, std::string kind, Bytes size, uint64_t block_size)
    : file_(std::move(file)), options_(std::move(options)), kind_(std::move(kind)), size_(size), block_size_(block_size) {}

std::string BlockImage::describe() const {
    return fmt::format("{} {}{} ({})", kind_, file_->name(), readonly() ? ", read-only" : "", file_->carrier());
}

std::unexpected<Error> BlockImage::fail_readonly() const {
    return fail(ErrorKind::Denied, "disk {}: it is open for reading only", file_->name());
}

io::Task<Result<>> BlockImage::readv(Bytes offset, std::span<const iovec> into) {
    const auto pass = co_await or_return(gate_.enter());
    const uint64_t start = offset.value(), end = start + total_of(into);
    co_await or_return(check_inside(*file_, offset, Bytes(end - start), size_));
    for (uint64_t at = start; at < end;) {
        const Run run = co_await or_return(co_await find(at, end - at));
        const std::vector<iovec> part = slice(into, at - start, run.length);
        switch (run.kind) {
        case Run::Kind::Own: co_await or_return(co_await file_->readv(Bytes(run.where), part)); break;
        case Run::Kind::Zero: fill_zeroes(part); break;
        case Run::Kind::Below: co_await or_return(co_await read_shown(options_.backing.get(), Bytes(at), part)); break;
        case Run::Kind::Packed: co_await or_return(co_await read_packed(run, at, part)); break;
        }
        at += run.length;
    }
    co_return Result<>{};
}

io::Task<Result<>> BlockImage::writev(Bytes offset, std::span<const iovec> from) {
    const auto pass = co_await or_return(gate_.enter());
    const uint64_t start = offset.value(), end = start + total_of(from);
    co_await or_return(co_await prepare(offset, Bytes(end - start)));
    for (uint64_t at = start; at < end;) {
        const uint64_t stop = part_end(at, end, block_size_);
        const std::vector<iovec> part = slice(from, at - start, stop - at);
        co_await or_return(co_await write_part(at, part));
        at = stop;
    }
    co_return co_await commit_if_many();
}

io::Task<Result<>> BlockImage::write_part(uint64_t at, std::span<const iovec> from) {
    const uint64_t block = block_of(at), length = total_of(from);
    if (!place_of(block)) {
        const RangeLock::Held held = co_await blocks_.take({block, block + 1});
        if (!place_of(block)) co_return co_await write_new(at, length, from);
    }
    co_await or_return(co_await file_->writev(Bytes(*place_of(block) + at % block_size_), from));
    co_return co_await mark(at, length);
}

/// Gives the block its place, with what `from` holds; zeroes where that is empty.
io::Task<Result<>> BlockImage::write_new(uint64_t at, uint64_t length, std::span<const iovec> from) {
    const uint64_t place = co_await or_return(co_await allocate());
    Result<> written;
    if (!from.empty()) written = co_await file_->writev(Bytes(place + at % block_size_), from);
    if (!written) {
        give_back(place);
        co_return written;
    }
    enter(block_of(at), place);
    co_return co_await mark(at, length);
}

io::Task<Result<>> BlockImage::write_zeroes(Bytes offset, Bytes length, bool unmap) {
    const auto pass = co_await or_return(gate_.enter());
    co_await or_return(co_await prepare(offset, length));
    const uint64_t end = (offset + length).value();
    for (uint64_t at = offset.value(); at < end; at = part_end(at, end, block_size_))
        co_await or_return(co_await zero_part(at, part_end(at, end, block_size_) - at, unmap));
    co_return co_await commit_if_many();
}

io::Task<Result<>> BlockImage::zero_part(uint64_t at, uint64_t length, bool unmap) {
    const uint64_t block = block_of(at);
    if (!place_of(block)) {
        if (!options_.backing) co_return Result<>{};
        const RangeLock::Held held = co_await blocks_.take({block, block + 1});
        if (!place_of(block)) co_return co_await write_new(at, length, {});
    }
    const ZeroMode mode = unmap && options_.discard ? ZeroMode::FreeSpace : ZeroMode::KeepSpace;
    co_await or_return(co_await file_->write_zeroes(Bytes(*place_of(block) + at % block_size_), Bytes(length), mode));
    co_return co_await mark(at, length);
}

/// Where blocks have a place they keep it: the host's file has a hole there.
io::Task<Result<>> BlockImage::discard(Bytes offset, Bytes length) {
    const auto pass = co_await or_return(gate_.enter());
    co_await or_return(co_await prepare(offset, length));
    const uint64_t end = (offset + length).value();
    for (uint64_t at = offset.value(); at < end && options_.discard; at = part_end(at, end, block_size_)) {
        const std::optional<uint64_t> place = place_of(block_of(at));
        if (!place) continue;
        const Bytes part(part_end(at, end, block_size_) - at);
        co_await or_return(co_await file_->discard(Bytes(*place + at % block_size_), part));
    }
    co_return Result<>{};
}

io::Task<Result<block::Extent>> BlockImage::map(Bytes offset, Bytes length) {
    using Kind = block::Extent::Kind;
    const auto pass = co_await or_return(gate_.enter());
    co_await or_return(check_inside(*file_, offset, length, size_));
    const Run run = co_await or_return(co_await find(offset.value(), length.value()));
    if (run.kind == Run::Kind::Own) co_return co_await file_->map(Bytes(run.where), Bytes(run.length));
    block::Extent extent{Kind::Data, Bytes(run.length)};
    if (run.kind == Run::Kind::Below) extent.kind = options_.backing ? Kind::Absent : Kind::Zero;
    if (run.kind == Run::Kind::Zero) extent.kind = Kind::Zero;
    co_return extent;
}

io::Task<Result<>> BlockImage::prepare(Bytes offset, Bytes length) {
    co_await or_return(check_inside(*file_, offset, length, size_));
    if (readonly()) co_return fail_readonly();
    if (writing_) co_return Result<>{};
    const RangeLock::Held held = co_await tables_.take(kWhole);
    if (!writing_) co_await or_return(co_await begin_writing());
    writing_ = true;
    co_return Result<>{};
}

io::Task<Result<>> BlockImage::flush() {
    const auto pass = co_await or_return(gate_.enter());
    co_return co_await commit();
}

io::Task<Result<>> BlockImage::commit() {
    if (readonly()) co_return Result<>{};
    const RangeLock::Held held = co_await tables_.take(kWhole);
    if (pending() == 0) co_return co_await file_->sync();
    co_return co_await write_tables();
}

io::Task<Result<>> BlockImage::commit_if_many() {
    if (pending() < kMostPending) co_return Result<>{};
    co_return co_await commit();
}

io::Task<Result<>> BlockImage::settle() {
    const auto pass = co_await or_return(gate_.enter());
    co_return co_await write_all_down();
}

io::Task<Result<>> BlockImage::write_all_down() {
    if (readonly()) co_return Result<>{};
    co_await or_return(co_await commit());
    if (writing_) co_return co_await finish();
    co_return Result<>{};
}

io::Task<Result<>> BlockImage::close() {
    co_await gate_.close();
    Result<> result = co_await write_all_down();
    if (options_.backing) {
        auto below = co_await options_.backing->close();
        if (result) result = std::move(below);
    }
    auto file = co_await file_->close();
    if (result) result = std::move(file);
    co_return result;
}

// What a format that is only read never needs.
io::Task<Result<>> BlockImage::read_packed(const Run&, uint64_t, std::span<const iovec>) {
    co_return fail(ErrorKind::Failed, "disk {}: compressed blocks are not known in this format", file_->name());
}
io::Task<Result<uint64_t>> BlockImage::allocate() { co_return fail_readonly(); }
io::Task<Result<>> BlockImage::mark(uint64_t, uint64_t) { co_return Result<>{}; }
io::Task<Result<>> BlockImage::begin_writing() { co_return Result<>{}; }
io::Task<Result<>> BlockImage::write_tables() { co_return co_await file_->sync(); }
io::Task<Result<>> BlockImage::finish() { co_return Result<>{}; }

}  // namespace yado::storage
