// Port and memory-mapped address spaces: which device answers where. One AddressSpace type serves both.
//
// Handlers are called on any vCPU thread, several at once, with no lock of ours held: a device guards its own registers
// (base/guarded.h gives the order of locks). A read that nobody answers is all ones; a write is dropped.
#pragma once

#include <cstdint>
#include <memory>
#include <shared_mutex>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/units.h"

namespace yado::bus {

/// A device's side of an access. offset is relative to the start of the range it was attached with; size is 1, 2, 4 or
/// 8 (ports: 1, 2, 4) and the access lies wholly inside the range. Hostile: any offset, any of these sizes, any alignment.
class IoHandler {
  public:
    virtual ~IoHandler() = default;
    virtual uint64_t read(uint64_t offset, unsigned size) = 0;
    virtual void write(uint64_t offset, unsigned size, uint64_t value) = 0;
};

/// Ranges to handlers. Lookups take a shared lock for the lookup only; a detached handler may still be inside a call
/// when detach returns, so devices are destroyed only after the vCPUs stopped.
class AddressSpace {
  public:
    /// `limit` is one past the last address (0x10000 for ports, 2^52 for memory).
    AddressSpace(std::string name, uint64_t limit) : name_(std::move(name)), limit_(limit) {}

    /// Claims [start, start+size). Errors: Conflict (overlaps another; says whose), OutOfRange.
    Result<> attach(uint64_t start, uint64_t size, IoHandler& handler, std::string owner);
    /// Releases the range that starts there; no effect if there is none of this handler.
    void detach(uint64_t start, IoHandler& handler);

    /// Dispatches one access of 1 to 8 bytes. An access that crosses a range's end, or that nobody claims, reads all
    /// ones and writes nothing; sizes 3, 5, 6, 7 are split into bytes.
    uint64_t read(uint64_t address, unsigned size);
    void write(uint64_t address, unsigned size, uint64_t value);

    /// True if anybody answers there.
    bool claimed(uint64_t address) const;

    struct Mapping {
        uint64_t start;
        uint64_t size;
        IoHandler* handler;
        std::string owner;
    };
    /// A copy of the map, for `yado info` and tests.
    std::vector<Mapping> mappings() const;

  private:
    struct Hit {
        IoHandler* handler;
        uint64_t offset;
    };
    Hit find(uint64_t address, unsigned size) const;

    std::string name_;
    uint64_t limit_;
    mutable std::shared_mutex mutex_;
    std::vector<Mapping> map_;  // sorted by start, disjoint
};

}  // namespace yado::bus
