#include <bit>

#include "virtio/queue/ring.h"

namespace yado::virtio {

namespace {
// Offsets: avail { flags, idx, ring[size], used_event }, used { flags, idx, ring[size] of {id, len}, avail_event }.
constexpr Bytes kIndex{2}, kEntries{4};
Bytes used_event_at(uint16_t size) { return Bytes(4 + 2ull * size); }
Bytes avail_event_at(uint16_t size) { return Bytes(4 + 8ull * size); }

struct UsedElement {
    uint32_t id, len;
};
}  // namespace

Result<> SplitRing::check(const mem::GuestMemory& memory, const RingConfig& c) {
    using Intent = mem::GuestMemory::Intent;
    if (!std::has_single_bit(c.size)) return fail(ErrorKind::Corrupt, "a split ring of {} entries", c.size);
    if (c.desc.value() % 16 || c.driver.value() % 2 || c.device.value() % 4) return fail(ErrorKind::Corrupt, "a misaligned ring");
    YADO_TRY(memory.range(c.desc, Bytes(16ull * c.size), Intent::Read));
    YADO_TRY(memory.range(c.driver, used_event_at(c.size) + Bytes(2), Intent::Write));
    YADO_TRY(memory.range(c.device, avail_event_at(c.size) + Bytes(2), Intent::Write));
    return {};
}

Result<std::optional<ParsedChain>> SplitRing::pop() {
    // acquire: what the driver wrote before it moved the index is visible
    const uint16_t index = YADO_TRY(memory_.atomic<uint16_t>(config_.driver + kIndex)).load(std::memory_order_acquire);
    const auto waiting = static_cast<uint16_t>(index - next_);
    if (waiting == 0) return std::nullopt;
    if (waiting > config_.size) return fail(ErrorKind::Corrupt, "the available index jumped by {}", waiting);
    if (in_flight_ >= config_.size) return fail(ErrorKind::Corrupt, "more requests than the ring has entries");
    const auto head = YADO_TRY(memory_.load<uint16_t>(config_.driver + kEntries + Bytes(2ull * (next_ % config_.size))));
    ParsedChain chain = YADO_TRY(walk(head));
    chain.id = head;
    ++next_;
    ++in_flight_;
    return chain;
}

Result<ParsedChain> SplitRing::walk(uint16_t head) {
    ChainBuilder chain(memory_);
    uint16_t index = head;
    for (uint32_t steps = 0; steps < config_.size; ++steps) {
        if (index >= config_.size) return fail(ErrorKind::Corrupt, "descriptor {} of a ring of {}", index, config_.size);
        const auto d = YADO_TRY(memory_.load<SplitDescriptor>(config_.desc + Bytes(16ull * index)));
        if (d.flags & VIRTQ_DESC_F_INDIRECT) {
            YADO_TRY(walk_indirect(d, chain));
            return std::move(chain).take();
        }
        YADO_TRY(chain.add(d.addr, d.len, d.flags & VIRTQ_DESC_F_WRITE));
        if (!(d.flags & VIRTQ_DESC_F_NEXT)) return std::move(chain).take();
        index = d.next;
    }
    return fail(ErrorKind::Corrupt, "a chain with a loop");
}

Result<> SplitRing::walk_indirect(const SplitDescriptor& d, ChainBuilder& chain) {
    if (!config_.indirect || d.flags & VIRTQ_DESC_F_NEXT) return fail(ErrorKind::Corrupt, "an indirect descriptor where none may be");
    if (d.len == 0 || d.len % sizeof(SplitDescriptor) || d.len / sizeof(SplitDescriptor) > kMaxPieces)
        return fail(ErrorKind::Corrupt, "an indirect table of {} bytes", d.len);
    std::vector<SplitDescriptor> table(d.len / sizeof(SplitDescriptor));
    YADO_TRY(memory_.read(GuestPhysAddr(d.addr), std::as_writable_bytes(std::span(table))));
    uint16_t index = 0;
    for (size_t steps = 0; steps < table.size(); ++steps) {
        if (index >= table.size()) return fail(ErrorKind::Corrupt, "indirect descriptor {} of {}", index, table.size());
        const SplitDescriptor& e = table[index];
        if (e.flags & VIRTQ_DESC_F_INDIRECT) return fail(ErrorKind::Corrupt, "an indirect table inside an indirect table");
        YADO_TRY(chain.add(e.addr, e.len, e.flags & VIRTQ_DESC_F_WRITE));
        if (!(e.flags & VIRTQ_DESC_F_NEXT)) return {};
        index = e.next;
    }
    return fail(ErrorKind::Corrupt, "an indirect table with a loop");
}

void SplitRing::unpop(uint16_t) {
    --next_;
    --in_flight_;
}

Result<bool> SplitRing::push(uint16_t id, uint16_t, uint32_t written) {
    YADO_TRY(memory_.store(used_entry(), UsedElement{id, written}));
    const uint16_t old = used_++;
    --in_flight_;
    // release: the driver sees data and entry before the index
    YADO_TRY(memory_.atomic<uint16_t>(config_.device + kIndex)).store(used_, std::memory_order_release);
    memory_.note_write(config_.device + kIndex, Bytes(2));
    std::atomic_thread_fence(std::memory_order_seq_cst);  // index before the look at the event (2.7.13.3.1)
    if (!config_.event_idx) return !(YADO_TRY(memory_.load<uint16_t>(config_.driver)) & VIRTQ_AVAIL_F_NO_INTERRUPT);
    return passes_event(YADO_TRY(memory_.load<uint16_t>(config_.driver + used_event_at(config_.size))), used_, old);
}

Result<bool> SplitRing::arm_kicks() {
    if (config_.event_idx) {
        YADO_TRY(memory_.store<uint16_t>(config_.device + avail_event_at(config_.size), next_));
    } else {
        YADO_TRY(memory_.store<uint16_t>(config_.device, 0));
    }
    std::atomic_thread_fence(std::memory_order_seq_cst);  // event before the look at the index
    return YADO_TRY(memory_.load<uint16_t>(config_.driver + kIndex)) != next_;
}

Result<> SplitRing::disarm_kicks() {
    if (config_.event_idx) return {};  // an event index left behind asks for nothing
    return memory_.store<uint16_t>(config_.device, VIRTQ_USED_F_NO_NOTIFY);
}

}  // namespace yado::virtio
