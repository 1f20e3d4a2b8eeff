// The debugger's side of a guest, over vCPUs that do as the test says.
#include "vm/debugger.h"

#include <gtest/gtest.h>

#include <deque>

namespace yado::vm {
namespace {

using enum VcpuAction;
using cpu::DebugReason;

/// run() waits for an order: stop for the debugger, or a kick.
class OrderedVcpu final : public cpu::Vcpu {
  public:
    cpu::Exit run() override {
        std::unique_lock lock(mutex_);
        ++runs_;
        changed_.notify_all();
        changed_.wait(lock, [this] { return kicked_ || !orders_.empty(); });
        if (!orders_.empty()) {
            const cpu::DebugStop stop = orders_.front();
            orders_.pop_front();
            return stop;
        }
        kicked_ = false;
        return cpu::Kicked{};
    }
    void kick() override {
        const std::lock_guard lock(mutex_);
        kicked_ = true;
        changed_.notify_all();
    }
    Result<cpu::CpuState> get_state() override { return state; }
    Result<> set_state(const cpu::CpuState& s) override { return state = s, Result<>{}; }
    Result<> set_debug(const cpu::DebugControl& c) override {
        if (c.breakpoints.size() > 4) return fail(ErrorKind::OutOfRange, "four are the most");
        control = c;
        return {};
    }

    /// Ends a run() in progress, or the next one.
    void order(cpu::DebugReason reason, uint64_t address) {
        const std::lock_guard lock(mutex_);
        orders_.push_back({reason, GuestLinearAddr(address)});
        changed_.notify_all();
    }
    int runs() {
        const std::lock_guard lock(mutex_);
        return runs_;
    }
    void await_runs(int least) {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return runs_ >= least; });
    }

    cpu::CpuState state = cpu::reset_state();
    cpu::DebugControl control;

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<cpu::DebugStop> orders_;
    bool kicked_ = false;
    int runs_ = 0;
};

class DebuggerTest : public testing::Test, private DebugListener {
  protected:
    DebuggerTest() {
        EXPECT_TRUE(memory.add_ram(GuestPhysAddr(0), 1_MiB));
        for (auto*& v : vcpu)
            EXPECT_TRUE(processors.add([&v]() -> Result<std::unique_ptr<cpu::Vcpu>> {
                auto made = std::make_unique<OrderedVcpu>();
                v = made.get();
                return made;
            }));
    }
    ~DebuggerTest() override { (void)run.stop({.reason = api::StopReason::Stopped}); }

    DebugListener& listener() { return *this; }
    void start_and_attach() {
        ASSERT_TRUE(run.start());
        ASSERT_TRUE(debugger.attach(listener()));
    }
    Result<> resume(VcpuAction first, VcpuAction second) { return debugger.resume(std::array{first, second}); }
    /// Lets what was posted run until so many stops were told.
    void await_stops(size_t count) {
        while (stops.size() < count) executor.run_once(std::chrono::seconds(10));
    }
    void stopped(const DebugEvent& event) override { stops.push_back(event); }
    void ended(const api::ExitReport& report) override { end = report; }

    io::Executor executor;
    mem::GuestMemory memory;
    Inventory inventory;
    OrderedVcpu* vcpu[2] = {};
    std::vector<DebugEvent> stops;
    std::optional<api::ExitReport> end;
    std::string events;
    Processors processors{[](unsigned, const cpu::ShutdownRequest&) {}, [this](unsigned n, const cpu::DebugStop& s) { debugger.vcpu_stopped(n, s); }};
    RunControl run{{executor, processors, inventory, []() -> Result<> { return {}; },
                    [this](std::string_view kind, std::string_view) {
                        if (run.state() == api::RunState::Stopped) debugger.guest_ended(*run.stopped());
                        events += std::string(kind) + " ";
                    }}};
    Debugger debugger{{executor, processors, run, memory, false, [this](std::string_view kind) { events += std::string(kind) + " "; }}};
};

TEST_F(DebuggerTest, AttachingStopsTheGuestForOneDebugger) {
    start_and_attach();
    EXPECT_EQ(run.state(), api::RunState::Paused);
    EXPECT_FALSE(debugger.attach(listener()));
    EXPECT_EQ(run.resume().error().kind(), ErrorKind::Conflict);
    EXPECT_EQ(events, "started debugger-attached ");
}

TEST_F(DebuggerTest, AGuestThatDidNotStartOrHasEndedHasNothingToAttachTo) {
    EXPECT_FALSE(debugger.attach(listener()));
    ASSERT_TRUE(run.start());
    ASSERT_TRUE(run.stop({.reason = api::StopReason::Stopped}));
    EXPECT_FALSE(debugger.attach(listener()));
}

TEST_F(DebuggerTest, AStartThatWaitsForTheDebuggerRunsNoVcpu) {
    ASSERT_TRUE(run.start(RunControl::Then::StayPaused));
    ASSERT_TRUE(debugger.attach(listener()));
    EXPECT_EQ(vcpu[0]->runs(), 0);
    ASSERT_TRUE(resume(Continue, Continue));
    vcpu[0]->await_runs(1);
    vcpu[1]->await_runs(1);
}

