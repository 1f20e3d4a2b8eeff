// The VM-wide clock of the real /dev/kvm: what is set is what the guest reads on from.
#include "kvm_fixture.h"

namespace yado::cpu_kvm {
namespace {

class KvmVmClock : public KvmTest {
  protected:
    static constexpr Nanoseconds kSet = std::chrono::hours(24 * 365), kSoon = kSet + std::chrono::hours(1);
};

TEST_F(KvmVmClock, GoesOnFromWhereItIsSet) {
    cpu::GuestClock* clock = engine_->guest_clock();
    ASSERT_NE(clock, nullptr);
    ASSERT_TRUE(clock->set(kSet));
    const auto first = clock->now(), second = clock->now();
    ASSERT_TRUE(first && second);
    EXPECT_GE(*first, kSet);
    EXPECT_GE(*second, *first);
    EXPECT_LT(*second, kSoon);
}

TEST_F(KvmVmClock, CanBeSetBack) {
    cpu::GuestClock* clock = engine_->guest_clock();
    ASSERT_TRUE(clock->set(kSet));
    ASSERT_TRUE(clock->set(Nanoseconds(0)));
    EXPECT_LT(*clock->now(), kSet);
}

TEST_F(KvmVmClock, IsTheClockThatTheGuestReads) {
    constexpr uint64_t kTimeInfo = 0x5000;  // struct pvclock_vcpu_time_info; system_time at 16
    cpu::CpuState state = start_state();
    state.msrs[cpu::msr::MSR_KVM_SYSTEM_TIME_NEW] = kTimeInfo | 1;
    ASSERT_TRUE(engine_->guest_clock()->set(kSet));
    EXPECT_EQ(text(run({0xe6, 0x80, 0xeb, 0xfe}, state)), "kicked");  // out 80h,al
    const Nanoseconds read(static_cast<int64_t>(*memory_.load<uint64_t>(GuestPhysAddr(kTimeInfo + 16))));
    EXPECT_GE(read, kSet);
    EXPECT_LT(read, kSoon);
}

}  // namespace
}  // namespace yado::cpu_kvm
