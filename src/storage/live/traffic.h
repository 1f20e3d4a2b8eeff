// Requests on their way through a point, and how to stop them for a moment: those that come wait, those that are there end.
//
// Executor's thread.
#pragma once

#include <utility>
#include <vector>

#include "base/check.h"
#include "io/task.h"

namespace yado::storage {

class Traffic {
  public:
    Traffic() = default;
    Traffic(const Traffic&) = delete;
    ~Traffic() { YADO_CHECK(inside_ == 0 && waiting_.empty()); }

    class Pass {
      public:
        explicit Pass(Traffic& traffic) : traffic_(&traffic) { ++traffic.inside_; }
        Pass(Pass&& o) noexcept : traffic_(std::exchange(o.traffic_, nullptr)) {}
        Pass& operator=(Pass&&) = delete;
        ~Pass() {
            if (traffic_) traffic_->leave();
        }

      private:
        Traffic* traffic_;
    };

    /// Waits while the traffic is halted.
    io::Task<Pass> enter() {
        while (halted_) {
            io::Completion<bool> go;
            waiting_.push_back(&go);
            co_await go;
        }
        co_return Pass(*this);
    }
    bool halted() const { return halted_; }

    /// Returns when nobody is inside. One at a time.
    io::Task<> halt() {
        YADO_CHECK(!halted_);
        halted_ = true;
        if (inside_ == 0) co_return;
        empty_ = {};
        co_await empty_;
    }
    void go() {
        halted_ = false;
        for (io::Completion<bool>* one : std::exchange(waiting_, {})) one->complete(true);
    }

  private:
    void leave() {
        if (--inside_ == 0 && halted_) empty_.complete(true);
    }

    size_t inside_ = 0;
    bool halted_ = false;
    std::vector<io::Completion<bool>*> waiting_;
    io::Completion<bool> empty_;
};

}  // namespace yado::storage
