#include "gdb/text.h"

#include <gtest/gtest.h>

namespace yado::gdb {
namespace {

TEST(HexText, NumbersHaveOneToSixteenDigits) {
    EXPECT_EQ(hex_number("0"), 0u);
    EXPECT_EQ(hex_number("ffffffff81000000"), 0xffffffff81000000u);
    EXPECT_EQ(hex_number("aB"), 0xabu);
    for (const char* text : {"", "g", "0x1", "-1", "+1", " 1", "11112222333344445"}) EXPECT_FALSE(hex_number(text)) << text;
}

TEST(HexText, BytesAreWholePairs) {
    EXPECT_EQ(to_hex(*hex_bytes("00ff7A")), "00ff7a");
    EXPECT_TRUE(hex_bytes("")->empty());
    for (const char* text : {"1", "123", "1g", "+1"}) EXPECT_FALSE(hex_bytes(text)) << text;
}

TEST(HexText, ArgumentsAreTakenFromTheLeft) {
    Arguments a("1f,20:rest;more");
    EXPECT_EQ(a.number(), 0x1fu);
    EXPECT_TRUE(a.skip(","));
    EXPECT_EQ(a.number(), 0x20u);
    EXPECT_FALSE(a.skip(";"));
    EXPECT_TRUE(a.skip(":"));
    EXPECT_EQ(a.until(';'), "rest");
    EXPECT_EQ(a.until(';'), "more");
    EXPECT_TRUE(a.empty());
    EXPECT_FALSE(a.number());
}

}  // namespace
}  // namespace yado::gdb
