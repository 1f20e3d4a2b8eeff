// A gate counts the operations inside; close() refuses new ones and waits for those inside to leave. Some of them may be at
// rest: they do nothing until somebody outside acts, and a closer may choose not to wait for them.
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
    enum class Until : uint8_t {
        Empty,   ///< nobody is inside
        AtRest,  ///< nobody but those at rest
    };
    /// Refuses new passes and waits. At most one closer at a time.
    Task<> close(Until until = Until::Empty) {
        closed_ = true;
        while (inside_ > (until == Until::AtRest ? resting_ : 0)) {
            changed_ = {};
            co_await changed_;
        }
    }
    void reopen() {
        YADO_CHECK(inside_ <= resting_);
        closed_ = false;
    }
    /// How many of those inside are at rest now.
    void set_resting(size_t count) {
        resting_ = count;
        if (closed_) changed_.complete(true);
    }
    size_t resting() const { return resting_; }
    bool closed() const { return closed_; }
    size_t inside() const { return inside_; }

  private:
    void leave() {
        --inside_;
        if (closed_) changed_.complete(true);
    }
    size_t inside_ = 0, resting_ = 0;
    bool closed_ = false;
    Completion<bool> changed_;
};

}  // namespace yado::io