TEST_F(DebuggerTest, AVcpuThatStopsStopsAllAndIsTold) {
    start_and_attach();
    ASSERT_TRUE(debugger.add_breakpoint(GuestLinearAddr(0x1234)));
    ASSERT_TRUE(resume(Continue, Continue));
    EXPECT_EQ(vcpu[1]->control.breakpoints.size(), 1u);
    vcpu[1]->order(DebugReason::Breakpoint, 0x1234);
    await_stops(1);
    EXPECT_EQ(stops[0].vcpu, 1u);
    EXPECT_EQ(stops[0].stop->address.value(), 0x1234u);
    EXPECT_EQ(run.state(), api::RunState::Paused);
    EXPECT_TRUE(debugger.state(0));
}

TEST_F(DebuggerTest, OneVcpuStepsWhileTheOthersStay) {
    ASSERT_TRUE(run.start(RunControl::Then::StayPaused));
    ASSERT_TRUE(debugger.attach(listener()));
    ASSERT_TRUE(resume(Stay, Step));
    EXPECT_TRUE(vcpu[1]->control.single_step);
    vcpu[1]->order(DebugReason::Step, 0x10);
    await_stops(1);
    EXPECT_EQ(vcpu[0]->runs(), 0);
    ASSERT_TRUE(resume(Continue, Continue));
    EXPECT_FALSE(vcpu[1]->control.single_step);
    vcpu[0]->await_runs(1);
}

TEST_F(DebuggerTest, OfStopsAtOnceOneIsToldAndAWatchpointIsKept) {
    start_and_attach();
    ASSERT_TRUE(resume(Continue, Continue));
    debugger.vcpu_stopped(0, {DebugReason::Breakpoint, GuestLinearAddr(0x10)});
    debugger.vcpu_stopped(1, {DebugReason::Watchpoint, GuestLinearAddr(0x2000)});
    debugger.vcpu_stopped(1, {DebugReason::Breakpoint, GuestLinearAddr(0x20)});
    await_stops(1);
    EXPECT_EQ(stops[0].vcpu, 0u);
    ASSERT_TRUE(resume(Step, Stay));  // the watchpoint was another vCPU's: not yet
    EXPECT_EQ(run.state(), api::RunState::Running);
    ASSERT_TRUE(debugger.interrupt());
    ASSERT_TRUE(resume(Continue, Continue));
    ASSERT_EQ(stops.size(), 3u);
    EXPECT_EQ(stops[2].vcpu, 1u);
    EXPECT_EQ(stops[2].stop->reason, DebugReason::Watchpoint);
    EXPECT_EQ(run.state(), api::RunState::Paused);
}

TEST_F(DebuggerTest, AnInterruptStopsARunningGuestAtOnce) {
    start_and_attach();
    ASSERT_TRUE(debugger.interrupt());
    EXPECT_TRUE(stops.empty());
    ASSERT_TRUE(resume(Continue, Continue));
    ASSERT_TRUE(debugger.interrupt());
    ASSERT_EQ(stops.size(), 1u);
    EXPECT_FALSE(stops[0].stop);
    EXPECT_EQ(run.state(), api::RunState::Paused);
}

TEST_F(DebuggerTest, ARunningGuestsStateIsNotToBeTouched) {
    start_and_attach();
    ASSERT_TRUE(resume(Continue, Continue));
    std::byte byte{};
    EXPECT_FALSE(debugger.state(0));
    EXPECT_FALSE(debugger.set_state(0, cpu::CpuState{}));
    EXPECT_FALSE(debugger.read(0, GuestLinearAddr(0), {&byte, 1}));
    EXPECT_FALSE(debugger.write_physical(GuestPhysAddr(0), {&byte, 1}));
    EXPECT_FALSE(debugger.add_breakpoint(GuestLinearAddr(0)));
    EXPECT_FALSE(resume(Continue, Continue));
}

TEST_F(DebuggerTest, ResumingNeedsAnActionForEachVcpuAndOneThatGoesOn) {
    start_and_attach();
    EXPECT_FALSE(resume(Stay, Stay));
    EXPECT_FALSE(debugger.resume(std::array{Continue}));
    EXPECT_FALSE(debugger.resume({}));
    EXPECT_EQ(run.state(), api::RunState::Paused);
}

TEST_F(DebuggerTest, StateIsSetWithoutMovingTheClockOrTheLocalApic) {
    start_and_attach();
    vcpu[0]->state.lapic.emplace();
    auto s = *debugger.state(0);
    s.gpr[cpu::RAX] = 42;
    ASSERT_TRUE(debugger.set_state(0, s));
    EXPECT_EQ(vcpu[0]->state.gpr[cpu::RAX], 42u);
    EXPECT_FALSE(vcpu[0]->state.msrs.contains(cpu::msr::IA32_TSC));
    EXPECT_FALSE(vcpu[0]->state.lapic);
    EXPECT_EQ(debugger.state(0)->gpr[cpu::RAX], 42u);
    EXPECT_FALSE(debugger.state(2));
}

