// The two ring layouts: where descriptors lie, how a chain is found and how it is given back. Both copy descriptors out
// of guest memory once and hand the copies to a ChainBuilder, which validates them. Executor's thread.
#pragma once

#include <optional>
#include <vector>

#include "base/error.h"
#include "mem/guest_memory.h"
#include "virtio/spec.h"

namespace yado::virtio {

/// No chain is longer, indirect ones included; IOV_MAX, so that one system call can take it.
inline constexpr size_t kMaxPieces = 1024;

struct RingConfig {
    uint16_t size = 0;
    GuestPhysAddr desc, driver, device;
    bool packed = false, event_idx = false, indirect = false;
};

/// Where both sides stand; all that a quiet queue has to save.
struct RingPosition {
    uint16_t next = 0, used = 0;  ///< split: free-running; packed: slots
    bool next_wrap = true, used_wrap = true;
};

/// A validated chain, as pieces of guest memory: readable ones first.
struct ParsedChain {
    std::vector<mem::GuestRange> pieces;
    size_t readable = 0;
    uint64_t readable_bytes = 0, writable_bytes = 0;
    uint16_t id = 0;
    uint16_t slots = 1;  ///< ring entries that it takes
};

/// Checks copies of descriptors: not empty, in RAM, readable before writable, bounded in number and sum.
class ChainBuilder {
  public:
    explicit ChainBuilder(const mem::GuestMemory& memory) : memory_(memory) {}
    Result<> add(uint64_t addr, uint32_t len, bool writable);
    ParsedChain take() && { return std::move(chain_); }

  private:
    Result<> add_piece(GuestPhysAddr addr, Bytes size, bool writable);
    const mem::GuestMemory& memory_;
    ParsedChain chain_;
};

/// Errors of all members: Corrupt or OutOfRange, for what the driver put into the rings.
class SplitRing {  // 2.7
  public:
    SplitRing(mem::GuestMemory& memory, const RingConfig& config, const RingPosition& at)
        : memory_(memory), config_(config), next_(at.next), used_(at.used) {}
    static Result<> check(const mem::GuestMemory& memory, const RingConfig& config);

    Result<std::optional<ParsedChain>> pop();
    /// Takes back the last pop.
    void unpop(uint16_t slots);
    /// Gives a chain back; true if the driver wants an interrupt.
    Result<bool> push(uint16_t id, uint16_t slots, uint32_t written);
    /// Asks for notifications; true if something came in meanwhile.
    Result<bool> arm_kicks();
    Result<> disarm_kicks();
    RingPosition position() const { return {next_, used_, true, true}; }

  private:
    Result<ParsedChain> walk(uint16_t head);
    Result<> walk_indirect(const SplitDescriptor& d, ChainBuilder& chain);
    GuestPhysAddr used_entry() const { return config_.device + Bytes(4 + 8ull * (used_ % config_.size)); }

    mem::GuestMemory& memory_;
    RingConfig config_;
    uint16_t next_, used_;
    uint32_t in_flight_ = 0;
};

class PackedRing {  // 2.8
  public:
    PackedRing(mem::GuestMemory& memory, const RingConfig& config, const RingPosition& at)
        : memory_(memory), config_(config), at_(at) {}
    static Result<> check(const mem::GuestMemory& memory, const RingConfig& config);

    Result<std::optional<ParsedChain>> pop();
    void unpop(uint16_t slots);
    Result<bool> push(uint16_t id, uint16_t slots, uint32_t written);
    Result<bool> arm_kicks();
    Result<> disarm_kicks();
    RingPosition position() const { return at_; }

  private:
    Result<bool> available();
    Result<> walk_indirect(const PackedDescriptor& d, ChainBuilder& chain);
    Result<bool> wants_signal(uint16_t slots);
    GuestPhysAddr entry(uint32_t slot) const { return config_.desc + Bytes(16ull * slot); }

    mem::GuestMemory& memory_;
    RingConfig config_;
    RingPosition at_;
    uint32_t in_flight_ = 0;
};

/// 2.7.10: true if `event` lies in [old, new).
constexpr bool passes_event(uint16_t event, uint16_t now, uint16_t old) {
    return static_cast<uint16_t>(now - event - 1) < static_cast<uint16_t>(now - old);
}

}  // namespace yado::virtio
