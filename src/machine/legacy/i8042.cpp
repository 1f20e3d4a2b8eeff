#include "machine/legacy/i8042.h"

#include "machine/legacy/legacy.pb.h"
#include "machine/power.h"

namespace yado::machine {

namespace {

// Status register.
constexpr uint8_t kOutputFull = 0x01, kSystem = 0x04, kCommandLast = 0x08, kUnlocked = 0x10, kFromMouse = 0x20,
                  kTimeOut = 0x40;
// Command byte.
constexpr uint8_t kKeyboardIrq = 0x01, kMouseIrq = 0x02, kSystemFlag = 0x04, kKeyboardOff = 0x10, kMouseOff = 0x20,
                  kTranslate = 0x40;
// Output port.
constexpr uint8_t kNotReset = 0x01, kA20 = 0x02;
constexpr uint8_t kNoAnswer = 0xfe;

enum Command : uint8_t {
    ReadCommandByte = 0x20,
    WriteCommandByte = 0x60,
    DisableMouse = 0xa7,
    EnableMouse = 0xa8,
    TestMouse = 0xa9,
    SelfTest = 0xaa,
    TestKeyboard = 0xab,
    DisableKeyboard = 0xad,
    EnableKeyboard = 0xae,
    ReadInputPort = 0xc0,
    ReadOutputPort = 0xd0,
    WriteOutputPort = 0xd1,
    WriteKeyboardBuffer = 0xd2,
    WriteMouseBuffer = 0xd3,
    WriteToMouse = 0xd4,
    PulseFirst = 0xf0,
};

}  // namespace

void I8042::reset() {
    auto s = state_.lock();
    *s = State{};
    s->command_byte = kKeyboardIrq | kMouseIrq | kSystemFlag | kTranslate;  // as firmware leaves it
    s->output_port = kNotReset | kA20;
    s->status = kUnlocked | kSystem;
    update(*s);
}

bool I8042::a20() const { return state_.lock()->output_port & kA20; }

void I8042::update(State& s) {
    const bool full = s.status & kOutputFull, mouse = s.status & kFromMouse;
    wiring_.keyboard_irq.set(full && !mouse && (s.command_byte & kKeyboardIrq));
    wiring_.mouse_irq.set(full && mouse && (s.command_byte & kMouseIrq));
}

void I8042::respond(State& s, uint8_t value, Source source, bool timed_out) {
    s.output = value;
    s.status = static_cast<uint8_t>((s.status & ~(kFromMouse | kTimeOut)) | kOutputFull |
                                    (source == Source::Mouse ? kFromMouse : 0) | (timed_out ? kTimeOut : 0));
}

/// True if the machine is to be reset.
bool I8042::execute(State& s, uint8_t command) {
    s.pending_command = 0;
    switch (command) {
        case ReadCommandByte: respond(s, s.command_byte, Source::Controller); break;
        case DisableMouse: s.command_byte |= kMouseOff; break;
        case EnableMouse: s.command_byte = static_cast<uint8_t>(s.command_byte & ~kMouseOff); break;
        case DisableKeyboard: s.command_byte |= kKeyboardOff; break;
        case EnableKeyboard: s.command_byte = static_cast<uint8_t>(s.command_byte & ~kKeyboardOff); break;
        case TestMouse:
        case TestKeyboard: respond(s, 0x00, Source::Controller); break;
        case SelfTest:
            s.status |= kSystem;
            respond(s, 0x55, Source::Controller);
            break;
        case ReadInputPort: respond(s, 0x80, Source::Controller); break;  // keyboard not locked
        case ReadOutputPort: respond(s, s.output_port, Source::Controller); break;
        case WriteCommandByte:
        case WriteOutputPort:
        case WriteKeyboardBuffer:
        case WriteMouseBuffer:
        case WriteToMouse: s.pending_command = command; break;
        default: return command >= PulseFirst && !(command & kNotReset);  // F0h to FFh pulse the low bits that are 0
    }
    return false;
}

bool I8042::take_data(State& s, uint8_t command, uint8_t value) {
    switch (command) {
        case WriteCommandByte:
            s.command_byte = value;
            s.status = static_cast<uint8_t>((s.status & ~kSystem) | (value & kSystemFlag));
            break;
        case WriteOutputPort: s.output_port = value; return !(value & kNotReset);
        case WriteKeyboardBuffer: respond(s, value, Source::Keyboard); break;
        case WriteMouseBuffer: respond(s, value, Source::Mouse); break;
        case WriteToMouse: respond(s, kNoAnswer, Source::Mouse, true); break;
        default: respond(s, kNoAnswer, Source::Keyboard, true);  // for the keyboard, and there is none
    }
    return false;
}

uint8_t I8042::read_data(unsigned) {
    auto s = state_.lock();
    s->status = static_cast<uint8_t>(s->status & ~(kOutputFull | kFromMouse | kTimeOut));
    update(*s);
    return s->output;
}

uint8_t I8042::read_status(unsigned) { return state_.lock()->status; }

void I8042::write_data(unsigned, uint8_t value) {
    bool reset = false;
    {
        auto s = state_.lock();
        s->status = static_cast<uint8_t>(s->status & ~kCommandLast);
        reset = take_data(*s, std::exchange(s->pending_command, 0), value);
        s->output_port |= kNotReset;
        update(*s);
    }
    if (reset) notify(wiring_.reset);
}

void I8042::write_command(unsigned, uint8_t value) {
    bool reset = false;
    {
        auto s = state_.lock();
        s->status |= kCommandLast;
        reset = execute(*s, value);
        update(*s);
    }
    if (reset) notify(wiring_.reset);
}

uint8_t I8042::read_system(unsigned) { return state_.lock()->output_port & kA20; }

/// Port 92h: bit 0 resets on its rise, bit 1 is A20.
void I8042::write_system(unsigned, uint8_t value) {
    {
        auto s = state_.lock();
        s->output_port = static_cast<uint8_t>((s->output_port & ~kA20) | (value & kA20));
    }
    if (value & 1) notify(wiring_.reset);
}

Result<state::Record> I8042::save() const {
    auto s = state_.lock();
    pb::I8042 m;
    m.set_command_byte(s->command_byte);
    m.set_output_port(s->output_port);
    m.set_status(s->status);
    m.set_output(s->output);
    m.set_pending_command(s->pending_command);
    return state::make_record(*this, m);
}

Result<> I8042::load(const state::Record& record) {
    pb::I8042 m;
    YADO_TRY(state::parse_record(record, m));
    if (!all_fit<uint8_t>(m.command_byte(), m.output_port(), m.status(), m.output(), m.pending_command()))
        return fail(ErrorKind::Corrupt, "saved state of {}: a register is out of range", record.name);
    auto s = state_.lock();
    s->command_byte = static_cast<uint8_t>(m.command_byte());
    s->output_port = static_cast<uint8_t>(m.output_port() | kNotReset);
    s->status = static_cast<uint8_t>(m.status());
    s->output = static_cast<uint8_t>(m.output());
    s->pending_command = static_cast<uint8_t>(m.pending_command());
    update(*s);
    return {};
}

}  // namespace yado::machine