TEST_F(DebuggerTest, MemoryIsReachedThroughThePageTablesAcrossPages) {
    ASSERT_TRUE(memory.store<uint32_t>(GuestPhysAddr(0x1000), 0x2001));
    ASSERT_TRUE(memory.store<uint32_t>(GuestPhysAddr(0x2000), 0x8001));
    ASSERT_TRUE(memory.store<uint32_t>(GuestPhysAddr(0x2004), 0x5001));
    vcpu[0]->state.cr0 = cpu::cr0::PE | cpu::cr0::PG;
    vcpu[0]->state.cr3 = 0x1000;
    start_and_attach();
    const std::array bytes{std::byte{1}, std::byte{2}};
    ASSERT_TRUE(debugger.write(0, GuestLinearAddr(0xfff), bytes));
    EXPECT_EQ(*memory.load<uint8_t>(GuestPhysAddr(0x8fff)), 1);
    EXPECT_EQ(*memory.load<uint8_t>(GuestPhysAddr(0x5000)), 2);
    std::array<std::byte, 2> back{};
    ASSERT_TRUE(debugger.read(0, GuestLinearAddr(0xfff), back));
    EXPECT_EQ(back, bytes);
    EXPECT_FALSE(debugger.write(0, GuestLinearAddr(0x1fff), bytes));  // its second page is not mapped
    EXPECT_EQ(*memory.load<uint8_t>(GuestPhysAddr(0x5fff)), 0);
    EXPECT_TRUE(debugger.read(1, GuestLinearAddr(0x8fff), back));  // the other vCPU has no paging
    EXPECT_EQ(back[0], std::byte{1});
}

TEST_F(DebuggerTest, BreakpointsAreLimitedByTheEngineAndByANumber) {
    start_and_attach();
    for (uint64_t n = 0; n < 4; ++n) EXPECT_TRUE(debugger.add_breakpoint(GuestLinearAddr(n)));
    EXPECT_TRUE(debugger.add_breakpoint(GuestLinearAddr(3)));
    EXPECT_FALSE(debugger.add_breakpoint(GuestLinearAddr(4)));
    debugger.remove_breakpoint(GuestLinearAddr(0));
    EXPECT_TRUE(debugger.add_breakpoint(GuestLinearAddr(4)));
    for (uint64_t n = 0; n < Debugger::kMaxWatchpoints; ++n) EXPECT_TRUE(debugger.add_watchpoint({GuestLinearAddr(n), Bytes(1)}));
    EXPECT_FALSE(debugger.add_watchpoint({GuestLinearAddr(99), Bytes(1)}));
    EXPECT_FALSE(debugger.add_watchpoint({GuestLinearAddr(0), Bytes(0)}));
    EXPECT_FALSE(debugger.add_watchpoint({GuestLinearAddr(0), Debugger::kMaxWatched + Bytes(1)}));
}

TEST_F(DebuggerTest, DetachingTakesBreakpointsAwayAndLetsTheGuestRun) {
    start_and_attach();
    ASSERT_TRUE(debugger.add_breakpoint(GuestLinearAddr(1)));
    ASSERT_TRUE(resume(Stay, Step));
    debugger.detach(DebugPort::Leave::Running);
    EXPECT_TRUE(vcpu[0]->control.empty());
    EXPECT_TRUE(vcpu[1]->control.empty());
    EXPECT_EQ(run.state(), api::RunState::Running);
    vcpu[0]->await_runs(1);
    EXPECT_TRUE(debugger.attach(listener()));
}

TEST_F(DebuggerTest, ADebuggerThatVanishesLeavesAStoppedGuestForOthersToResume) {
    start_and_attach();
    debugger.detach(DebugPort::Leave::AsItIs);
    EXPECT_EQ(run.state(), api::RunState::Paused);
    EXPECT_TRUE(run.resume());
}

TEST_F(DebuggerTest, ADebuggerThatVanishesFromARunningGuestDoesNotStopIt) {
    start_and_attach();
    ASSERT_TRUE(resume(Continue, Continue));
    debugger.detach(DebugPort::Leave::AsItIs);
    EXPECT_EQ(run.state(), api::RunState::Running);
}

TEST_F(DebuggerTest, AStopThatNobodyWaitsForAnyMoreHoldsNoVcpu) {
    start_and_attach();
    ASSERT_TRUE(resume(Continue, Continue));
    vcpu[0]->order(DebugReason::Breakpoint, 1);
    processors.stop();  // it has returned, its stop is posted
    debugger.detach(DebugPort::Leave::Running);
    const int runs = vcpu[0]->runs();
    executor.run_once(Nanoseconds(0));
    vcpu[0]->await_runs(runs + 1);
    EXPECT_TRUE(stops.empty());
}

TEST_F(DebuggerTest, TheGuestsEndIsTold) {
    start_and_attach();
    ASSERT_TRUE(resume(Continue, Continue));
    debugger.kill();
    ASSERT_TRUE(end);
    EXPECT_EQ(end->reason, api::StopReason::Stopped);
    EXPECT_FALSE(debugger.state(0));
    debugger.detach(DebugPort::Leave::Running);
    EXPECT_EQ(run.state(), api::RunState::Stopped);
}

}  // namespace
}  // namespace yado::vm
