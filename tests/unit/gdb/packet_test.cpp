#include "gdb/packet.h"

#include <gtest/gtest.h>

namespace yado::gdb {
namespace {

TEST(Packets, APayloadIsFramedWithItsChecksum) {
    EXPECT_EQ(frame("OK"), "$OK#9a");
    EXPECT_EQ(frame(""), "$#00");
}

TEST(Packets, AWholePacketComesOutInWhateverPiecesItArrived) {
    PacketReader reader;
    for (const char c : std::string_view("$m1000,4#ef")) {
        EXPECT_FALSE(reader.next());
        reader.feed({&c, 1});
    }
    const auto item = reader.next();
    ASSERT_TRUE(item);
    EXPECT_EQ(item->kind, ItemKind::BadPacket);
    reader.feed(frame("m1000,4"));
    EXPECT_EQ(reader.next()->payload, "m1000,4");
    EXPECT_FALSE(reader.next());
    EXPECT_EQ(reader.buffered(), 0u);
}

TEST(Packets, AcknowledgmentsAndCtrlCStandBetweenPackets) {
    PacketReader reader;
    reader.feed("+$?#3f-\x03");
    EXPECT_EQ(reader.next()->kind, ItemKind::Ack);
    EXPECT_EQ(reader.next()->payload, "?");
    EXPECT_EQ(reader.next()->kind, ItemKind::Nack);
    EXPECT_EQ(reader.next()->kind, ItemKind::Interrupt);
    EXPECT_FALSE(reader.next());
}

TEST(Packets, EscapedBytesComeOutPlain) {
    const std::string binary("a#b$c}d*e\0f", 11);
    PacketReader reader;
    reader.feed(frame("X10,b:" + escape(binary)));
    EXPECT_EQ(reader.next()->payload, "X10,b:" + binary);
}

TEST(Packets, AnEscapeWithNothingBehindItStaysAsItIs) { EXPECT_EQ(unescape("ab}"), "ab}"); }

TEST(Packets, WhatIsNoPacketIsGarbage) {
    for (const char* text : {"GET / HTTP/1.1\r\n", "POST / HTTP/1.1\r\n\r\n$?#3f", "\n", "#00", "%x#00"}) {
        PacketReader reader;
        reader.feed(text);
        EXPECT_EQ(reader.next()->kind, ItemKind::Garbage) << text;
    }
}

TEST(Packets, APacketWithoutEndIsGarbageOnceItIsTooLong) {
    PacketReader reader;
    reader.feed("$" + std::string(kMaxPayload - 1, 'x'));
    EXPECT_FALSE(reader.next());
    reader.feed("xx");
    EXPECT_EQ(reader.next()->kind, ItemKind::Garbage);
}

TEST(Packets, AChecksumThatIsNoNumberIsABadPacket) {
    PacketReader reader;
    reader.feed("$?#zz$?#3f");
    EXPECT_EQ(reader.next()->kind, ItemKind::BadPacket);
    EXPECT_EQ(reader.next()->payload, "?");
}

}  // namespace
}  // namespace yado::gdb
