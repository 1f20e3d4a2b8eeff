// A guest to be debugged that is made up: registers, a stretch of memory, and stops that the test calls for.
#pragma once

#include <algorithm>
#include <cstring>
#include <set>
#include <vector>

#include "vm/debug_port.h"

namespace yado::fakes {

class FakeDebugPort final : public vm::DebugPort {
  public:
    static constexpr uint64_t kMemoryAt = 0x1000, kMemorySize = 0x3000;  ///< linear; physically at 0

    explicit FakeDebugPort(unsigned vcpus = 2, bool avx = false) : states(vcpus), memory(kMemorySize), avx_(avx) {
        for (unsigned n = 0; n < vcpus; ++n) states[n].rip = 0x1000 + n;
    }

    io::Executor& executor() override { return executor_; }
    unsigned vcpus() const override { return static_cast<unsigned>(states.size()); }
    bool has_avx() const override { return avx_; }

    Result<> attach(vm::DebugListener& l) override {
        if (ended_) return fail(ErrorKind::Conflict, "ended");
        listener = &l;
        return {};
    }
    void detach(Leave leave) override {
        listener = nullptr;
        left = leave;
    }
    void kill() override {
        killed = true;
        end({.reason = api::StopReason::Stopped});
    }
    Result<> interrupt() override {
        if (running) stop({});
        return {};
    }
    Result<> resume(std::span<const vm::VcpuAction> a) override {
        YADO_TRY(need_stopped());
        actions.assign(a.begin(), a.end());
        running = true;
        return {};
    }
    Result<cpu::CpuState> state(unsigned vcpu) override {
        YADO_TRY(need_stopped());
        return states[vcpu];
    }
    Result<> set_state(unsigned vcpu, const cpu::CpuState& s) override {
        YADO_TRY(need_stopped());
        if (s.cr0 >> 32) return fail(ErrorKind::Corrupt, "no such CR0");
        states[vcpu] = s;
        return {};
    }
    Result<> read(unsigned, GuestLinearAddr address, std::span<std::byte> out) override {
        return read_physical(GuestPhysAddr(address.value() - kMemoryAt), out);
    }
    Result<> write(unsigned, GuestLinearAddr address, std::span<const std::byte> in) override {
        return write_physical(GuestPhysAddr(address.value() - kMemoryAt), in);
    }
    Result<> read_physical(GuestPhysAddr address, std::span<std::byte> out) override {
        YADO_TRY(check(address.value(), out.size()));
        std::memcpy(out.data(), memory.data() + address.value(), out.size());
        return {};
    }
    Result<> write_physical(GuestPhysAddr address, std::span<const std::byte> in) override {
        YADO_TRY(check(address.value(), in.size()));
        std::memcpy(memory.data() + address.value(), in.data(), in.size());
        return {};
    }
    Result<> add_breakpoint(GuestLinearAddr address) override {
        if (breakpoints.size() >= 4) return fail(ErrorKind::OutOfRange, "four are the most");
        breakpoints.insert(address);
        return {};
    }
    void remove_breakpoint(GuestLinearAddr address) override { breakpoints.erase(address); }
    Result<> add_watchpoint(const cpu::Watchpoint& w) override {
        if (w.size.value() == 0 || watchpoints.size() >= 4) return fail(ErrorKind::OutOfRange, "no");
        watchpoints.push_back(w);
        return {};
    }
    void remove_watchpoint(const cpu::Watchpoint& w) override { std::erase(watchpoints, w); }

    // What the guest does.
    void stop(const vm::DebugEvent& event) {
        running = false;
        if (listener) listener->stopped(event);
    }
    void end(const api::ExitReport& report) {
        ended_ = true;
        running = false;
        if (vm::DebugListener* l = std::exchange(listener, nullptr)) l->ended(report);
    }

    std::vector<cpu::CpuState> states;
    std::vector<std::byte> memory;
    std::set<GuestLinearAddr> breakpoints;
    std::vector<cpu::Watchpoint> watchpoints;
    std::vector<vm::VcpuAction> actions;  ///< of the last resume()
    vm::DebugListener* listener = nullptr;
    std::optional<Leave> left;
    bool running = false, killed = false;

  private:
    Result<> need_stopped() const {
        if (running || ended_) return fail(ErrorKind::Conflict, "not stopped");
        return {};
    }
    Result<> check(uint64_t at, size_t size) const {
        YADO_TRY(need_stopped());
        if (at > memory.size() || memory.size() - at < size) return fail(ErrorKind::OutOfRange, "no memory at {:#x}", at);
        return {};
    }

    io::Executor executor_;
    bool avx_;
    bool ended_ = false;
};

}  // namespace yado::fakes
