#include "pci/msix.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace yado::pci {

namespace {
constexpr uint32_t kVectorMask = 1;  // 6.8.2.9
}

Msix::Msix(bus::MsiSink& sink, unsigned vectors, Refused refused)
    : sink_(sink), refused_(std::move(refused)), table_(vectors), events_(vectors) {
    YADO_CHECK(vectors >= 1 && vectors <= kMaxMsixVectors);
}

uint32_t Msix::pba_offset() const { return std::max(2048u, std::bit_ceil(vectors() * kMsixEntrySize)); }
uint32_t Msix::bar_size() const { return std::max(4096u, std::bit_ceil(pba_offset() + (vectors() + 63) / 64 * 8)); }

uint64_t Msix::read(uint64_t offset, unsigned size) {
    if ((size != 4 && size != 8) || offset % size) return ~0ull;
    const uint64_t low = read_dword(offset);
    return size == 4 ? low : low | static_cast<uint64_t>(read_dword(offset + 4)) << 32;
}

void Msix::write(uint64_t offset, unsigned size, uint64_t value) {
    if ((size != 4 && size != 8) || offset % size) return;
    write_dword(offset, static_cast<uint32_t>(value));
    if (size == 8) write_dword(offset + 4, static_cast<uint32_t>(value >> 32));
}

uint32_t Msix::read_pending(uint64_t first) {
    uint32_t bits = 0;
    for (uint64_t v = first; v < first + 32 && v < table_.size(); ++v) {
        collect(static_cast<unsigned>(v));
        bits |= table_[v].pending ? 1u << (v - first) : 0;
    }
    return bits;
}

uint32_t Msix::read_dword(uint64_t offset) {
    if (offset >= pba_offset()) return read_pending((offset - pba_offset()) * 8);
    const uint64_t vector = offset / kMsixEntrySize;
    if (vector >= table_.size()) return 0;
    const Entry& e = table_[vector];
    switch (offset % kMsixEntrySize) {
    case 0: return static_cast<uint32_t>(e.address);
    case 4: return static_cast<uint32_t>(e.address >> 32);
    case 8: return e.data;
    default: return e.control;
    }
}

void Msix::write_dword(uint64_t offset, uint32_t value) {
    const uint64_t vector = offset / kMsixEntrySize;
    if (vector >= table_.size()) return;  // pending bits are read-only
    Entry& e = table_[vector];
    switch (offset % kMsixEntrySize) {
    case 0: e.address = (e.address & ~0xffffffffull) | (value & ~3u); break;
    case 4: e.address = (e.address & 0xffffffffull) | static_cast<uint64_t>(value) << 32; break;
    case 8: e.data = value; break;
    default: e.control = value & kVectorMask; break;
    }
    settle(static_cast<unsigned>(vector));
}

void Msix::set_control(MsixControl control, bool bus_master) {
    if (control.get(MsixControl::ENABLE) != enabled())
        for (VectorEvent& e : events_) e.release();
    control_ = control;
    bus_master_ = bus_master;
    settle_all();
}

bool Msix::blocked(const Entry& entry) const {
    return held_ || !enabled() || !bus_master_ || control_.get(MsixControl::FUNCTION_MASK) || entry.control & kVectorMask;
}

void Msix::deliver(Entry& entry) {
    entry.pending = false;
    sink_.send({GuestPhysAddr(entry.address), entry.data});
}

/// Events in the descriptor of a vector that is not bound: pending, or nothing while MSI-X is off.
void Msix::collect(unsigned vector) {
    if (events_[vector].take() && enabled()) table_[vector].pending = true;
}

/// Brings a vector's route and pending bit in line with its entry and the masks.
void Msix::settle(unsigned vector) {
    Entry& e = table_[vector];
    VectorEvent& event = events_[vector];
    if (blocked(e)) return event.unbind();
    collect(vector);
    if (e.pending) deliver(e);
    if (const auto bound = event.bind(sink_, {GuestPhysAddr(e.address), e.data}); !bound && refused_) refused_(vector, bound.error());
}

void Msix::settle_all() {
    for (unsigned v = 0; v < vectors(); ++v) settle(v);
}

void Msix::raise(unsigned vector) {
    if (vector >= table_.size() || !enabled()) return;
    Entry& e = table_[vector];
    if (blocked(e)) {
        e.pending = true;
    } else if (events_[vector].bound()) {
        events_[vector].signal();
    } else {
        deliver(e);
    }
}

Result<int> Msix::event(unsigned vector) {
    if (vector >= events_.size()) return fail(ErrorKind::OutOfRange, "MSI-X vector {} of {}", vector, events_.size());
    return events_[vector].descriptor();
}

void Msix::poll(unsigned vector) {
    if (vector < events_.size() && events_[vector].take()) raise(vector);
}

unsigned Msix::routed() const { return static_cast<unsigned>(std::ranges::count_if(events_, &VectorEvent::bound)); }

void Msix::hold(bool held) {
    held_ = held;
    settle_all();
}

const std::vector<Msix::Entry>& Msix::table() {
    for (unsigned v = 0; v < vectors(); ++v) collect(v);
    return table_;
}

void Msix::reset() {
    for (VectorEvent& e : events_) e.release();
    std::ranges::fill(table_, Entry{});
    control_ = {};
    bus_master_ = false;
}

}  // namespace yado::pci
