// The vCPU threads of a guest: start, hold, release, end.
//
//   held --release()--> running --hold(), stop()--> held --shut_down()--> joined
//
// hold() only asks (any thread, a vCPU's own too: no vCPU begins another run() once its present one returns); stop()
// also waits until every thread is outside run(). A thread whose vCPU halted sleeps in Vcpu::park(). A vCPU that came to
// where a debugger waits for it holds all of them.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "cpu/vcpu.h"

namespace yado::vm {

class Processors {
  public:
    /// Called on a vCPU's thread when its guest shut down; all vCPUs are held by then.
    using OnShutdown = std::function<void(unsigned vcpu, const cpu::ShutdownRequest&)>;

    /// Called on a vCPU's thread when it stopped for a debugger; all vCPUs are held by then.
    using OnDebugStop = std::function<void(unsigned vcpu, const cpu::DebugStop&)>;

    explicit Processors(OnShutdown on_shutdown, OnDebugStop on_debug_stop = {})
        : on_shutdown_(std::move(on_shutdown)), on_debug_stop_(std::move(on_debug_stop)) {}
    ~Processors();
    Processors(const Processors&) = delete;

    /// Makes the vCPU on the thread that will run it (engines may bind to it), held. Errors: what `make` says.
    using Make = std::function<Result<std::unique_ptr<cpu::Vcpu>>()>;
    Result<> add(Make make);

    void hold();
    void stop();      ///< not on a vCPU's thread
    void release();
    /// A vCPU that stays is not released with the others (a debugger steps one alone). While stopped.
    void set_staying(size_t index, bool stays);
    void shut_down(); ///< stops and joins; not on a vCPU's thread

    size_t count() const { return threads_.size(); }
    /// Only while stopped (state, injection of reset state), or for what Vcpu allows from any thread.
    cpu::Vcpu& vcpu(size_t index) { return *threads_[index]->vcpu; }

    struct Usage {
        std::string state;        ///< "running", "halted", "held"
        uint64_t instructions;
        uint64_t halts;
        double cpu_seconds;       ///< host CPU time of the thread
    };
    Usage usage(size_t index) const;
    /// What the engine counted. Any thread.
    cpu::Stats stats(size_t index) const { return threads_[index]->vcpu->stats(); }

  private:
    struct Thread {
        std::unique_ptr<cpu::Vcpu> vcpu;
        std::jthread thread;
        std::atomic<bool> halted{false};
        std::atomic<uint64_t> halts{0};
        bool running = false, stays = false;  // under mutex_
    };
    void main(Thread& self, unsigned index);
    bool enter(Thread& self);
    void leave(Thread& self);

    OnShutdown on_shutdown_;
    OnDebugStop on_debug_stop_;
    std::vector<std::unique_ptr<Thread>> threads_;
    std::mutex mutex_;
    std::condition_variable changed_;
    bool held_ = true;
    bool ending_ = false;
};

}  // namespace yado::vm
