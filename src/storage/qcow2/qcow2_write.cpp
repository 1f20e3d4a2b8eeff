// Qcow2Image: writes, zeroes, discards.
#include "storage/pieces.h"
#include "storage/qcow2/qcow2_image.h"

namespace yado::storage::qcow2 {

using io::or_return;

/// Where new contents go.
struct Qcow2Image::Target {
    uint64_t host = 0, count = 0;  ///< bytes; clusters
    bool fresh = false;            ///< reads as zeroes already
    bool owned = false;            ///< the mapping names it already
};

io::Task<Result<>> Qcow2Image::writev(Bytes offset, Pieces from) {
    const auto pass = co_await or_return(gate_.enter());
    const Range range{offset.value(), offset.value() + total_of(from)};
    co_await or_return(writable());
    co_await or_return(inside(offset, Bytes(range.length())));
    const Metadata::Flight flight(metadata_);
    co_return co_await judged(co_await write_range(range, from));
}

io::Task<Result<>> Qcow2Image::write_range(Range range, Pieces from) {
    for (uint64_t at = range.begin; at < range.end;) {
        co_await or_return(writable());
        const Run run = co_await or_return(co_await metadata_.mapping().lookup(at, range.end - at));
        const bool in_place = run.kind == Run::Kind::Data && run.copied;
        if (in_place && run.length == range.length()) co_return co_await write_in_place(run.host, from);
        const std::vector<iovec> part = slice(from, at - range.begin, run.length);
        if (in_place) {
            co_await or_return(co_await write_in_place(run.host, part));
            at += run.length;
            continue;
        }
        const Range here{at, at + run.length};
        at += co_await or_return(co_await write_new(here, part));
    }
    co_return Result<>{};
}

io::Task<Result<>> Qcow2Image::write_in_place(uint64_t host, Pieces from) {
    const Geometry& g = metadata_.geometry();
    const uint64_t first = g.cluster_of(host), end = g.clusters_for(host + total_of(from));
    if (metadata_.guard().overlaps(first, end - first)) co_return damaged(*file_, "an L2 entry points to a table at {}", host);
    co_return co_await file_->writev(Bytes(host), from);
}

bool Qcow2Image::reads_zero(const Run& run) const {
    return run.kind == Run::Kind::Zero || run.kind == Run::Kind::ZeroAllocated || (run.kind == Run::Kind::Absent && !backing_);
}

/// Writes the beginning of the range to clusters of the image's own; gives how much. 0: they have become writable in place.
io::Task<Result<uint64_t>> Qcow2Image::write_new(Range range, Pieces from) {
    const Geometry& g = metadata_.geometry();
    const RangeLock::Range guest{g.cluster_of(range.begin), g.clusters_for(range.end)};
    const RangeLock::Held held = co_await clusters_.take(guest);
    const Run old = co_await or_return(co_await metadata_.mapping().lookup(guest.first * cluster_size(), (guest.end - guest.first) * cluster_size()));
    if (old.kind == Run::Kind::Data && old.copied) co_return uint64_t{0};
    const uint64_t most = std::min({guest.end - guest.first, g.clusters_for(old.length), metadata_.mapping().left_in_slice(guest.first)});
    const Target target = co_await or_return(co_await find_target(old, most));
    const Range clusters{guest.first * cluster_size(), (guest.first + target.count) * cluster_size()};
    const Range written{range.begin, std::min(range.end, clusters.end)};
    const std::vector<iovec> part = slice(from, 0, written.length());
    Result<> done = co_await fill_target(target, old, clusters, written, part);
    if (done) done = co_await point_to(guest.first, target.count, target.host | COPIED, cluster_size(), false);
    if (done) co_return written.length();
    if (!target.owned) (void)co_await metadata_.refcounts().give_back(g.cluster_of(target.host), target.count);
    co_return std::unexpected(done.error());
}

io::Task<Result<Qcow2Image::Target>> Qcow2Image::find_target(Run run, uint64_t clusters) {
    const Geometry& g = metadata_.geometry();
    if (run.kind == Run::Kind::ZeroAllocated && run.copied) {
        if (metadata_.guard().overlaps(g.cluster_of(run.host), clusters)) co_return damaged(*file_, "an L2 entry points to a table at {}", run.host);
        co_return Target{run.host, clusters, false, true};
    }
    const Refcounts::Run found = co_await or_return(co_await metadata_.refcounts().allocate(clusters));
    co_return Target{found.first << g.cluster_bits, found.count, found.fresh, false};
}

/// Writes the new contents, and around them what the clusters held so far, as one request.
io::Task<Result<>> Qcow2Image::fill_target(Target target, Run old, Range clusters, Range range, Pieces from) {
    const uint64_t head = range.begin - clusters.begin, tail = clusters.end - range.end;
    if ((head == 0 && tail == 0) || (target.fresh && reads_zero(old))) co_return co_await file_->writev(Bytes(target.host + head), from);
    std::vector<std::byte> edges(head + tail);
    if (!reads_zero(old)) {
        const iovec front{edges.data(), head}, back{edges.data() + head, tail};
        if (head) co_await or_return(co_await read_run(old, clusters.begin, Pieces(&front, 1)));
        old.host += range.end - clusters.begin;
        if (tail) co_await or_return(co_await read_run(old, range.end, Pieces(&back, 1)));
    }
    std::vector<iovec> pieces;
    pieces.reserve(from.size() + 2);
    if (head) pieces.push_back({edges.data(), head});
    pieces.insert(pieces.end(), from.begin(), from.end());
    if (tail) pieces.push_back({edges.data() + head, tail});
    co_return co_await file_->writev(Bytes(target.host), pieces);
}

/// The caller holds the lock of the guest clusters, which lie in one slice.
io::Task<Result<>> Qcow2Image::point_to(uint64_t cluster, uint64_t count, uint64_t entry, uint64_t step, bool punch) {
    const Mapping::Change change{cluster, count, entry, step};
    const std::vector<uint64_t> old = co_await or_return(co_await metadata_.mapping().update(change));
    for (uint64_t n = 0; n < count; ++n) {
        const bool same = !(old[n] & COMPRESSED) && ((old[n] ^ (entry + n * step)) & kOffsetMask) == 0;
        if (!same) metadata_.drop_entry(old[n], punch);
    }
    if (metadata_.crowded()) (void)co_await metadata_.commit();  // if that fails the next flush tells
    co_return Result<>{};
}

io::Task<Result<>> Qcow2Image::write_zeroes(Bytes offset, Bytes length, bool unmap) {
    const auto pass = co_await or_return(gate_.enter());
    co_await or_return(writable());
    co_await or_return(inside(offset, length));
    const Metadata::Flight flight(metadata_);
    const Range range{offset.value(), (offset + length).value()};
    co_return co_await judged(co_await zero_range(range, unmap && discards_));
}

io::Task<Result<>> Qcow2Image::zero_range(Range range, bool unmap) {
    const uint64_t size = cluster_size(), begin = metadata_.geometry().round_up(range.begin);
    const uint64_t end = range.end == size_ ? metadata_.geometry().round_up(range.end) : range.end / size * size;
    if (begin >= end || !can_be_zero()) co_return co_await zero_part(range);
    const Range front{range.begin, begin}, back{end, std::max(end, range.end)};
    co_await or_return(co_await zero_part(front));
    for (uint64_t at = begin; at < end;) {
        const Run run = co_await or_return(co_await metadata_.mapping().lookup(at, end - at));
        const Range here{at, at + run.length};
        at = here.end;
        const bool owned = run.kind == Run::Kind::Data && run.copied;
        if (owned && !unmap) co_await or_return(co_await zero_part(here));
        else if (!reads_zero(run) || (run.kind == Run::Kind::ZeroAllocated && unmap)) co_await or_return(co_await drop_clusters(here, empty_entry()));
    }
    co_return co_await zero_part(back);
}

/// Any range, without changing entries where that can be.
io::Task<Result<>> Qcow2Image::zero_part(Range range) {
    constexpr uint64_t kMost = 4 << 20;
    const Geometry& g = metadata_.geometry();
    for (uint64_t at = range.begin; at < range.end;) {
        const Run run = co_await or_return(co_await metadata_.mapping().lookup(at, std::min(kMost, range.end - at)));
        const Range here{at, at + run.length};
        at = here.end;
        if (reads_zero(run)) continue;
        const bool owned = run.kind == Run::Kind::Data && run.copied && run.host + run.length <= file_->size().value();
        if (owned && !metadata_.guard().overlaps(g.cluster_of(run.host), g.clusters_for(run.host % cluster_size() + run.length))) {
            co_await or_return(co_await file_->write_zeroes(Bytes(run.host), Bytes(run.length), ZeroMode::KeepSpace));
            continue;
        }
        const std::vector<iovec> zeroes = zero_pieces(here.length());
        co_await or_return(co_await write_range(here, zeroes));
    }
    co_return Result<>{};
}

/// Sets all entries of whole clusters.
io::Task<Result<>> Qcow2Image::drop_clusters(Range range, uint64_t entry) {
    const Geometry& g = metadata_.geometry();
    for (uint64_t at = g.cluster_of(range.begin); at < g.clusters_for(range.end);) {
        co_await or_return(writable());
        const uint64_t most = std::min(g.clusters_for(range.end) - at, metadata_.mapping().left_in_slice(at));
        const RangeLock::Range guest{at, at + most};
        const RangeLock::Held held = co_await clusters_.take(guest);
        const Run run = co_await or_return(co_await metadata_.mapping().lookup(at * cluster_size(), most * cluster_size()));
        const uint64_t count = std::min(most, g.clusters_for(run.length));
        const bool nothing = (run.kind == Run::Kind::Absent && entry == 0) || (run.kind == Run::Kind::Zero && entry == ZERO);
        if (!nothing) co_await or_return(co_await point_to(at, count, entry, 0, true));
        at += count;
    }
    co_return Result<>{};
}

io::Task<Result<>> Qcow2Image::discard(Bytes offset, Bytes length) {
    const auto pass = co_await or_return(gate_.enter());
    co_await or_return(writable());
    co_await or_return(inside(offset, length));
    const Metadata::Flight flight(metadata_);
    const uint64_t size = cluster_size(), stop = (offset + length).value();
    const Range whole{metadata_.geometry().round_up(offset.value()), stop == size_ ? metadata_.geometry().round_up(stop) : stop / size * size};
    if (whole.begin >= whole.end || !discards_ || !can_be_zero()) co_return Result<>{};
    co_return co_await judged(co_await discard_range(whole));
}

io::Task<Result<>> Qcow2Image::discard_range(Range range) {
    for (uint64_t at = range.begin; at < range.end;) {
        const Run run = co_await or_return(co_await metadata_.mapping().lookup(at, range.end - at));
        const Range here{at, at + run.length};
        at = here.end;
        if (run.kind == Run::Kind::Absent || run.kind == Run::Kind::Zero) continue;  // takes no space
        co_await or_return(co_await drop_clusters(here, empty_entry()));
    }
    co_return Result<>{};
}

}  // namespace yado::storage::qcow2
