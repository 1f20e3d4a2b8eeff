#include "virtio/queue/ring.h"

namespace yado::virtio {

namespace {
constexpr Bytes kFlagsAt{14};

struct EventSuppression {  // 2.8.10
    uint16_t desc, flags;
};

void advance(uint16_t& slot, bool& wrap, uint16_t by, uint16_t size) {
    uint32_t next = uint32_t{slot} + by;
    if (next >= size) {
        next -= size;
        wrap = !wrap;
    }
    slot = static_cast<uint16_t>(next);
}
}  // namespace

Result<> PackedRing::check(const mem::GuestMemory& memory, const RingConfig& c) {
    using Intent = mem::GuestMemory::Intent;
    if (c.size == 0 || c.size > 32768) return fail(ErrorKind::Corrupt, "a packed ring of {} entries", c.size);
    if (c.desc.value() % 16 || c.driver.value() % 4 || c.device.value() % 4) return fail(ErrorKind::Corrupt, "a misaligned ring");
    YADO_TRY(memory.range(c.desc, Bytes(16ull * c.size), Intent::Write));
    YADO_TRY(memory.range(c.driver, Bytes(4), Intent::Read));
    YADO_TRY(memory.range(c.device, Bytes(4), Intent::Write));
    return {};
}

Result<bool> PackedRing::available() {
    // acquire: a list's first flags are written last (2.8.21)
    const uint16_t flags = YADO_TRY(memory_.atomic<uint16_t>(entry(at_.next) + kFlagsAt)).load(std::memory_order_acquire);
    return !!(flags & VIRTQ_DESC_F_AVAIL) == at_.next_wrap && !!(flags & VIRTQ_DESC_F_USED) != at_.next_wrap;
}

Result<std::optional<ParsedChain>> PackedRing::pop() {
    if (!YADO_TRY(available())) return std::nullopt;
    ChainBuilder builder(memory_);
    uint16_t slots = 0;
    PackedDescriptor d{};
    do {
        if (in_flight_ + slots >= config_.size) return fail(ErrorKind::Corrupt, "more descriptors than the ring has entries");
        d = YADO_TRY(memory_.load<PackedDescriptor>(entry((uint32_t{at_.next} + slots) % config_.size)));
        ++slots;
        if (!(d.flags & VIRTQ_DESC_F_INDIRECT)) {
            YADO_TRY(builder.add(d.addr, d.len, d.flags & VIRTQ_DESC_F_WRITE));
        } else if (slots > 1) {
            return fail(ErrorKind::Corrupt, "an indirect descriptor inside a list");
        } else {
            YADO_TRY(walk_indirect(d, builder));
        }
    } while (d.flags & VIRTQ_DESC_F_NEXT);
    ParsedChain chain = std::move(builder).take();
    chain.id = d.id;  // the last descriptor's (2.8.6)
    chain.slots = slots;
    advance(at_.next, at_.next_wrap, slots, config_.size);
    in_flight_ += slots;
    return chain;
}

Result<> PackedRing::walk_indirect(const PackedDescriptor& d, ChainBuilder& chain) {
    if (!config_.indirect || d.flags & VIRTQ_DESC_F_NEXT) return fail(ErrorKind::Corrupt, "an indirect descriptor where none may be");
    if (d.len == 0 || d.len % sizeof(PackedDescriptor) || d.len / sizeof(PackedDescriptor) > kMaxPieces)
        return fail(ErrorKind::Corrupt, "an indirect table of {} bytes", d.len);
    std::vector<PackedDescriptor> table(d.len / sizeof(PackedDescriptor));
    YADO_TRY(memory_.read(GuestPhysAddr(d.addr), std::as_writable_bytes(std::span(table))));
    for (const PackedDescriptor& e : table) {  // the whole table, in order; only WRITE counts (2.8.7)
        if (e.flags & VIRTQ_DESC_F_INDIRECT) return fail(ErrorKind::Corrupt, "an indirect table inside an indirect table");
        YADO_TRY(chain.add(e.addr, e.len, e.flags & VIRTQ_DESC_F_WRITE));
    }
    return {};
}

void PackedRing::unpop(uint16_t slots) {
    if (at_.next < slots) {
        at_.next = static_cast<uint16_t>(at_.next + config_.size - slots);
        at_.next_wrap = !at_.next_wrap;
    } else {
        at_.next = static_cast<uint16_t>(at_.next - slots);
    }
    in_flight_ -= slots;
}

Result<bool> PackedRing::push(uint16_t id, uint16_t slots, uint32_t written) {
    const GuestPhysAddr at = entry(at_.used);
    YADO_TRY(memory_.store<uint32_t>(at + Bytes(8), written));
    YADO_TRY(memory_.store<uint16_t>(at + Bytes(12), id));
    const auto flags = static_cast<uint16_t>((at_.used_wrap ? VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED : 0) | (written ? VIRTQ_DESC_F_WRITE : 0));
    // release: the driver sees data, length and id before the flags
    YADO_TRY(memory_.atomic<uint16_t>(at + kFlagsAt)).store(flags, std::memory_order_release);
    memory_.note_write(at + kFlagsAt, Bytes(2));
    advance(at_.used, at_.used_wrap, slots, config_.size);
    in_flight_ -= slots;
    std::atomic_thread_fence(std::memory_order_seq_cst);
    return wants_signal(slots);
}

Result<bool> PackedRing::wants_signal(uint16_t slots) {
    const auto event = YADO_TRY(memory_.load<EventSuppression>(config_.driver));
    const uint16_t flags = event.flags & 3;
    if (flags != RING_EVENT_FLAGS_DESC || !config_.event_idx) return flags != RING_EVENT_FLAGS_DISABLE;
    auto at = static_cast<uint16_t>(event.desc & 0x7fff);
    if ((event.desc >> 15 != 0) != at_.used_wrap) at = static_cast<uint16_t>(at - config_.size);
    return passes_event(at, at_.used, static_cast<uint16_t>(at_.used - slots));
}

Result<bool> PackedRing::arm_kicks() {
    EventSuppression event{0, RING_EVENT_FLAGS_ENABLE};
    if (config_.event_idx) event = {static_cast<uint16_t>(at_.next | (at_.next_wrap ? 1u << 15 : 0)), RING_EVENT_FLAGS_DESC};
    YADO_TRY(memory_.store(config_.device, event));
    std::atomic_thread_fence(std::memory_order_seq_cst);
    return available();
}

Result<> PackedRing::disarm_kicks() { return memory_.store(config_.device, EventSuppression{0, RING_EVENT_FLAGS_DISABLE}); }

}  // namespace yado::virtio
