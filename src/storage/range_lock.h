// Ranges of something (blocks, clusters) that one coroutine at a time may change. Executor's thread only.
#pragma once

#include <algorithm>
#include <list>
#include <utility>
#include <vector>

#include "io/task.h"

namespace yado::storage {

class RangeLock {
  public:
    struct Range {
        uint64_t first, end;
    };
    /// Released when destroyed.
    class Held {
      public:
        Held(RangeLock& lock, std::list<Range>::iterator at) : lock_(&lock), at_(at) {}
        Held(Held&& o) noexcept : lock_(std::exchange(o.lock_, nullptr)), at_(o.at_) {}
        Held& operator=(Held&&) = delete;
        ~Held() {
            if (lock_) lock_->release(at_);
        }

      private:
        RangeLock* lock_;
        std::list<Range>::iterator at_;
    };

    /// Waits until nobody holds anything that overlaps.
    io::Task<Held> take(Range range) {
        while (overlaps(range)) {
            io::Completion<bool> freed;
            waiters_.push_back(&freed);
            co_await freed;
        }
        held_.push_front(range);
        co_return Held(*this, held_.begin());
    }

  private:
    bool overlaps(Range r) const {
        return std::ranges::any_of(held_, [&](const Range& h) { return r.first < h.end && h.first < r.end; });
    }
    void release(std::list<Range>::iterator at) {
        held_.erase(at);
        for (io::Completion<bool>* waiter : std::exchange(waiters_, {})) waiter->complete(true);
    }
    std::list<Range> held_;
    std::vector<io::Completion<bool>*> waiters_;
};

}  // namespace yado::storage
