// The time between DRIVER_OK and reset: the queues that run, with the addresses and features fixed at its start.
// Executor's thread.
#pragma once

#include <memory>
#include <vector>

#include "io/executor.h"
#include "virtio/queue/virt_queue.h"

namespace yado::virtio {

/// Queue registers as they were at DRIVER_OK; nothing for a queue that is not enabled.
struct SessionConfig {
    uint64_t features = 0;
    std::vector<std::optional<RingConfig>> queues;
    std::vector<RingPosition> positions;  ///< empty: from the start
};

class Session {
  public:
    /// Errors: Corrupt, OutOfRange.
    static Result<std::unique_ptr<Session>> create(const SessionConfig& config, mem::GuestMemory& memory, io::Executor& executor,
                                                   VirtQueue::Events& events);

    bool has(uint64_t feature) const { return (features_ & feature) == feature; }
    /// nullptr for one that the driver did not enable.
    VirtQueue* queue(unsigned index) { return index < queues_.size() ? queues_[index].get() : nullptr; }
    mem::GuestMemory& memory() { return memory_; }
    io::Executor& executor() { return executor_; }

    void kick(unsigned index);
    void kick_all();
    void hold();
    void release();
    void fail_all();
    /// Ends the loops; requests in flight end by themselves, see drained().
    void stop();
    /// Waits until no chain is out. Nothing is taken until release().
    io::Task<> drained() { return gate_.close(); }
    /// The same, but does not wait for those that set_resting() told of.
    io::Task<> quiet() { return gate_.close(io::Gate::Until::AtRest); }
    /// So many of the chains that are out are kept back by the device: they touch nothing until it goes on.
    void set_resting(size_t count) { gate_.set_resting(count); }
    size_t resting() const { return gate_.resting(); }
    std::vector<RingPosition> positions() const;

  private:
    Session(uint64_t features, mem::GuestMemory& memory, io::Executor& executor) : features_(features), memory_(memory), executor_(executor) {}

    uint64_t features_;
    mem::GuestMemory& memory_;
    io::Executor& executor_;
    io::Gate gate_;
    std::vector<std::unique_ptr<VirtQueue>> queues_;
};

}  // namespace yado::virtio
