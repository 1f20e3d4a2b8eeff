#include "state/stateful.h"

#include <gtest/gtest.h>

namespace yado::state {
namespace {

std::vector<Record> sample() { return {{"pit.pit", 1, "abc"}, {"uart.0", 3, std::string(1000, '\0')}, {"empty", 1, ""}}; }

TEST(StateStream, RecordsComeBackAsTheyWent) {
    const auto records = decode(encode(sample()));
    ASSERT_TRUE(records);
    ASSERT_EQ(records->size(), 3u);
    EXPECT_EQ((*records)[0].payload, "abc");
    EXPECT_EQ((*records)[1].version, 3u);
    EXPECT_EQ((*records)[1].payload.size(), 1000u);
}

TEST(StateStream, EveryTruncationIsRefused) {
    const std::string whole = encode(sample());
    for (size_t n = 0; n < whole.size(); ++n) EXPECT_FALSE(decode(std::string_view(whole).substr(0, n))) << n;
}

TEST(StateStream, EveryFlippedBitIsRefused) {
    const std::string whole = encode(sample());
    for (size_t n = 0; n < whole.size(); ++n)
        for (int bit = 0; bit < 8; ++bit) {
            std::string damaged = whole;
            damaged[n] = static_cast<char>(damaged[n] ^ 1 << bit);
            EXPECT_FALSE(decode(damaged)) << n << " bit " << bit;
        }
}

TEST(StateStream, ANameThatAppearsTwiceIsRefused) {
    EXPECT_FALSE(decode(encode(std::vector<Record>{{"a", 1, ""}, {"a", 1, ""}})));
}

TEST(StateStream, BytesAfterTheEndAreRefused) { EXPECT_FALSE(decode(encode(sample()) + "x")); }

}  // namespace
}  // namespace yado::state
