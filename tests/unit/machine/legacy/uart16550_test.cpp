#include "machine/legacy/uart16550.h"

#include "irq/fakes.h"

namespace yado::machine {
namespace {

struct TextSink final : ByteSink {
    std::string text;
    void put(std::byte b) override { text += static_cast<char>(b); }
};

struct UartTest : testing::Test {
    io::ManualTimers timers;
    FakeLine irq;
    TextSink tx;
    int rooms = 0;
    Uart16550 uart{wiring(irq)};

    Uart16550::Wiring wiring(FakeLine& line) {
        return {.id = "serial0", .irq = line, .tx = tx, .timers = timers, .rx_room = [this] { ++rooms; }};
    }
    void out(unsigned reg, uint8_t v) { uart.ports().write(reg, 1, v); }
    uint8_t in(unsigned reg) { return static_cast<uint8_t>(uart.ports().read(reg, 1)); }
    size_t feed(std::string_view text) { return uart.receive(std::as_bytes(std::span(text))); }
};

TEST_F(UartTest, WrittenBytesReachTheSink) {
    for (const char c : std::string("hello")) out(0, static_cast<uint8_t>(c));
    EXPECT_EQ(tx.text, "hello");
    EXPECT_EQ(in(5), 0x60);
}

TEST_F(UartTest, EnablingTheTransmitterInterruptRaisesItAtOnce) {
    out(1, 0x02);
    EXPECT_TRUE(irq.level);
    EXPECT_EQ(in(2), 0x02);
    EXPECT_FALSE(irq.level) << "reading IIR clears it";
    out(0, 'x');
    EXPECT_TRUE(irq.level);
    out(0, 'y');
    EXPECT_EQ(irq.rises, 3) << "each byte makes an edge";
}

TEST_F(UartTest, ReceivedBytesInterruptAtTheTriggerLevel) {
    out(2, 0x41);  // FIFO, trigger 4
    out(1, 0x01);
    EXPECT_EQ(feed("abc"), 3u);
    EXPECT_FALSE(irq.level);
    EXPECT_EQ(feed("d"), 1u);
    EXPECT_TRUE(irq.level);
    EXPECT_EQ(in(2), 0xc4);
    EXPECT_EQ(in(0), 'a');
    EXPECT_FALSE(irq.level);
}

TEST_F(UartTest, BytesBelowTheTriggerAreAnnouncedByTheTimeout) {
    out(2, 0xc1);
    out(1, 0x01);
    feed("a");
    timers.advance(std::chrono::milliseconds(10));  // 4 characters at 9600 baud take 4.2 ms
    EXPECT_EQ(in(2), 0xcc);
    in(0);
    EXPECT_EQ(in(2), 0xc1);
}

TEST_F(UartTest, AFullFifoPushesBackAndSaysWhenThereIsRoom) {
    out(2, 0x01);
    EXPECT_EQ(feed("0123456789abcdefXYZ"), 16u);
    for (int i = 0; i < 7; ++i) in(0);
    EXPECT_EQ(rooms, 0);
    in(0);
    EXPECT_EQ(rooms, 1);
    EXPECT_EQ(feed("XYZ"), 3u);
    EXPECT_EQ(in(5) & 0x02, 0) << "no overrun";
}

TEST_F(UartTest, WithoutFifoOneByteFits) {
    EXPECT_EQ(feed("ab"), 1u);
    EXPECT_EQ(in(5) & 1, 1);
    EXPECT_EQ(in(0), 'a');
    EXPECT_EQ(in(5) & 1, 0);
    EXPECT_EQ(rooms, 1);
}

TEST_F(UartTest, LoopbackReturnsBytesAndModemLines) {  // 8.8
    out(4, 0x1a);
    EXPECT_EQ(in(6) & 0xf0, 0x90) << "RTS to CTS, OUT2 to DCD";
    out(0, 'z');
    EXPECT_EQ(in(0), 'z');
    EXPECT_TRUE(tx.text.empty());
}

TEST_F(UartTest, LineStatusHasThePriority) {  // table IV
    out(1, 0x0f);
    out(4, 0x10);
    out(0, 'a');
    out(0, 'b');
    EXPECT_EQ(in(2), 0x06);
    EXPECT_EQ(in(5) & 0x02, 0x02) << "overrun";
    EXPECT_EQ(in(2), 0x04);
    in(0);
    EXPECT_EQ(in(2), 0x02);
    EXPECT_EQ(in(2), 0x00);
    in(6);
    EXPECT_EQ(in(2), 0x01);
}

TEST_F(UartTest, TheDivisorLatchShadowsTheFirstTwoRegisters) {
    out(3, 0x80);
    out(0, 0x34);
    out(1, 0x12);
    EXPECT_EQ(in(0), 0x34);
    EXPECT_EQ(in(1), 0x12);
    EXPECT_TRUE(tx.text.empty());
}

TEST_F(UartTest, SavedStateGoesOnInAnotherUart) {
    out(2, 0x01);
    out(1, 0x01);
    feed("ab");
    FakeLine other_irq;
    Uart16550 other(wiring(other_irq));
    carry_over(uart, other);
    EXPECT_TRUE(other_irq.level);
    EXPECT_EQ(other.ports().read(0, 1), uint64_t('a'));
    EXPECT_EQ(other.ports().read(0, 1), uint64_t('b'));
}

TEST_F(UartTest, AnySizeAndValueIsSurvived) {
    torture(uart.ports(), 8);
    feed(std::string(100, 'x'));
    torture(uart.ports(), 8);
    timers.advance(std::chrono::seconds(100));
}

}  // namespace
}  // namespace yado::machine
