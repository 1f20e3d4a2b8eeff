// Qcow2Image: another size. Nothing else is in flight.
#include "storage/qcow2/qcow2_image.h"

namespace yado::storage::qcow2 {

using io::or_return;

io::Task<Result<>> Qcow2Image::resize(Bytes size) {
    const auto pass = co_await or_return(gate_.enter());
    co_await or_return(writable());
    if (size.value() == 0 || size.value() % 512 || size.value() > kMaxImageBytes)
        co_return fail(ErrorKind::Usage, "disk {}: size {}: must be a multiple of 512, and not 0", file_->name(), size.value());
    const uint64_t before = size_;
    if (size.value() == before) co_return Result<>{};
    io::Task<Result<>> change = size.value() < before ? shrink(size.value()) : grow(size.value());
    auto done = co_await judged(co_await std::move(change));
    if (!done && size.value() > before) size_ = before;
    co_return done;
}

/// The header first: clusters behind the end hurt nobody, and growing drops them.
io::Task<Result<>> Qcow2Image::shrink(uint64_t size) {
    co_await or_return(co_await finish());
    const Range cut{metadata_.geometry().round_up(size), metadata_.geometry().round_up(size_)};
    co_await or_return(co_await store_size(size));
    size_ = size;
    co_await or_return(co_await drop_clusters(cut, 0));
    co_return co_await finish();
}

/// What is new reads as zeroes: not what a cut left there, nor what the image below has there.
io::Task<Result<>> Qcow2Image::grow(uint64_t size) {
    const Geometry& g = metadata_.geometry();
    const uint64_t before = size_, below = backing_ ? backing_->size().value() : 0;
    co_await or_return(co_await finish());
    if (g.l1_entries_for(size) > metadata_.mapping().l1().size()) co_await or_return(co_await grow_l1(g.l1_entries_for(size)));
    size_ = size;
    const Range fresh{g.round_up(before), std::max(g.round_up(before), g.round_up(size))};
    co_await or_return(co_await drop_clusters(fresh, 0));
    const Range rest{before, std::min(size, g.round_up(before))};
    const Run run = co_await or_return(co_await metadata_.mapping().lookup(before / cluster_size() * cluster_size(), 512));
    if (rest.begin < rest.end && (run.kind != Run::Kind::Absent || below > before)) co_await or_return(co_await zero_part(rest));
    const Range shown{fresh.begin, std::min(size, below)};
    if (shown.begin < shown.end) co_await or_return(co_await zero_range(shown, true));
    co_await or_return(co_await finish());
    co_return co_await store_size(size);
}

io::Task<Result<>> Qcow2Image::grow_l1(uint64_t entries) {
    const Geometry& g = metadata_.geometry();
    if (entries * 8 > kMaxL1Bytes)
        co_return fail(ErrorKind::Failed, "disk {}: an image with clusters of {} bytes cannot be that large", file_->name(), cluster_size());
    std::vector<uint64_t> table = metadata_.mapping().l1();
    const uint64_t old_entries = table.size(), old = metadata_.header().l1_offset;
    table.resize(entries);
    const uint64_t clusters = g.clusters_for(entries * 8);
    const uint64_t first = co_await or_return(co_await metadata_.refcounts().allocate_table(clusters));
    const std::vector<std::byte> bytes = table_bytes(table, clusters * cluster_size());
    co_await or_return(co_await write_bytes(*file_, Bytes(first * cluster_size()), bytes));
    co_await or_return(co_await metadata_.refcounts().write_all());
    Header& header = metadata_.header();
    header.l1_offset = first * cluster_size();
    header.l1_size = static_cast<uint32_t>(entries);
    metadata_.sector().set64(kL1OffsetAt, header.l1_offset);
    metadata_.sector().set32(kL1SizeAt, header.l1_size);
    co_await or_return(co_await metadata_.sector().store());
    metadata_.guard().remove_table(g.cluster_of(old));
    metadata_.guard().add_table(first, clusters);
    metadata_.mapping().replace_l1(std::move(table), header.l1_offset);
    co_return co_await metadata_.refcounts().give_back(g.cluster_of(old), g.clusters_for(old_entries * 8));
}

io::Task<Result<>> Qcow2Image::store_size(uint64_t size) {
    metadata_.header().size = size;
    metadata_.sector().set64(kSizeAt, size);
    co_return co_await metadata_.sector().store();
}

}  // namespace yado::storage::qcow2
