// Commands of noise for the SCSI disk: whatever the CDB, the lengths and the data, every command is answered, nothing outside
// of its buffers changes, and the disk goes on. Seeded: a failure names its seed. YADO_FUZZ_ROUNDS runs more.
#include <cstdlib>
#include <random>

#include "fakes/scsi_rig.h"

namespace yado::virtio {
namespace {

constexpr std::array<uint8_t, 30> kOpcodes{0x00, 0x03, 0x08, 0x0a, 0x12, 0x15, 0x1a, 0x1b, 0x25, 0x28, 0x2a, 0x2f, 0x35, 0x41, 0x42,
                                           0x55, 0x5a, 0x88, 0x8a, 0x8f, 0x91, 0x93, 0x9e, 0xa0, 0xa3, 0xa8, 0xaa, 0xaf, 0x16, 0xff};

class Noise {
  public:
    explicit Noise(uint64_t seed) : random_(seed) {}
    uint64_t below(uint64_t n) { return random_() % n; }
    bool chance(unsigned percent) { return below(100) < percent; }

    /// Mostly a command that there is, with most of its bits as they should be: small numbers at the ends of its fields.
    std::vector<uint8_t> cdb() {
        std::vector<uint8_t> bytes(32);
        bytes[0] = chance(95) ? kOpcodes[below(kOpcodes.size())] : static_cast<uint8_t>(random_());
        if (bytes[0] == 0x9e) bytes[1] = 0x10;
        if (bytes[0] == 0xa3) bytes[1] = 0x0c;
        const unsigned changes = static_cast<unsigned>(below(6));
        for (unsigned i = 0; i < changes; ++i) bytes[1 + below(15)] = static_cast<uint8_t>(chance(60) ? 1u << below(8) : random_());
        return bytes;
    }
    uint32_t size() {
        switch (below(6)) {
        case 0: return 0;
        case 1: return static_cast<uint32_t>(below(64));
        case 2: return 0x10000;
        default: return static_cast<uint32_t>(512 * below(64));
        }
    }

  private:
    std::mt19937_64 random_;
};

unsigned rounds() {
    const char* more = std::getenv("YADO_FUZZ_ROUNDS");
    return more ? static_cast<unsigned>(std::strtoul(more, nullptr, 10)) : 20'000;
}

TEST(ScsiFuzz, CommandsOfNoiseAreAnswered) {
    ScsiRig rig;
    unsigned good = 0, refused = 0, overruns = 0;
    constexpr uint64_t kAfter = ScsiRig::kIn + 0x10000;
    for (uint64_t seed = 1; seed <= rounds(); ++seed) {
        SCOPED_TRACE(seed);
        Noise noise(seed);
        rig.disk.fail_next = noise.chance(2);
        for (unsigned i = 0; i < 4; ++i) rig.machine.store<uint64_t>(ScsiRig::kOut + 8 * noise.below(64), noise.chance(50) ? noise.below(256) : noise.below(~0ull));
        const bool writes = noise.chance(50);
        const uint32_t out = writes ? noise.size() : 0, in = writes ? 0 : noise.size();
        rig.machine.store<uint64_t>(kAfter, 0x5555);
        const ScsiRig::Answer answer = rig.command(noise.cdb(), out, in);
        ASSERT_FALSE(rig.driver.needs_reset());
        ASSERT_LE(answer.header.residual, out + in);
        ASSERT_EQ(answer.used, 108u + (in ? in - answer.header.residual : 0));
        ASSERT_EQ(rig.machine.load<uint64_t>(kAfter), 0x5555u);
        if (answer.header.response) {
            ++overruns;
        } else if (answer.header.status) {
            ++refused;
            ASSERT_EQ(answer.header.sense_len, 18u);
            ASSERT_NE(answer.key, 0);
        } else {
            ++good;
        }
        if (testing::Test::HasFailure()) return;
    }
    EXPECT_TRUE(rig.command({0x1b, 0, 0, 0, 1}).good());
    EXPECT_TRUE(rig.command({0x28, 0, 0, 0, 0, 1, 0, 0, 1}, 0, 512).good());
    // The noise must reach all sides, or it tests nothing.
    EXPECT_GT(good, rounds() / 20);
    EXPECT_GT(refused, rounds() / 20);
    EXPECT_GT(overruns, rounds() / 20);
}

TEST(ScsiFuzz, ControlRequestsOfNoiseAreAnsweredOrNeedAReset) {
    std::mt19937_64 random(11);
    for (unsigned round = 0; round < 300; ++round) {
        ScsiRig rig;
        for (unsigned i = 0; i < 20 && !rig.driver.needs_reset(); ++i) {
            rig.machine.store<uint32_t>(ScsiRig::kControl, static_cast<uint32_t>(random() % 4));
            rig.machine.store<uint32_t>(ScsiRig::kControl + 4, static_cast<uint32_t>(random() % 9));
            rig.machine.store<uint64_t>(ScsiRig::kControl + 8, random() % 3 ? 1 : random());
            rig.machine.store<uint64_t>(ScsiRig::kControl + 16, random());
            rig.control->offer({{ScsiRig::kControl, static_cast<uint32_t>(1 + random() % 40)}, {ScsiRig::kControl + 0x100, static_cast<uint32_t>(1 + random() % 8), true}});
            rig.driver.kick(0);
            ASSERT_TRUE(rig.control->take_used() || rig.driver.needs_reset());
        }
    }
}

}  // namespace
}  // namespace yado::virtio
