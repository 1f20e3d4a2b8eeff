// Run control over vCPUs that only count and wait.
#include <gtest/gtest.h>

#include <semaphore>

#include "vm/exit_router.h"
#include "vm/run_control.h"

namespace yado::vm {
namespace {

/// Runs until kicked; each run() may be told to end otherwise.
class ScriptedVcpu final : public cpu::Vcpu {
  public:
    cpu::Exit run() override {
        ++runs;
        runs.notify_all();
        if (shutdown.exchange(false)) return cpu::ShutdownRequest{cpu::ShutdownCause::TripleFault, "scripted"};
        if (halt) return cpu::Halted{};
        kicked_.wait(false);
        kicked_ = false;
        return cpu::Kicked{};
    }
    void park() override {
        kicked_.wait(false);
        kicked_ = false;
    }
    void kick() override {
        kicked_ = true;
        kicked_.notify_all();
    }
    Result<cpu::CpuState> get_state() override { return cpu::CpuState{}; }
    Result<> set_state(const cpu::CpuState&) override { return {}; }

    std::atomic<int> runs{0};
    std::atomic<bool> shutdown{false}, halt{false};

  private:
    std::atomic<bool> kicked_{false};
};

class CountingDevice final : public bus::Device {
  public:
    std::string id() const override { return "d"; }
    std::string kind() const override { return "counting"; }
    void reset() override { ++resets; }
    void pause() override { ++pauses; }
    void resume() override { ++resumes; }
    Result<state::Record> save() const override { return state::Record{state_name(), 1, "x"}; }
    Result<> load(const state::Record& r) override {
        if (r.payload != "x") return fail(ErrorKind::Corrupt, "bad");
        return {};
    }
    int resets = 0, pauses = 0, resumes = 0;
};

class Control : public testing::Test {
  protected:
    Control() {
        inventory.add(device);
        EXPECT_TRUE(processors.add([this]() -> Result<std::unique_ptr<cpu::Vcpu>> {
            auto v = std::make_unique<ScriptedVcpu>();
            vcpu = v.get();
            return v;
        }));
    }
    void drain() { executor.run_once(Nanoseconds(0)); }
    void await_runs(int least) {
        for (int n = vcpu->runs; n < least; n = vcpu->runs) vcpu->runs.wait(n);
    }
    RunControl make(bool stop_on_reset = false) {
        return RunControl({executor, processors, inventory, [this]() -> Result<> { ++boots; return {}; },
                           [this](std::string_view kind, std::string_view) { events += std::string(kind) + " "; },
                           stop_on_reset});
    }

