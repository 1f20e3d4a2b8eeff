// The commands of a logical unit that are in flight. Nothing can be taken back from an image, so that whoever wants them
// gone waits for them to end.
// Executor's thread.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <optional>
#include <vector>

#include "base/check.h"

namespace yado::virtio {

class TaskSet {
  public:
    /// Somebody who waits for tasks: `over` is called once, inside the end of the last of them.
    struct Waiter {
        size_t left = 0;
        std::function<void()> over;
    };

    TaskSet() = default;
    TaskSet(const TaskSet&) = delete;
    ~TaskSet() { YADO_CHECK(tasks_.empty()); }

    bool holds(std::optional<uint64_t> tag) const {
        for (const Entry& task : tasks_)
            if (!tag || task.tag == *tag) return true;
        return false;
    }
    /// Waits for the tasks that are there now: those with `tag`, or all. False if there are none; over() is then not called.
    bool wait(Waiter& waiter, std::optional<uint64_t> tag) {
        for (Entry& task : tasks_) {
            if (tag && task.tag != *tag) continue;
            task.waiters.push_back(&waiter);
            ++waiter.left;
        }
        return waiter.left > 0;
    }

  private:
    struct Entry {
        uint64_t tag;
        std::vector<Waiter*> waiters;
    };
    std::list<Entry> tasks_;

  public:
    /// A command, from its begin to its end.
    class Task {
      public:
        Task(TaskSet& set, uint64_t tag) : set_(set), at_(set.tasks_.insert(set.tasks_.end(), Entry{tag, {}})) {}
        Task(const Task&) = delete;
        ~Task() {
            const std::vector<Waiter*> waiters = std::move(at_->waiters);
            set_.tasks_.erase(at_);
            for (Waiter* waiter : waiters)
                if (--waiter->left == 0) waiter->over();
        }

      private:
        TaskSet& set_;
        std::list<Entry>::iterator at_;
    };
};

}  // namespace yado::virtio
