// The 16550A serial port. The host's side never loses bytes: receive() takes what fits and rx_room says when more does.
// Transmission takes no time. Any thread; one lock of rank Device.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "base/guarded.h"
#include "bus/device.h"
#include "io/timer.h"
#include "machine/legacy/byte_sink.h"
#include "machine/legacy/uart_regs.h"
#include "machine/ports.h"

namespace yado::machine {

class Uart16550 final : public bus::Device {
  public:
    struct Wiring {
        std::string id;     ///< "serial0"
        bus::IrqLine& irq;  ///< IRQ 4 (3F8h), 3 (2F8h)
        ByteSink& tx;
        io::TimerQueue& timers;  ///< for the character timeout
        std::function<void()>
            rx_room;  ///< after a receive() that could not take all: there is room again. No lock held
    };
    explicit Uart16550(Wiring wiring);

    bus::IoHandler& ports() { return ports_; }  ///< 8 bytes
    /// Bytes from the line; returns how many were taken. Any thread.
    size_t receive(std::span<const std::byte> bytes);

    // bus::Device
    std::string id() const override { return wiring_.id; }
    std::string kind() const override { return "uart16550"; }
    void reset() override;
    Result<state::Record> save() const override;
    Result<> load(const state::Record& record) override;

  private:
    static constexpr unsigned kFifoSize = 16;
    struct State {
        UartIer ier;
        UartFcr fcr;
        UartMcr mcr;
        uint8_t lcr = 0, scratch = 0;
        uint16_t divisor = 12;             ///< 9600 baud
        uint8_t line_errors = 0;           ///< LSR bits 4:1
        uint8_t modem_deltas = 0;          ///< MSR bits 3:0
        bool transmitter_pending = false;  ///< the THRE interrupt
        bool timeout_pending = false;
        std::array<uint8_t, kFifoSize> fifo{};
        unsigned head = 0, count = 0;
        Nanoseconds timeout_at{};
        bool refused = false;  ///< receive() left bytes behind
    };
    uint8_t read(unsigned offset);
    void write(unsigned offset, uint8_t value);
    uint8_t read_register(State& s, unsigned reg);
    void write_register(State& s, unsigned reg, uint8_t value);
    uint8_t read_data(State& s);
    void write_data(State& s, uint8_t value);
    void write_fcr(State& s, uint8_t value);
    void write_mcr(State& s, uint8_t value);
    uint8_t read_iir(State& s);
    static uint8_t modem_lines(const State& s);
    static unsigned capacity(const State& s) { return s.fcr.get(UartFcr::ENABLE) ? kFifoSize : 1; }
    static unsigned trigger(const State& s);
    static UartInterrupt pending(const State& s);
    void push(State& s, uint8_t byte);
    void clear_fifo(State& s);
    void watch_timeout(State& s);
    void update(State& s);
    static bool take_room(State& s);
    void on_timer();

    Wiring wiring_;
    Guarded<State> state_;
    BytePorts<Uart16550, &Uart16550::read, &Uart16550::write> ports_{*this};
    std::unique_ptr<io::Timer> timer_;
};

}  // namespace yado::machine
