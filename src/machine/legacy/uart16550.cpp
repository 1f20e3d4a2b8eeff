#include "machine/legacy/uart16550.h"

#include "machine/legacy/legacy.pb.h"
#include "machine/power.h"

namespace yado::machine {

using namespace uart_reg;

Uart16550::Uart16550(Wiring wiring) : wiring_(std::move(wiring)) {
    timer_ = wiring_.timers.make_timer([this] { on_timer(); });
    reset();
}

void Uart16550::reset() {
    bool room = false;
    {
        auto s = state_.lock();
        room = s->refused;
        *s = State{};
        timer_->cancel();
        update(*s);
    }
    if (room) notify(wiring_.rx_room);
}

// ---- interrupts ----------------------------------------------------------------------------------------------------

unsigned Uart16550::trigger(const State& s) {
    static constexpr std::array<unsigned, 4> kLevels = {1, 4, 8, 14};
    return s.fcr.get(UartFcr::ENABLE) ? kLevels[s.fcr.get(UartFcr::TRIGGER)] : 1;
}

UartInterrupt Uart16550::pending(const State& s) {
    if (s.ier.get(UartIer::LINE_STATUS) && s.line_errors) return UartInterrupt::LineStatus;
    if (s.ier.get(UartIer::RECEIVED) && s.count >= trigger(s)) return UartInterrupt::Received;
    if (s.ier.get(UartIer::RECEIVED) && s.timeout_pending) return UartInterrupt::Timeout;
    if (s.ier.get(UartIer::TRANSMITTER_EMPTY) && s.transmitter_pending) return UartInterrupt::TransmitterEmpty;
    if (s.ier.get(UartIer::MODEM_STATUS) && s.modem_deltas) return UartInterrupt::ModemStatus;
    return UartInterrupt::None;
}

void Uart16550::update(State& s) { wiring_.irq.set(pending(s) != UartInterrupt::None); }

/// 8.0 "FIFO interrupt mode": bytes below the trigger level are announced after four character times.
void Uart16550::watch_timeout(State& s) {
    s.timeout_pending = false;
    if (!s.fcr.get(UartFcr::ENABLE) || s.count == 0 || s.count >= trigger(s)) return timer_->cancel();
    constexpr uint64_t kBitsOfFour = 4 * 10;
    const uint64_t clocks = 16ull * std::max<uint16_t>(s.divisor, 1) * kBitsOfFour;
    s.timeout_at = wiring_.timers.clock().now() + time_of_tick(clocks, kUartClockHz);
    timer_->arm(s.timeout_at);
}

void Uart16550::on_timer() {
    auto s = state_.lock();
    if (s->count == 0 || wiring_.timers.clock().now() < s->timeout_at) return;
    s->timeout_pending = true;
    update(*s);
}

// ---- receiver ------------------------------------------------------------------------------------------------------

void Uart16550::push(State& s, uint8_t byte) {
    if (s.count == capacity(s)) {
        s.line_errors |= kLsrOverrun;  // only in loopback: receive() does not overrun
        return;
    }
    s.fifo[(s.head + s.count++) % kFifoSize] = byte;
}

size_t Uart16550::receive(std::span<const std::byte> bytes) {
    auto s = state_.lock();
    if (s->mcr.get(UartMcr::LOOP)) return bytes.size();  // 8.8: the line is disconnected
    const size_t taken = std::min<size_t>(bytes.size(), capacity(*s) - std::min(s->count, capacity(*s)));
    for (const std::byte b : bytes.first(taken)) push(*s, static_cast<uint8_t>(b));
    s->refused = taken < bytes.size();
    if (taken) watch_timeout(*s);
    update(*s);
    return taken;
}

uint8_t Uart16550::read_data(State& s) {
    if (s.count == 0) return 0;
    const uint8_t byte = s.fifo[s.head];
    s.head = (s.head + 1) % kFifoSize;
    --s.count;
    watch_timeout(s);
    return byte;
}

void Uart16550::clear_fifo(State& s) {
    s.head = s.count = 0;
    watch_timeout(s);
}

/// True if the line waits for room, and there is some now: half the FIFO, so as not to wake it for every byte.
bool Uart16550::take_room(State& s) {
    if (!s.refused || s.count > capacity(s) / 2) return false;
    s.refused = false;
    return true;
}

// ---- registers -----------------------------------------------------------------------------------------------------

/// In loopback the modem inputs are the modem outputs (8.8).
uint8_t Uart16550::modem_lines(const State& s) {
    if (!s.mcr.get(UartMcr::LOOP)) return kMsrCts | kMsrDsr | kMsrDcd;  // somebody is always there
    return static_cast<uint8_t>((s.mcr.get(UartMcr::RTS) ? kMsrCts : 0) | (s.mcr.get(UartMcr::DTR) ? kMsrDsr : 0) |
                                (s.mcr.get(UartMcr::OUT1) ? kMsrRi : 0) | (s.mcr.get(UartMcr::OUT2) ? kMsrDcd : 0));
}

void Uart16550::write_mcr(State& s, uint8_t value) {
    const uint8_t before = modem_lines(s);
    s.mcr = UartMcr(value & 0x1f);
    const uint8_t after = modem_lines(s);
    uint8_t changed = before ^ after;
    if (after & kMsrRi) changed = static_cast<uint8_t>(changed & ~kMsrRi);  // 8.9: only RI's trailing edge counts
    s.modem_deltas |= changed >> 4;
}

void Uart16550::write_data(State& s, uint8_t value) {
    s.transmitter_pending = false;
    update(s);  // the line falls, so that an edge-triggered controller sees the next interrupt
    if (s.mcr.get(UartMcr::LOOP)) {
        push(s, value);
        watch_timeout(s);
    } else {
        wiring_.tx.put(std::byte(value));
    }
    s.transmitter_pending = true;
}

void Uart16550::write_fcr(State& s, uint8_t value) {
    const UartFcr next(value);
    const bool mode_changes = next.get(UartFcr::ENABLE) != s.fcr.get(UartFcr::ENABLE);
    s.fcr = UartFcr(next.get(UartFcr::ENABLE) ? value & kFcrKept : 0);  // bit 0 must be set for the others to count
    if (mode_changes || (next.get(UartFcr::ENABLE) && next.get(UartFcr::RESET_RECEIVER))) clear_fifo(s);
}

uint8_t Uart16550::read_iir(State& s) {
    const UartInterrupt interrupt = pending(s);
    if (interrupt == UartInterrupt::TransmitterEmpty) s.transmitter_pending = false;  // table IV: the read clears it
    return static_cast<uint8_t>(static_cast<uint8_t>(interrupt) | (s.fcr.get(UartFcr::ENABLE) ? kIirFifos : 0));
}

uint8_t Uart16550::read_register(State& s, unsigned reg) {
    const bool latch = s.lcr & kLcrDivisorLatch;
    switch (reg) {
        case DATA: return latch ? static_cast<uint8_t>(s.divisor) : read_data(s);
        case IER: return latch ? static_cast<uint8_t>(s.divisor >> 8) : s.ier.raw;
        case IIR_FCR: return read_iir(s);
        case LCR: return s.lcr;
        case MCR: return s.mcr.raw;
        case LSR:
            return static_cast<uint8_t>(kLsrEmpty | std::exchange(s.line_errors, 0) | (s.count ? kLsrDataReady : 0));
        case MSR: return static_cast<uint8_t>(modem_lines(s) | std::exchange(s.modem_deltas, 0));
        default: return s.scratch;
    }
}

void Uart16550::write_register(State& s, unsigned reg, uint8_t value) {
    const bool latch = s.lcr & kLcrDivisorLatch;
    switch (reg) {
        case DATA:
            if (latch)
                s.divisor = static_cast<uint16_t>((s.divisor & 0xff00) | value);
            else
                write_data(s, value);
            break;
        case IER:
            if (latch) {
                s.divisor = static_cast<uint16_t>((s.divisor & 0xff) | value << 8);
                break;
            }
            // Enabling the interrupt while the transmitter is empty raises it at once.
            if (UartIer(value).get(UartIer::TRANSMITTER_EMPTY) && !s.ier.get(UartIer::TRANSMITTER_EMPTY))
                s.transmitter_pending = true;
            s.ier = UartIer(value & 0x0f);
            break;
        case IIR_FCR: write_fcr(s, value); break;
        case LCR: s.lcr = value; break;
        case MCR: write_mcr(s, value); break;
        case LSR:
        case MSR: break;  // read-only
        default: s.scratch = value;
    }
}

uint8_t Uart16550::read(unsigned offset) {
    uint8_t value = 0;
    bool room = false;
    {
        auto s = state_.lock();
        value = read_register(*s, offset & 7);
        update(*s);
        room = take_room(*s);
    }
    if (room) notify(wiring_.rx_room);
    return value;
}

void Uart16550::write(unsigned offset, uint8_t value) {
    bool room = false;
    {
        auto s = state_.lock();
        write_register(*s, offset & 7, value);
        update(*s);
        room = take_room(*s);
    }
    if (room) notify(wiring_.rx_room);
}

// ---- saved state ---------------------------------------------------------------------------------------------------

Result<state::Record> Uart16550::save() const {
    auto s = state_.lock();
    pb::Uart m;
    m.set_interrupt_enable(s->ier.raw);
    m.set_fifo_control(s->fcr.raw);
    m.set_line_control(s->lcr);
    m.set_modem_control(s->mcr.raw);
    m.set_line_errors(s->line_errors);
    m.set_modem_deltas(s->modem_deltas);
    m.set_scratch(s->scratch);
    m.set_divisor(s->divisor);
    m.set_transmitter_pending(s->transmitter_pending);
    m.set_timeout_pending(s->timeout_pending);
    for (unsigned i = 0; i < s->count; ++i)
        m.mutable_received()->push_back(static_cast<char>(s->fifo[(s->head + i) % kFifoSize]));
    return state::make_record(*this, m);
}

Result<> Uart16550::load(const state::Record& record) {
    pb::Uart m;
    YADO_TRY(state::parse_record(record, m));
    State next;
    next.fcr = UartFcr(static_cast<uint8_t>(m.fifo_control()));
    const bool ok = m.interrupt_enable() <= 0x0f && !(m.fifo_control() & ~uint32_t(kFcrKept)) &&
                    m.modem_control() <= 0x1f && all_fit<uint8_t>(m.line_control(), m.scratch()) &&
                    !(m.line_errors() & ~uint32_t(kLsrErrors)) && m.modem_deltas() <= kMsrDeltas &&
                    all_fit<uint16_t>(m.divisor()) && m.received().size() <= capacity(next);
    if (!ok) return fail(ErrorKind::Corrupt, "saved state of {}: a register is out of range", record.name);
    next.ier = UartIer(static_cast<uint8_t>(m.interrupt_enable()));
    next.lcr = static_cast<uint8_t>(m.line_control());
    next.mcr = UartMcr(static_cast<uint8_t>(m.modem_control()));
    next.line_errors = static_cast<uint8_t>(m.line_errors());
    next.modem_deltas = static_cast<uint8_t>(m.modem_deltas());
    next.scratch = static_cast<uint8_t>(m.scratch());
    next.divisor = static_cast<uint16_t>(m.divisor());
    next.transmitter_pending = m.transmitter_pending();
    for (const char c : m.received()) push(next, static_cast<uint8_t>(c));
    auto s = state_.lock();
    next.refused = s->refused;  // the line's, not the guest's
    *s = next;
    watch_timeout(*s);
    s->timeout_pending = m.timeout_pending() && s->count;
    update(*s);
    return {};
}

}  // namespace yado::machine