    io::Executor executor;
    Inventory inventory;
    CountingDevice device;
    ScriptedVcpu* vcpu = nullptr;
    std::string events;
    int boots = 0;
    RunControl* control = nullptr;
    Processors processors{[this](unsigned, const cpu::ShutdownRequest& r) {
        control->guest_stops({.reason = api::StopReason::Crashed, .detail = r.detail});
    }};
};

TEST_F(Control, AStartedGuestRunsPausesAndResumes) {
    RunControl c = make();
    control = &c;
    ASSERT_TRUE(c.start());
    await_runs(1);
    ASSERT_TRUE(c.pause());
    const int runs = vcpu->runs;
    EXPECT_EQ(device.pauses, 1);
    ASSERT_TRUE(c.resume());
    await_runs(runs + 1);
    ASSERT_TRUE(c.stop({.reason = api::StopReason::Stopped}));
    EXPECT_EQ(events, "started paused resumed stopped ");
}

TEST_F(Control, AResetBootsAgain) {
    RunControl c = make();
    control = &c;
    ASSERT_TRUE(c.start());
    c.guest_wants_reset();
    drain();
    EXPECT_EQ(boots, 2);
    EXPECT_EQ(device.resets, 2);
    EXPECT_EQ(c.state(), api::RunState::Running);
    ASSERT_TRUE(c.stop({.reason = api::StopReason::Stopped}));
}

TEST_F(Control, APausedGuestStaysPausedOverAReset) {
    RunControl c = make();
    control = &c;
    ASSERT_TRUE(c.start());
    ASSERT_TRUE(c.pause());
    const int runs = vcpu->runs;
    ASSERT_TRUE(c.reset());
    EXPECT_EQ(boots, 2);
    EXPECT_EQ(c.state(), api::RunState::Paused);
    EXPECT_EQ(device.resumes, 1);
    EXPECT_EQ(vcpu->runs, runs);
    ASSERT_TRUE(c.resume());
    ASSERT_TRUE(c.stop({.reason = api::StopReason::Stopped}));
}

TEST_F(Control, WhatTheHostCannotDoPausesTheGuestWithAReasonUntilItIsResumed) {
    RunControl c = make();
    control = &c;
    ASSERT_TRUE(c.start());
    c.host_pauses("disk-error", "disk disk0: full");
    drain();
    EXPECT_EQ(c.state(), api::RunState::Paused);
    EXPECT_EQ(c.pause_reason(), "disk disk0: full");
    EXPECT_EQ(device.pauses, 1);
    ASSERT_TRUE(c.resume());
    EXPECT_EQ(c.pause_reason(), "");
    EXPECT_EQ(events, "started disk-error paused resumed ");
    ASSERT_TRUE(c.stop({.reason = api::StopReason::Stopped}));
}

TEST_F(Control, AGuestPausedForTheHostCanBeResetAndStopped) {
    RunControl c = make();
    control = &c;
    ASSERT_TRUE(c.start());
    c.host_pauses("disk-error", "disk disk0: full");
    drain();
    ASSERT_TRUE(c.reset());
    EXPECT_EQ(c.state(), api::RunState::Paused);
    EXPECT_EQ(c.pause_reason(), "");
    ASSERT_TRUE(c.stop({.reason = api::StopReason::Stopped}));
    c.host_pauses("disk-error", "disk disk0: full");
    drain();
    EXPECT_EQ(c.state(), api::RunState::Stopped);
}

TEST_F(Control, WhereResetsEndTheGuestOneDoes) {
    RunControl c = make(true);
    control = &c;
    ASSERT_TRUE(c.start());
    c.guest_wants_reset();
    drain();
    EXPECT_EQ(boots, 1);
    EXPECT_EQ(c.stopped()->reason, api::StopReason::Rebooted);
}

TEST_F(Control, ATripleFaultStopsTheGuestWithItsReason) {
    RunControl c = make();
    control = &c;
    vcpu->shutdown = true;
    ASSERT_TRUE(c.start());
    executor.run_once(std::chrono::seconds(10));
    ASSERT_TRUE(c.stopped());
    EXPECT_EQ(c.stopped()->reason, api::StopReason::Crashed);
    EXPECT_EQ(c.stopped()->detail, "scripted");
}

TEST_F(Control, AHaltedVcpuIsStoppedAtOnce) {
    RunControl c = make();
    control = &c;
    vcpu->halt = true;
    ASSERT_TRUE(c.start());
    await_runs(1);
    ASSERT_TRUE(c.pause());
    ASSERT_TRUE(c.stop({.reason = api::StopReason::Stopped}));
}

TEST_F(Control, TheMachineIsChangedWhileNoVcpuRuns) {
    RunControl c = make();
    control = &c;
    ASSERT_TRUE(c.start());
    await_runs(1);
    EXPECT_TRUE(c.change_machine([&](RunControl::Devices devices) -> Result<> {
        EXPECT_EQ(devices, RunControl::Devices::Running);
        return {};
    }));
    await_runs(2);
    EXPECT_EQ(device.pauses, 0);
    EXPECT_EQ(c.state(), api::RunState::Running);
    ASSERT_TRUE(c.pause());
    const auto refused = c.change_machine([&](RunControl::Devices devices) -> Result<> {
        EXPECT_EQ(devices, RunControl::Devices::Quiet);
        return fail(ErrorKind::Conflict, "full");
    });
    EXPECT_EQ(refused.error().message(), "full");
    ASSERT_TRUE(c.stop({.reason = api::StopReason::Stopped}));
    EXPECT_EQ(c.change_machine([](RunControl::Devices) -> Result<> { return {}; }).error().message(), "the guest is stopped");
}

TEST_F(Control, WhatTheGuestChangesIsDoneWithItsVcpusHeld) {
    RunControl c = make();
    control = &c;
    ASSERT_TRUE(c.start());
    await_runs(1);
    int changes = 0;
    c.guest_changes_machine([&](RunControl::Devices) { ++changes; });
    EXPECT_EQ(changes, 0);
    drain();
    EXPECT_EQ(changes, 1);
    await_runs(2);
    ASSERT_TRUE(c.stop({.reason = api::StopReason::Stopped}));
    c.guest_changes_machine([&](RunControl::Devices) { ++changes; });
    drain();
    EXPECT_EQ(changes, 1);
}

TEST_F(Control, VerbsThatTheStateForbidsAreConflicts) {
    RunControl c = make();
    control = &c;
    EXPECT_EQ(c.pause().error().kind(), ErrorKind::Conflict);
    EXPECT_EQ(c.resume().error().kind(), ErrorKind::Conflict);
    ASSERT_TRUE(c.start());
    EXPECT_EQ(c.start().error().kind(), ErrorKind::Conflict);
    ASSERT_TRUE(c.stop({.reason = api::StopReason::PoweredOff}));
    EXPECT_EQ(c.reset().error().kind(), ErrorKind::Conflict);
}

TEST_F(Control, AGuestThatIsStoppedBeforeItsStartNeverRuns) {
    RunControl c = make();
    control = &c;
    ASSERT_TRUE(c.stop({.reason = api::StopReason::Stopped}));
    ASSERT_TRUE(c.start());
    EXPECT_EQ(c.state(), api::RunState::Stopped);
    EXPECT_EQ(boots, 0);
    EXPECT_EQ(events, "stopped ");
}

TEST_F(Control, SavedStateMustMatchTheInventory) {
    auto records = *inventory.save();
    EXPECT_TRUE(inventory.load(records));
    records.push_back({"unknown.x", 1, ""});
    EXPECT_FALSE(inventory.load(records));
    EXPECT_FALSE(inventory.load({}));
}

}  // namespace
}  // namespace yado::vm
