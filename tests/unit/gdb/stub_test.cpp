#include "gdb/stub.h"

#include <fmt/core.h>
#include <gtest/gtest.h>

#include "fakes/debug_port.h"

namespace yado::gdb {
namespace {

using enum vm::VcpuAction;
using Actions = std::vector<vm::VcpuAction>;
using fakes::FakeDebugPort;

class StubTest : public testing::Test {
  protected:
    StubTest() { EXPECT_TRUE(stub->attach()); }

    /// What the packet is answered with; "(nothing)" where nothing was.
    std::string ask(std::string_view payload) {
        said = "(nothing)";
        stub->packet(payload);
        return said;
    }
    static vm::DebugEvent hit(unsigned vcpu, cpu::DebugReason reason, uint64_t address) {
        return {vcpu, cpu::DebugStop{reason, GuestLinearAddr(address)}};
    }

    static uint64_t registers_number(std::string_view name) {
        const RegisterFile file(RegisterFile::Vectors::Sse);
        uint64_t number = 0;
        while (file.find(number)->name != name) ++number;
        return number;
    }

    FakeDebugPort port;
    std::string said;
    std::unique_ptr<Stub> stub = std::make_unique<Stub>(port, [this](std::string_view payload) { said = payload; });
};

TEST_F(StubTest, WhatIsUnknownGetsAnEmptyAnswer) {
    for (const char* packet : {"vMustReplyEmpty", "qNothing", "QNothing", "!", "vRun;x", "", "\x01"}) EXPECT_EQ(ask(packet), "") << packet;
}

TEST_F(StubTest, RegistersAreReadAndWritten) {
    port.states[0].gpr[cpu::RAX] = 0x1122334455667788;
    EXPECT_EQ(ask("p0"), "8877665544332211");
    EXPECT_TRUE(ask("g").starts_with("8877665544332211"));
    EXPECT_EQ(ask("P0=0100000000000000"), "OK");
    EXPECT_EQ(port.states[0].gpr[cpu::RAX], 1u);
    EXPECT_EQ(ask("G0200000000000000"), "OK");
    EXPECT_EQ(port.states[0].gpr[cpu::RAX], 2u);
}

TEST_F(StubTest, AllRegistersWrittenBackChangeNothing) {
    port.states[0] = cpu::reset_state();
    const auto before = port.states[0];
    const std::string all = ask("g");
    EXPECT_EQ(ask("G" + all), "OK");
    EXPECT_EQ(port.states[0].gpr, before.gpr);
    EXPECT_EQ(port.states[0].seg, before.seg);
    EXPECT_EQ(ask("g"), all);
}

TEST_F(StubTest, ARegisterThatNoProcessorCanHoldIsRefused) {
    const auto cr0 = registers_number("cr0");
    EXPECT_EQ(ask(fmt::format("P{:x}=0000000001000000", cr0)), "E16");
    EXPECT_EQ(port.states[0].cr0, 0u);
}

TEST_F(StubTest, RegistersAreThoseOfTheChosenThread) {
    EXPECT_EQ(ask("Hg2"), "OK");
    EXPECT_EQ(ask("p10"), "0110000000000000");
    EXPECT_EQ(ask("Hg3"), "E01");
    EXPECT_EQ(ask("qC"), "QC2");
}

TEST_F(StubTest, MemoryIsReadAsFarAsItGoes) {
    port.memory[0] = std::byte{0xab};
    EXPECT_EQ(ask("m1000,2"), "ab00");
    EXPECT_EQ(ask("m3fff,4"), "00");
    EXPECT_EQ(ask("m4000,4"), "E0e");
    EXPECT_EQ(ask("m1000,0"), "");
    EXPECT_EQ(ask("mffffffffffffffff,4"), "E0e");
    EXPECT_EQ(ask("m1000,ffffffffffffffff").size(), 0x4000u);
}

TEST_F(StubTest, MemoryIsWrittenInHexAndInBinary) {
    EXPECT_EQ(ask("M1001,2:beef"), "OK");
    EXPECT_EQ(ask("X1003,2:#$"), "OK");
    EXPECT_EQ(ask("m1000,6"), "00beef232400");
    EXPECT_EQ(ask("X1000,0:"), "OK");
    for (const char* packet : {"M1001,3:beef", "M1001,2:be", "M1001,2", "X1001,2:x", "Mzz,2:beef", "M1001,2:beeg"}) EXPECT_EQ(ask(packet), "E01") << packet;
    EXPECT_EQ(ask("M3fff,2:beef"), "E0e");
}

TEST_F(StubTest, PhysicalAddressesAreMeantOnceAskedFor) {
    port.memory[0] = std::byte{0x5a};
    EXPECT_EQ(ask("m0,1"), "E0e");
    EXPECT_EQ(ask("qRcmd," + to_hex(std::string_view("physical on"))), "OK");
    EXPECT_EQ(ask("m0,1"), "5a");
    EXPECT_EQ(ask("qqemu.PhyMemMode"), "1");
    EXPECT_EQ(ask("Qqemu.PhyMemMode:0"), "OK");
    EXPECT_EQ(ask("m0,1"), "E0e");
}

TEST_F(StubTest, ContinuingIsAnsweredByTheStop) {
    EXPECT_EQ(ask("vCont;c"), "(nothing)");
    EXPECT_EQ(port.actions, (Actions{Continue, Continue}));
    port.stop(hit(1, cpu::DebugReason::Breakpoint, 0x2000));
    EXPECT_EQ(said, "T05thread:2;");
    EXPECT_EQ(ask("?"), "T05thread:2;");
    EXPECT_EQ(ask("qC"), "QC2");
}

TEST_F(StubTest, OneThreadStepsAloneOrBesideOthers) {
    EXPECT_EQ(ask("vCont;s:2"), "(nothing)");
    EXPECT_EQ(port.actions, (Actions{Stay, Step}));
    port.stop(hit(1, cpu::DebugReason::Step, 0x1002));
    EXPECT_EQ(said, "T05thread:2;");
    EXPECT_EQ(ask("s"), "(nothing)");
    EXPECT_EQ(port.actions, (Actions{Stay, Step}));
    port.stop(hit(1, cpu::DebugReason::Step, 0x1004));
    EXPECT_EQ(ask("Hc1"), "OK");
    EXPECT_EQ(ask("c"), "(nothing)");
    EXPECT_EQ(port.actions, (Actions{Continue, Stay}));
}

TEST_F(StubTest, ContinuingElsewhereSetsTheInstructionPointer) {
    EXPECT_EQ(ask("c1234"), "(nothing)");
    EXPECT_EQ(port.states[0].rip, 0x1234u);
    EXPECT_EQ(port.actions, (Actions{Continue, Continue}));
    port.stop({});
    EXPECT_EQ(ask("C05;4321"), "(nothing)");
    EXPECT_EQ(port.states[0].rip, 0x4321u);
}

TEST_F(StubTest, CtrlCStopsARunningGuestAndIsNothingToAStoppedOne) {
    said.clear();
    stub->interrupt();
    EXPECT_EQ(said, "");
    ask("c");
    stub->interrupt();
    EXPECT_EQ(said, "T02thread:1;");
}

TEST_F(StubTest, WhileTheGuestRunsNothingElseIsAnswered) {
    ask("c");
    EXPECT_EQ(ask("?"), "E01");
    EXPECT_EQ(ask("vCont;c"), "E01");
    EXPECT_EQ(ask("g"), "E10");
    EXPECT_EQ(ask("m1000,1"), "E10");
}

TEST_F(StubTest, BreakpointsOfBothKindsShareAnAddress) {
    EXPECT_EQ(ask("Z0,2000,1"), "OK");
    EXPECT_EQ(ask("Z1,2000,1"), "OK");
    EXPECT_EQ(ask("z0,2000,1"), "OK");
    EXPECT_TRUE(port.breakpoints.contains(GuestLinearAddr(0x2000)));
    EXPECT_EQ(ask("z1,2000,1"), "OK");
    EXPECT_EQ(ask("z1,2000,1"), "OK");
    EXPECT_TRUE(port.breakpoints.empty());
}

TEST_F(StubTest, ABreakpointTooManyIsAnErrorThatGdbShows) {
    for (unsigned n = 0; n < 4; ++n) EXPECT_EQ(ask(fmt::format("Z0,{:x},1", 0x2000 + n)), "OK");
    EXPECT_EQ(ask("Z0,3000,1"), "E0e");
}

TEST_F(StubTest, MalformedBreakpointsAreRefused) {
    for (const char* packet : {"Z", "Z0", "Z0,", "Z0,1000", "Z0,1000,1;X1,0", "Z0,1000,1;cmds:1", "Zx,1000,1", "z2,1000"}) EXPECT_EQ(ask(packet), "E01") << packet;
    EXPECT_EQ(ask("Z5,1000,1"), "");
    EXPECT_EQ(ask("Z2,1000,0"), "E0e");
}

TEST_F(StubTest, StopsTellWhichKindOfBreakpointWasHit) {
    ask("qSupported:multiprocess+;swbreak+;hwbreak+;xmlRegisters=i386");
    ask("Z0,2000,1");
    ask("Z1,2004,1");
    ask("c");
    port.stop(hit(0, cpu::DebugReason::Breakpoint, 0x2000));
    EXPECT_EQ(said, "T05thread:1;swbreak:;");
    ask("c");
    port.stop(hit(0, cpu::DebugReason::Breakpoint, 0x2004));
    EXPECT_EQ(said, "T05thread:1;hwbreak:;");
}

TEST_F(StubTest, StopsTellWhatWasWatched) {
    ask("Z2,3000,8");
    ask("Z3,3100,4");
    ask("Z4,3200,1");
    ask("c");
    port.stop(hit(1, cpu::DebugReason::Watchpoint, 0x3004));
    EXPECT_EQ(said, "T05thread:2;watch:3004;");
    ask("c");
    port.stop(hit(1, cpu::DebugReason::Watchpoint, 0x3100));
    EXPECT_EQ(said, "T05thread:2;rwatch:3100;");
    ask("c");
    port.stop(hit(1, cpu::DebugReason::Watchpoint, 0x3200));
    EXPECT_EQ(said, "T05thread:2;awatch:3200;");
    ask("z3,3100,4");
    EXPECT_EQ(port.watchpoints.size(), 2u);
}

TEST_F(StubTest, ThreadsAreListedAndDescribed) {
    port.states[1].activity = cpu::Activity::Halted;
    EXPECT_EQ(ask("qfThreadInfo"), "m1,2");
    EXPECT_EQ(ask("qsThreadInfo"), "l");
    EXPECT_EQ(ask("qThreadExtraInfo,2"), to_hex(std::string_view("vCPU 1, halted")));
    EXPECT_EQ(ask("qThreadExtraInfo,3"), "E01");
    EXPECT_EQ(ask("T2"), "OK");
    EXPECT_EQ(ask("T3"), "E01");
    EXPECT_EQ(ask("T-1"), "E01");
}

TEST_F(StubTest, TheDescriptionComesInPieces) {
    std::string xml, piece;
    do {
        piece = ask(fmt::format("qXfer:features:read:target.xml:{:x},400", xml.size()));
        xml += piece.substr(1);
    } while (piece[0] == 'm');
    EXPECT_EQ(piece[0], 'l');
    EXPECT_EQ(xml, RegisterFile(RegisterFile::Vectors::Sse).description());
    EXPECT_EQ(ask("qXfer:features:read:target.xml:ffffff,10"), "E01");
    EXPECT_EQ(ask("qXfer:features:read:other.xml:0,10"), "");
}

TEST_F(StubTest, DetachingLetsTheGuestRun) {
    EXPECT_EQ(ask("D"), "OK");
    EXPECT_EQ(port.left, vm::DebugPort::Leave::Running);
    EXPECT_TRUE(stub->over());
    EXPECT_EQ(ask("g"), "(nothing)");
}

TEST_F(StubTest, AConnectionThatBreaksLeavesTheGuestAsItIs) {
    stub.reset();
    EXPECT_EQ(port.left, vm::DebugPort::Leave::AsItIs);
}

TEST_F(StubTest, KillingEndsTheGuest) {
    EXPECT_EQ(ask("k"), "(nothing)");
    EXPECT_TRUE(port.killed);
    EXPECT_TRUE(stub->over());
}

TEST_F(StubTest, AGuestThatEndsIsReportedWithItsStatus) {
    ask("c");
    port.end({.reason = api::StopReason::Crashed});
    EXPECT_EQ(said, "W08");
    EXPECT_TRUE(stub->over());
    stub.reset();
    EXPECT_FALSE(port.left);
}

TEST_F(StubTest, MonitorCommandsAnswerInText) {
    EXPECT_EQ(ask("qRcmd," + to_hex(std::string_view("physical"))), to_hex(std::string_view("off\n")));
    EXPECT_NE(ask("qRcmd," + to_hex(std::string_view("help"))), "");
    EXPECT_NE(ask("qRcmd," + to_hex(std::string_view("reboot"))), "OK");
    EXPECT_EQ(ask("qRcmd,7"), "E01");
}

}  // namespace
}  // namespace yado::gdb
