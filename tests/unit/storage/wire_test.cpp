#include "storage/wire.h"

#include <gtest/gtest.h>

namespace yado::storage {
namespace {

std::span<const std::byte> bytes_of(const std::string& s) { return std::as_bytes(std::span(s)); }

TEST(Uuid, KeepsTheOrderOfItsText) {
    const auto id = Uuid::parse("2DC27766-F623-4200-9D64-115E9BFD4A08", Uuid::Order::Text);
    ASSERT_TRUE(id.has_value());
    EXPECT_EQ(id->bytes[0], std::byte{0x2d});
    EXPECT_EQ(id->text(Uuid::Order::Text), "2dc27766-f623-4200-9d64-115e9bfd4a08");
}

TEST(Uuid, ReversesTheFirstThreeGroupsOfAGuid) {
    const auto id = Uuid::parse("{2dc27766-f623-4200-9d64-115e9bfd4a08}", Uuid::Order::Guid);
    ASSERT_TRUE(id.has_value());
    EXPECT_EQ(id->bytes[0], std::byte{0x66});
    EXPECT_EQ(id->bytes[4], std::byte{0x23});
    EXPECT_EQ(id->bytes[8], std::byte{0x9d});
    EXPECT_EQ(id->text(Uuid::Order::Guid), "2dc27766-f623-4200-9d64-115e9bfd4a08");
}

TEST(Uuid, RefusesWhatIsNone) {
    for (const char* text : {"", "x", "2dc27766-f623-4200-9d64-115e9bfd4a0", "2dc27766-f623-4200-9d64-115e9bfd4a088", "2dc27766f6234200-9d64-115e9bfd4a08",
                             "2dc27766-f623-4200-9d64-115e9bfd4a0g", "{", "{}"})
        EXPECT_FALSE(Uuid::parse(text, Uuid::Order::Text).has_value()) << text;
}

TEST(Uuid, IsNewEachTime) { EXPECT_NE(Uuid::random(), Uuid::random()); }

TEST(Utf16, GoesThereAndBack) {
    for (const Endian endian : {Endian::Little, Endian::Big}) {
        const std::string text = "a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80z";
        EXPECT_EQ(text_of_utf16(bytes_of(utf16_of_text(text, endian)), endian), text);
    }
    EXPECT_EQ(utf16_of_text("a", Endian::Big), std::string("\0a", 2));
}

TEST(Utf16, EndsAtANul) { EXPECT_EQ(text_of_utf16(bytes_of(std::string("a\0\0\0b\0", 6)), Endian::Little), "a"); }

TEST(Utf16, ReplacesHalfPairsAndControlCharacters) {
    EXPECT_EQ(text_of_utf16(bytes_of(std::string("\x00\xd8", 2)), Endian::Little), "\xef\xbf\xbd");
    EXPECT_EQ(text_of_utf16(bytes_of(std::string("\x1b\0", 2)), Endian::Little), "\xef\xbf\xbd");
    EXPECT_EQ(text_of_utf16(bytes_of(std::string("a\0b", 3)), Endian::Little), "a");
}

TEST(Utf16, ReplacesBrokenUtf8) {
    const std::string replacement("\xfd\xff", 2);
    EXPECT_EQ(utf16_of_text("\xff", Endian::Little), replacement);
    EXPECT_EQ(utf16_of_text("\xe2\x82", Endian::Little), replacement);
}

}  // namespace
}  // namespace yado::storage
