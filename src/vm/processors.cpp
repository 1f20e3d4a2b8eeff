#include "vm/processors.h"

#include <pthread.h>
#include <sys/prctl.h>
#include <ctime>

#include <future>

#include "base/overloaded.h"

namespace yado::vm {

Processors::~Processors() { shut_down(); }

Result<> Processors::add(Make make) {
    auto thread = std::make_unique<Thread>();
    Thread& self = *thread;
    const auto index = static_cast<unsigned>(threads_.size());
    std::promise<Result<>> made;
    auto outcome = made.get_future();
    self.thread = std::jthread([this, &self, index, make = std::move(make), &made] {
        pthread_setname_np(pthread_self(), fmt::format("vcpu{}", index).c_str());
        prctl(PR_SET_TIMERSLACK, 1);  // a halted vCPU may wait for its timer: no 50 us of slack on top
        auto vcpu = make();
        if (!vcpu) return made.set_value(std::unexpected(vcpu.error()));
        self.vcpu = std::move(*vcpu);
        made.set_value({});
        main(self, index);
    });
    YADO_TRY(outcome.get());
    threads_.push_back(std::move(thread));
    return {};
}

/// Waits until running is allowed; false: the thread ends.
bool Processors::enter(Thread& self) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return (!held_ && !self.stays) || ending_; });
    self.running = !ending_;
    return self.running;
}

void Processors::leave(Thread& self) {
    const std::lock_guard lock(mutex_);
    self.running = false;
    changed_.notify_all();
}

void Processors::main(Thread& self, unsigned index) {
    while (enter(self)) {
        const cpu::Exit exit = self.vcpu->run();
        std::visit(Overloaded{
                       [&](const cpu::Halted&) {
                           self.halted = true;
                           self.halts.fetch_add(1, std::memory_order_relaxed);
                           self.vcpu->park();
                           self.halted = false;
                       },
                       [](const cpu::Kicked&) {},
                       [&](const cpu::ShutdownRequest& request) {
                           hold();
                           on_shutdown_(index, request);
                       },
                       [&](const cpu::DebugStop& stop) {
                           hold();
                           if (on_debug_stop_) on_debug_stop_(index, stop);
                       },
                   },
                   exit);
        leave(self);
    }
}

void Processors::hold() {
    {
        const std::lock_guard lock(mutex_);
        held_ = true;
    }
    for (auto& t : threads_) t->vcpu->kick();
}

void Processors::stop() {
    hold();
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] {
        for (const auto& t : threads_)
            if (t->running) return false;
        return true;
    });
}

void Processors::release() {
    const std::lock_guard lock(mutex_);
    held_ = false;
    changed_.notify_all();
}

void Processors::set_staying(size_t index, bool stays) {
    const std::lock_guard lock(mutex_);
    threads_[index]->stays = stays;
}

void Processors::shut_down() {
    if (threads_.empty()) return;
    stop();
    {
        const std::lock_guard lock(mutex_);
        ending_ = true;
        changed_.notify_all();
    }
    for (auto& t : threads_)
        if (t->thread.joinable()) t->thread.join();
}

Processors::Usage Processors::usage(size_t index) const {
    const Thread& t = *threads_[index];
    Usage usage{t.halted ? "halted" : "running", t.vcpu->instructions(), t.halts, 0};
    clockid_t clock{};
    timespec time{};
    auto& thread = const_cast<std::jthread&>(t.thread);
    if (thread.joinable() && pthread_getcpuclockid(thread.native_handle(), &clock) == 0 && clock_gettime(clock, &time) == 0)
        usage.cpu_seconds = static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
    return usage;
}

}  // namespace yado::vm
