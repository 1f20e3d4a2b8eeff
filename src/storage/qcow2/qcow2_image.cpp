#include "storage/qcow2/qcow2_image.h"

#include "storage/pieces.h"
#include "storage/qcow2/backing_name.h"
#include "storage/qcow2/inflate.h"
#include "storage/shown.h"

namespace yado::storage::qcow2 {

using io::or_return;

Qcow2Image::Qcow2Image(std::unique_ptr<ImageFile> file, const Header& header, OpenOptions options, Metadata::Options metadata)
    : file_(std::move(file)), backing_(std::move(options.backing)), metadata_(*file_, header, metadata), size_(header.size), discards_(options.discard) {}

io::Task<Result<>> Qcow2Image::load() {
    co_return co_await metadata_.load(readonly() ? Metadata::Access::Read : Metadata::Access::Write);
}

io::Task<> Qcow2Image::abandon() {
    (void)co_await file_->close();
    if (backing_) (void)co_await backing_->close();
}

std::string Qcow2Image::describe() const {
    return fmt::format("qcow2 {}{} ({}){}", file_->name(), readonly() ? ", read-only" : "", file_->carrier(), backing_ ? " over " + backing_->describe() : "");
}

Result<> Qcow2Image::inside(Bytes offset, Bytes length) const {
    return check_inside(*file_, offset, length, Bytes(size_));
}

Result<> Qcow2Image::writable() const {
    if (readonly()) return fail(ErrorKind::Denied, "disk {}: is open read-only", file_->name());
    if (metadata_.broken()) return damaged(*file_, "nothing is written any more; repair it");
    return {};
}

io::Task<Result<>> Qcow2Image::judged(Result<> result) {
    if (!result && result.error().kind() == ErrorKind::Corrupt) co_await metadata_.mark_corrupt();
    co_return result;
}

io::Task<Result<>> Qcow2Image::readv(Bytes offset, Pieces into) {
    const auto pass = co_await or_return(gate_.enter());
    const Range range{offset.value(), offset.value() + total_of(into)};
    co_await or_return(inside(offset, Bytes(range.length())));
    const Metadata::Flight flight(metadata_);
    co_return co_await read_range(range, into);
}

io::Task<Result<>> Qcow2Image::read_range(Range range, Pieces into) {
    for (uint64_t at = range.begin; at < range.end;) {
        const Run run = co_await or_return(co_await metadata_.mapping().lookup(at, range.end - at));
        if (run.length == range.length()) co_return co_await read_run(run, at, into);
        const std::vector<iovec> part = slice(into, at - range.begin, run.length);
        co_await or_return(co_await read_run(run, at, part));
        at += run.length;
    }
    co_return Result<>{};
}

io::Task<Result<>> Qcow2Image::read_run(Run run, uint64_t at, Pieces into) {
    switch (run.kind) {
    case Run::Kind::Data: co_return co_await read_file(run.host, into);
    case Run::Kind::Absent: co_return co_await read_backing(at, into);
    case Run::Kind::Compressed: co_return co_await read_compressed(run, at, into);
    case Run::Kind::Zero:
    case Run::Kind::ZeroAllocated: fill_zeroes(into); break;
    }
    co_return Result<>{};
}

/// Some writers leave the end of the last cluster out.
io::Task<Result<>> Qcow2Image::read_file(uint64_t host, Pieces into) {
    const uint64_t length = total_of(into), size = file_->size().value();
    const uint64_t there = host < size ? std::min(length, size - host) : 0;
    if (there == length) co_return co_await file_->readv(Bytes(host), into);
    const std::vector<iovec> behind = slice(into, there, length - there);
    fill_zeroes(behind);
    if (there == 0) co_return Result<>{};
    const std::vector<iovec> front = slice(into, 0, there);
    co_return co_await file_->readv(Bytes(host), front);
}

io::Task<Result<>> Qcow2Image::read_backing(uint64_t at, Pieces into) {
    auto read = co_await read_shown(backing_.get(), Bytes(at), into);
    // Damage of the image below is none of ours.
    if (!read) co_return fail(ErrorKind::Failed, "{}", read.error().message());
    co_return read;
}

io::Task<Result<>> Qcow2Image::read_compressed(Run run, uint64_t at, Pieces into) {
    if (inflated_entry_ != run.entry) {
        const CompressedPlace place = CompressedPlace::of(run.entry, metadata_.geometry());
        const uint64_t size = file_->size().value();
        if (place.offset >= size) co_return fail(ErrorKind::Failed, "disk {}: a compressed cluster lies at {}, outside the file", file_->name(), place.offset);
        std::vector<std::byte> packed(std::min(place.length, size - place.offset));
        co_await or_return(co_await read_bytes(*file_, Bytes(place.offset), packed));
        inflated_entry_ = 0;
        inflated_.resize(cluster_size());
        if (!inflate(metadata_.header().compression, packed, inflated_))
            co_return fail(ErrorKind::Failed, "disk {}: the compressed cluster at {} is damaged", file_->name(), place.offset);
        inflated_entry_ = run.entry;
    }
    scatter(std::span(inflated_).subspan(at % cluster_size(), total_of(into)), into);
    co_return Result<>{};
}

io::Task<Result<block::Extent>> Qcow2Image::map(Bytes offset, Bytes length) {
    constexpr unsigned kMostLookups = 64;
    const auto pass = co_await or_return(gate_.enter());
    const Metadata::Flight flight(metadata_);
    co_await or_return(inside(offset, length));
    const auto kind_of = [](const Run& run) {
        const bool data = run.kind == Run::Kind::Data || run.kind == Run::Kind::Compressed;
        return data ? block::Extent::Kind::Data : run.kind == Run::Kind::Absent ? block::Extent::Kind::Absent : block::Extent::Kind::Zero;
    };
    block::Extent extent;
    uint64_t done = 0;
    for (unsigned n = 0; n < kMostLookups && done < length.value(); ++n) {
        const auto run = co_await metadata_.mapping().lookup(offset.value() + done, length.value() - done);
        if (!run && done == 0) co_return std::unexpected(run.error());
        if (!run || (done && kind_of(*run) != extent.kind)) break;
        extent.kind = kind_of(*run);
        done += run->length;
    }
    extent.length = Bytes(done);
    co_return extent;
}

io::Task<Result<>> Qcow2Image::flush() {
    const auto pass = co_await or_return(gate_.enter());
    if (readonly()) co_return Result<>{};
    co_return co_await judged(co_await metadata_.commit());
}

/// The second commit writes the refcounts of what the first one let go of.
io::Task<Result<>> Qcow2Image::finish() {
    for (int n = 0; n < 2; ++n) co_await or_return(co_await metadata_.commit());
    co_return Result<>{};
}

io::Task<Result<>> Qcow2Image::settle() {
    const auto pass = co_await or_return(gate_.enter());
    if (readonly() || metadata_.broken()) co_return Result<>{};
    co_return co_await judged(co_await finish());
}

/// The sector that later changes of the header start from is read anew.
io::Task<Result<>> Qcow2Image::name_parent(CreateOptions::Parent parent) {
    const auto pass = co_await or_return(gate_.enter());
    co_await or_return(writable());
    const std::optional<CreateOptions::Parent> named = std::move(parent);
    co_await or_return(co_await set_backing_name(*file_, named));
    co_return co_await metadata_.sector().load();
}

io::Task<Result<>> Qcow2Image::close() {
    co_await gate_.close();
    Result<> result;
    if (!readonly() && !metadata_.broken()) {
        result = co_await judged(co_await finish());
        const uint64_t end = metadata_.refcounts().high_water() * cluster_size();
        if (result && file_->size().value() > end) result = co_await file_->resize(Bytes(end));
    }
    const Result<> closed = co_await file_->close();
    if (result) result = closed;
    if (backing_) {
        const Result<> below = co_await backing_->close();
        if (result) result = below;
    }
    co_return result;
}

}  // namespace yado::storage::qcow2
