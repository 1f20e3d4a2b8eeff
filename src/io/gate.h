// A gate counts the operations inside; close() refuses new ones and waits for those inside to leave.
// Executor's thread only.
#pragma once

#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "io/task.h"

namespace yado::io {

class Gate {
  public:
    Gate() = default;
    Gate(const Gate&) = delete;
    ~Gate() { YADO_CHECK(inside_ == 0); }

    /// Leaves the gate when destroyed.
    class Pass {
      public:
        explicit Pass(Gate& gate) : gate_(&gate) { ++gate.inside_; }
        Pass(Pass&& o) noexcept : gate_(std::exchange(o.gate_, nullptr)) {}
        Pass& operator=(Pass&&) = delete;
        ~Pass() {
            if (gate_) gate_->leave();
        }

      private:
        Gate* gate_;
    };

    /// Errors: Conflict when the gate is closed.
    Result<Pass> enter() {
        if (closed_) return fail(ErrorKind::Conflict, "closed");
        return Pass(*this);
    }
    /// Refuses new passes and waits until nobody is inside. At most one closer at a time.
    Task<> close() {
        closed_ = true;
        if (inside_ > 0) co_await empty_;
    }
    void reopen() {
        YADO_CHECK(inside_ == 0);
        closed_ = false;
        empty_ = {};
    }
    bool closed() const { return closed_; }
    size_t inside() const { return inside_; }

  private:
    void leave() {
        if (--inside_ == 0 && closed_) empty_.complete(true);
    }
    size_t inside_ = 0;
    bool closed_ = false;
    Completion<bool> empty_;
};

}  // namespace yado::io
