// The probe judges a KVM by what it does, in bounded time.
#include "cpu_kvm/probe.h"

#include <gtest/gtest.h>

#include <chrono>

namespace yado::cpu_kvm {
namespace {

TEST(Probe, SaysThatThereIsNoDevice) {
    const ProbeReport r = probe("/nonexistent/kvm");
    EXPECT_FALSE(r.present);
    EXPECT_FALSE(r.accessible);
    EXPECT_FALSE(r.usable);
    EXPECT_NE(r.reason.find("not there"), std::string::npos);
}

TEST(Probe, SaysThatAnotherDeviceIsNotKvm) {
    const ProbeReport r = probe("/dev/null");
    EXPECT_TRUE(r.present);
    EXPECT_FALSE(r.usable);
    EXPECT_FALSE(r.reason.empty());
}

TEST(Probe, JudgesThisMachineWithoutContradiction) {
    const ProbeReport r = probe();
    if (!r.accessible) GTEST_SKIP() << r.reason;
    EXPECT_GT(r.ring0_mips, 0);
    EXPECT_EQ(r.usable, r.ring0_mips >= kUsableMips && r.missing.empty());
    RecordProperty("reason", r.reason);
    std::printf("    %s\n", r.reason.c_str());
}

TEST(Probe, EndsInTime) {
    const auto start = std::chrono::steady_clock::now();
    probe();
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(2));  // 200 ms where nobody else computes
}

}  // namespace
}  // namespace yado::cpu_kvm
