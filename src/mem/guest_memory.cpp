#include "mem/guest_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

#include "base/check.h"

namespace yado::mem {

namespace {
constexpr uint8_t kDirty = 1;
constexpr uint8_t kCode = 2;
constexpr uint64_t kMaxAddress = 1ull << 52;  // MAXPHYADDR at most (Intel SDM vol. 3, 4.1.4)
}  // namespace

struct GuestMemory::PageFlags {
    explicit PageFlags(uint64_t pages) : count(pages), flags(new std::atomic<uint8_t>[pages]()) {}
    uint64_t count;
    std::unique_ptr<std::atomic<uint8_t>[]> flags;
};

GuestMemory::GuestMemory() = default;

GuestMemory::~GuestMemory() {
    for (const Extent& e : extents_) munmap(e.host, e.size.value());
}

Result<> GuestMemory::add_ram(GuestPhysAddr start, Bytes size, Access access) {
    const auto end = start.checked_add(size);
    if (size.value() == 0 || (start.value() | size.value()) & kPageMask || !end || end->value() > kMaxAddress)
        return fail(ErrorKind::OutOfRange, "guest RAM at {:#x}, {} bytes: not a page-aligned range below 2^52",
                    start.value(), size.value());
    for (const Extent& e : extents_)
        if (start < e.start + e.size && e.start < *end)
            return fail(ErrorKind::OutOfRange, "guest RAM at {:#x} overlaps RAM at {:#x}", start.value(), e.start.value());

    Fd fd(memfd_create("yado-guest-ram", MFD_CLOEXEC));
    if (!fd) return fail_errno("guest RAM: memfd_create");
    if (ftruncate(fd.get(), static_cast<off_t>(size.value())) < 0) return fail_errno("guest RAM: ftruncate");
    void* host = mmap(nullptr, size.value(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd.get(), 0);
    if (host == MAP_FAILED) return fail_errno(fmt::format("guest RAM: mmap of {} MiB", size.value() >> 20));
    madvise(host, size.value(), MADV_HUGEPAGE);  // a wish: first touches cost a fortieth; hosts without them go on as they are

    const Extent extent{start, size, access, fd.get(), Bytes(0), static_cast<std::byte*>(host)};
    const auto at = std::ranges::upper_bound(extents_, start, {}, &Extent::start);
    const auto index = at - extents_.begin();
    extents_.insert(at, extent);
    flags_.insert(flags_.begin() + index, std::make_unique<PageFlags>(size.value() / kPageSize));
    backing_.push_back(std::move(fd));
    return {};
}

Bytes GuestMemory::ram_size() const {
    Bytes sum;
    for (const Extent& e : extents_)
        if (e.access == Access::ReadWrite) sum = sum + e.size;
    return sum;
}

const GuestMemory::Extent* GuestMemory::find(GuestPhysAddr addr) const {
    for (const Extent& e : extents_)  // a handful: a scan beats a search
        if (addr.value() - e.start.value() < e.size.value()) return &e;
    return nullptr;
}

template <typename F>
Result<> GuestMemory::for_each_piece(GuestPhysAddr addr, Bytes size, F&& f) const {
    const auto outside = [&] {
        return fail(ErrorKind::OutOfRange, "guest-physical {:#x}, {} bytes: not RAM", addr.value(), size.value());
    };
    if (!addr.checked_add(size)) return outside();
    for (int pass = 0; pass < 2; ++pass) {  // first check all of it, then act
        uint64_t done = 0;
        while (done < size.value()) {
            const GuestPhysAddr at = addr + Bytes(done);
            const Extent* e = find(at);
            if (!e) return outside();
            const uint64_t in = at.value() - e->start.value();
            const uint64_t n = std::min(size.value() - done, e->size.value() - in);
            if (pass == 0) {
                if (!f(*e, nullptr, done, n)) return outside();
            } else {
                f(*e, e->host + in, done, n);
            }
            done += n;
        }
    }
    return {};
}

Result<> GuestMemory::read(GuestPhysAddr addr, std::span<std::byte> out) const {
    return for_each_piece(addr, Bytes(out.size()), [&](const Extent&, const std::byte* host, uint64_t at, uint64_t n) {
        if (host) std::memcpy(out.data() + at, host, n);
        return true;
    });
}

Result<> GuestMemory::write(GuestPhysAddr addr, std::span<const std::byte> in) {
    YADO_TRY(for_each_piece(addr, Bytes(in.size()), [&](const Extent& e, std::byte* host, uint64_t at, uint64_t n) {
        if (e.access == Access::ReadOnly) return false;
        if (host) std::memcpy(host, in.data() + at, n);
        return true;
    }));
    note_write(addr, Bytes(in.size()));
    return {};
}

Result<> GuestMemory::load_rom(GuestPhysAddr addr, std::span<const std::byte> in) {
    YADO_TRY(for_each_piece(addr, Bytes(in.size()), [&](const Extent&, std::byte* host, uint64_t at, uint64_t n) {
        if (host) std::memcpy(host, in.data() + at, n);
        return true;
    }));
    note_write(addr, Bytes(in.size()));
    return {};
}

Result<GuestRange> GuestMemory::range(GuestPhysAddr addr, Bytes size, Intent intent) const {
    const Extent* e = find(addr);
    if (size.value() == 0 || !e || size.value() > e->size.value() - (addr.value() - e->start.value()) ||
        (intent == Intent::Write && e->access == Access::ReadOnly))
        return fail(ErrorKind::OutOfRange, "guest-physical {:#x}, {} bytes: not in one piece of {} RAM", addr.value(),
                    size.value(), intent == Intent::Write ? "writable" : "readable");
    return GuestRange(addr, size, e->host + (addr.value() - e->start.value()));
}

void GuestMemory::discard(const GuestRange& range) {
    const uint64_t first = page_up(range.start_.value()), end = page_down(range.start_.value() + range.size_.value());
    const Extent* e = find(range.start_);
    if (first >= end || !e) return;
    const uint64_t offset = e->offset.value() + (first - e->start.value());
    if (fallocate(e->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset), static_cast<off_t>(end - first)) == 0)
        note_write(GuestPhysAddr(first), Bytes(end - first));
}

std::byte* GuestMemory::host_page(GuestPhysAddr addr, Access* access) const {
    const Extent* e = find(addr);
    if (!e) return nullptr;
    if (access) *access = e->access;
    return e->host + page_down(addr.value() - e->start.value());
}

std::atomic<uint8_t>* GuestMemory::flags_of(GuestPhysAddr addr) const {
    const Extent* e = find(addr);
    if (!e) return nullptr;
    return &flags_[e - extents_.data()]->flags[(addr.value() - e->start.value()) / kPageSize];
}

void GuestMemory::set_dirty_log(bool enabled) {
    dirty_log_ = enabled;
    if (enabled) harvest_dirty();
}

void GuestMemory::mark_dirty(GuestPhysAddr addr, Bytes size) {
    for (uint64_t page = page_down(addr.value()); page < addr.value() + size.value(); page += kPageSize)
        if (auto* f = flags_of(GuestPhysAddr(page))) f->fetch_or(kDirty, std::memory_order_relaxed);
}

std::vector<uint64_t> GuestMemory::harvest_dirty() {
    std::vector<uint64_t> frames;
    for (size_t i = 0; i < extents_.size(); ++i)
        for (uint64_t page = 0; page < flags_[i]->count; ++page)
            if (flags_[i]->flags[page].load(std::memory_order_relaxed) & kDirty &&
                flags_[i]->flags[page].fetch_and(static_cast<uint8_t>(~kDirty)) & kDirty)
                frames.push_back(extents_[i].start.value() / kPageSize + page);
    return frames;
}

void GuestMemory::add_watcher(CodeWatcher* watcher) { watchers_.push_back(watcher); }
void GuestMemory::remove_watcher(CodeWatcher* watcher) { std::erase(watchers_, watcher); }

void GuestMemory::mark_code(GuestPhysAddr addr) {
    if (auto* f = flags_of(addr)) f->fetch_or(kCode);
}
void GuestMemory::clear_code(GuestPhysAddr addr) {
    if (auto* f = flags_of(addr)) f->fetch_and(static_cast<uint8_t>(~kCode));
}
bool GuestMemory::holds_code(GuestPhysAddr addr) const {
    const auto* f = flags_of(addr);
    return f && f->load() & kCode;
}

void GuestMemory::note_write(GuestPhysAddr addr, Bytes size) {
    // The bytes before the flag: an engine marks a page before it reads code from it, so one of the two sees the other.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    const uint64_t end = addr.value() + size.value();
    for (uint64_t at = addr.value(); at < end;) {
        const uint64_t next = std::min(page_down(at) + kPageSize, end);
        if (auto* f = flags_of(GuestPhysAddr(at))) {
            if (dirty_log_.load(std::memory_order_relaxed)) f->fetch_or(kDirty, std::memory_order_relaxed);
            if (f->load(std::memory_order_relaxed) & kCode)
                for (CodeWatcher* w : watchers_) w->code_written(GuestPhysAddr(at), Bytes(next - at));
        }
        at = next;
    }
}

}  // namespace yado::mem
