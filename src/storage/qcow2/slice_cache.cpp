#include "storage/qcow2/slice_cache.h"

#include <limits.h>

#include <algorithm>

namespace yado::storage::qcow2 {

using io::or_return;

io::Task<Result<>> write_copies(ImageFile& file, std::vector<TableCopy>& copies) {
    std::ranges::sort(copies, {}, &TableCopy::at);
    for (size_t n = 0; n < copies.size();) {
        const uint64_t at = copies[n].at;
        uint64_t end = at;
        std::vector<iovec> pieces;
        for (; n < copies.size() && copies[n].at == end && pieces.size() < IOV_MAX; ++n) {
            pieces.push_back({copies[n].bytes.data(), copies[n].bytes.size()});
            end += copies[n].bytes.size();
        }
        co_await or_return(co_await file.writev(Bytes(at), pieces));
    }
    co_return Result<>{};
}

io::Task<Result<SliceCache::Slice*>> SliceCache::get(uint64_t at) {
    for (;;) {
        const auto found = slices_.find(at);
        if (found == slices_.end()) {
            co_await or_return(co_await make_room());
            if (slices_.contains(at)) continue;  // somebody else was quicker
            auto& slot = slices_[at];
            slot = std::make_unique<Slice>();
            slot->at = at;
            slot->age = ages_.insert(ages_.begin(), at);
            co_await or_return(co_await load(*slot));
            continue;
        }
        Slice& slice = *found->second;
        if (slice.loaded) {
            ages_.splice(ages_.begin(), ages_, slice.age);
            co_return &slice;
        }
        io::Completion<bool> loaded;
        slice.waiters.push_back(&loaded);
        co_await loaded;
    }
}

io::Task<Result<>> SliceCache::load(Slice& slice) {
    slice.bytes.resize(slice_size_);
    const uint64_t size = file_.size().value();
    const uint64_t length = slice.at < size ? std::min(slice_size_, size - slice.at) : 0;
    Result<> read;
    if (length) read = co_await read_bytes(file_, Bytes(slice.at), std::span(slice.bytes).first(length));
    const auto waiters = std::exchange(slice.waiters, {});
    slice.loaded = true;
    if (!read) {
        ages_.erase(slice.age);
        slices_.erase(slice.at);
    }
    for (io::Completion<bool>* waiter : waiters) waiter->complete(true);  // they look again, as does who loads
    co_return read;
}

void SliceCache::mark_dirty(Slice& slice) {
    if (!std::exchange(slice.dirty, true)) ++dirty_;
}

bool SliceCache::evict_one() {
    for (auto age = ages_.rbegin(); age != ages_.rend(); ++age) {
        const auto found = slices_.find(*age);
        const Slice& slice = *found->second;
        if (!slice.loaded || slice.dirty || slice.writing) continue;
        ages_.erase(slice.age);
        slices_.erase(found);
        return true;
    }
    return false;
}

/// At most half is dirty, so that there is always something to evict; where writing does not help, memory gives way a little.
io::Task<Result<>> SliceCache::make_room() {
    if (dirty_ > capacity_ / 2) co_await or_return(co_await clean_());
    while (slices_.size() >= capacity_ && evict_one()) {
    }
    co_return Result<>{};
}

std::vector<TableCopy> SliceCache::take_dirty() {
    std::vector<TableCopy> copies;
    for (auto& [at, slice] : slices_) {
        if (!std::exchange(slice->dirty, false)) continue;
        slice->writing = true;
        copies.push_back({at, slice->bytes});
    }
    dirty_ = 0;
    std::ranges::sort(copies, {}, &TableCopy::at);
    return copies;
}

void SliceCache::settle(const std::vector<TableCopy>& copies, bool written) {
    for (const TableCopy& copy : copies) {
        const auto found = slices_.find(copy.at);
        if (found == slices_.end()) continue;
        found->second->writing = false;
        if (!written) mark_dirty(*found->second);
    }
}

void SliceCache::forget(uint64_t at, uint64_t length) {
    for (uint64_t n = at; n < at + length; n += slice_size_) {
        const auto found = slices_.find(n);
        if (found == slices_.end() || found->second->writing || !found->second->loaded) continue;
        if (found->second->dirty) --dirty_;
        ages_.erase(found->second->age);
        slices_.erase(found);
    }
}

}  // namespace yado::storage::qcow2
