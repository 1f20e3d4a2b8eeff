// The one virtqueue of all devices, over either ring layout. Executor's thread.
//
//     kick() --> next() resumes with a Chain --> device --> complete(chain, written) --> used ring, signal if asked
//
//     running --hold--> held (nothing is taken; completions still go out) --release--> running
//     running --a bad chain--> failed (nothing moves any more)       any --stop--> stopped: next() ends with an error
#pragma once

#include <coroutine>
#include <functional>
#include <memory>
#include <variant>

#include "virtio/queue/chain.h"

namespace yado::virtio {

class VirtQueue {
  public:
    /// What the transport does for its queues.
    class Events {
      public:
        virtual ~Events() = default;
        virtual void signal(unsigned queue) = 0;
        /// The driver broke the rules: the device needs a reset.
        virtual void failed(unsigned queue, const Error& error) = 0;
        /// Kick the queue again soon: others have their turn first.
        virtual void again(unsigned queue) = 0;
    };

    /// Errors: Corrupt, OutOfRange (ring addresses or size).
    static Result<std::unique_ptr<VirtQueue>> create(unsigned index, const RingConfig& config, const RingPosition& at,
                                                     mem::GuestMemory& memory, io::Gate& gate, Events& events);

    /// co_await queue.next(): the next request. Error (Conflict) once the queue is stopped. One waiter at a time.
    class Next {
      public:
        explicit Next(VirtQueue& queue) : queue_(queue) {}
        bool await_ready() { return queue_.offer(*this); }
        void await_suspend(std::coroutine_handle<> h) {
            waiter_ = h;
            queue_.waiting_ = this;
        }
        Result<Chain> await_resume() { return std::move(*result_); }

      private:
        friend class VirtQueue;
        VirtQueue& queue_;
        std::coroutine_handle<> waiter_;
        std::optional<Result<Chain>> result_;
    };
    Next next() { return Next(*this); }

    /// The next request if there is one now; nothing while held, failed or stopped.
    std::optional<Chain> pop();
    /// Takes back the last pop(): the request stays the driver's next.
    void put_back(Chain chain);
    void complete(Chain chain, uint32_t written);
    /// For devices without a next() loop: called at every kick.
    void on_kick(std::function<void()> f) { on_kick_ = std::move(f); }
    /// The device found a request that breaks its rules.
    void fail_queue(const Error& error);

    void kick();
    void hold() { held_ = true; }
    void release() { held_ = false; }
    void stop();
    /// The device is in need of a reset: nothing is taken or given back any more.
    void fail_quietly() { failed_ = true; }

    unsigned index() const { return index_; }
    mem::GuestMemory& memory() { return memory_; }
    RingPosition position() const;

  private:
    using Ring = std::variant<SplitRing, PackedRing>;
    VirtQueue(unsigned index, Ring ring, mem::GuestMemory& memory, io::Gate& gate, Events& events)
        : index_(index), ring_(std::move(ring)), memory_(memory), gate_(gate), events_(events) {}
    bool offer(Next& next);
    Result<std::optional<ParsedChain>> take();

    unsigned index_;
    Ring ring_;
    mem::GuestMemory& memory_;
    io::Gate& gate_;
    Events& events_;
    Next* waiting_ = nullptr;
    std::function<void()> on_kick_;
    unsigned served_ = 0;  // since the last kick
    bool held_ = false, failed_ = false, stopped_ = false, armed_ = true, kicking_ = false;
};

}  // namespace yado::virtio
