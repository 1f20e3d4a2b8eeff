// Register accesses: memory-mapped (11.4.1), by MSR (11.12), and IA32_APIC_BASE.
#include "base/bytes.h"
#include "machine/irq/lapic.h"

namespace yado::machine {

using namespace lapic_reg;

namespace {

constexpr bool in_vector_sets(unsigned reg) { return reg >= ISR && reg < IRR + 8; }

/// Table 11-6: what RDMSR may read, apart from the ICR.
bool x2apic_readable(unsigned reg) {
    switch (reg) {
        case ID:
        case VERSION:
        case TPR:
        case PPR:
        case LDR:
        case SVR:
        case ESR:
        case INITIAL_COUNT:
        case CURRENT_COUNT:
        case DIVIDE: return true;
        default: return in_vector_sets(reg) || is_lvt(reg);
    }
}

/// Table 11-6: bits that WRMSR may set; nullopt if the register cannot be written.
std::optional<uint32_t> x2apic_writable(unsigned reg) {
    switch (reg) {
        case TPR:
        case SELF_IPI: return 0xff;
        case EOI:
        case ESR: return 0;
        case SVR: return kSvrWritable;
        case INITIAL_COUNT: return 0xffffffff;
        case DIVIDE: return 0xb;
        default: break;
    }
    if (is_lvt(reg)) return lvt_writable(reg) | kLvtStatus;
    return std::nullopt;
}

}  // namespace

uint32_t Lapic::id_register(const State& s) const {
    return mode(s) == Mode::X2Apic ? wiring_.apic_id : wiring_.apic_id << 24;
}

// ---- reads ---------------------------------------------------------------------------------------------------------

uint32_t Lapic::read_register(State& s, unsigned reg) {
    switch (reg) {
        case ID: return id_register(s);
        case CURRENT_COUNT: return current_count(s);
        case LDR:
            if (mode(s) == Mode::X2Apic) return wiring_.apic_id >> 4 << 16 | 1u << (wiring_.apic_id & 15);
            return s.regs[LDR];
        case EOI:
        case SELF_IPI: return 0;
        case ICR_LOW:
        case ICR_HIGH:
        case DFR: return s.regs[reg];
        default: break;
    }
    if (x2apic_readable(reg)) return s.regs[reg];
    raise_error(s, kEsrIllegalRegister);
    return 0;
}

uint32_t Lapic::mmio_read(uint32_t offset, unsigned size) {
    const unsigned within = offset & 0xf;
    auto s = state_.lock();
    if (mode(*s) != Mode::XApic || offset > 0xfff) return static_cast<uint32_t>(mask_of_size(std::min(size, 4u)));
    if (offset >= 0x400 || within > 3) return 0;
    const uint32_t value = read_register(*s, offset >> 4);
    return static_cast<uint32_t>(value >> (8 * within) & mask_of_size(std::min(size, 4u)));
}

// ---- writes --------------------------------------------------------------------------------------------------------

void Lapic::write_svr(State& s, uint32_t value) {
    s.regs[SVR] = value & kSvrWritable;
    if (!Svr(value).get(Svr::ENABLED))  // 11.4.7.2: all LVT entries are masked
        for (unsigned reg = LVT_TIMER; reg <= LVT_ERROR; ++reg) s.regs[reg] |= Lvt::MASK.mask;
    update(s);
}

void Lapic::write_lvt(State& s, unsigned reg, uint32_t value) {
    const bool deadline_before = timer_mode(s) == LapicTimerMode::TscDeadline;
    Lvt lvt((value & lvt_writable(reg)) | (s.regs[reg] & Lvt::REMOTE_IRR.mask));
    if (!Svr(s.regs[SVR]).get(Svr::ENABLED)) lvt.set(Lvt::MASK, true);
    if (lvt.get(Lvt::TRIGGER_MODE) == TriggerMode::Edge) lvt.set(Lvt::REMOTE_IRR, false);
    s.regs[reg] = lvt.raw;
    if (reg == LVT_TIMER && deadline_before != (timer_mode(s) == LapicTimerMode::TscDeadline)) {
        s.tsc_deadline = 0;  // 11.5.4.1: going to or from TSC-deadline mode disarms the timer
        stop_timer(s);
    }
    level_pins(s, std::nullopt);
    update(s);
}

void Lapic::send_ipi(State& s, uint32_t low, uint32_t destination, Outgoing& out) {
    const IcrLow icr(low);
    ApicMessage m;
    m.destination = destination;
    m.destination_mode = icr.get(IcrLow::DESTINATION_MODE);
    m.delivery = icr.get(IcrLow::DELIVERY_MODE);
    m.vector = icr.get(IcrLow::VECTOR);
    // 11.6.1: an INIT level de-assert only synchronized arbitration ids of old processors.
    const bool deassert = icr.get(IcrLow::TRIGGER_MODE) == TriggerMode::Level && !icr.get(IcrLow::LEVEL);
    if (m.delivery == DeliveryMode::Init && deassert) return;
    const bool has_vector = m.delivery == DeliveryMode::Fixed || m.delivery == DeliveryMode::LowestPriority;
    if (has_vector && m.vector < 16) return raise_error(s, kEsrSendIllegalVector);
    out.ipi = m;
    out.shorthand = icr.get(IcrLow::SHORTHAND);
}

void Lapic::write_register(State& s, unsigned reg, uint32_t value, Outgoing& out) {
    if (is_lvt(reg)) return write_lvt(s, reg, value);
    switch (reg) {
        case TPR: s.regs[TPR] = value & 0xff; return update(s);
        case EOI: return end_of_interrupt(s, out);
        case LDR: s.regs[LDR] = value & 0xff000000; return publish_address(s);
        case DFR: s.regs[DFR] = value | 0x0fffffff; return publish_address(s);
        case SVR: return write_svr(s, value);
        case ESR:  // 11.5.3: a write latches the errors since the last one
            s.regs[ESR] = std::exchange(s.pending_errors, 0);
            return;
        case ICR_LOW: {
            s.regs[ICR_LOW] = value & kIcrWritable;
            const uint32_t destination = s.regs[ICR_HIGH] >> 24;
            return send_ipi(s, s.regs[ICR_LOW], destination == 0xff ? ApicMessage::kBroadcast : destination, out);
        }
        case ICR_HIGH: s.regs[ICR_HIGH] = value & 0xff000000; return;
        case INITIAL_COUNT:
            if (timer_mode(s) == LapicTimerMode::TscDeadline) return;  // 11.5.4.1: ignored
            s.regs[INITIAL_COUNT] = value;
            return start_count(s, value);
        case DIVIDE: return set_divider(s, value);
        case ID:
        case VERSION:
        case PPR:
        case CURRENT_COUNT: return;  // read-only
        default:
            if (!in_vector_sets(reg)) raise_error(s, kEsrIllegalRegister);
    }
}

void Lapic::mmio_write(uint32_t offset, unsigned size, uint32_t value) {
    if (size != 4 || offset & 0xf || offset >= 0x400) return;  // 11.4.1: 32-bit accesses on 128-bit boundaries
    Outgoing out;
    {
        auto s = state_.lock();
        if (mode(*s) != Mode::XApic) return;
        write_register(*s, offset >> 4, value, out);
    }
    perform(out);
}

// ---- MSRs ----------------------------------------------------------------------------------------------------------

bool Lapic::write_x2apic(State& s, unsigned reg, uint64_t value, Outgoing& out) {
    if (reg == ICR_LOW) {
        if (value & kIcrReserved) return false;
        s.regs[ICR_LOW] = static_cast<uint32_t>(value) & kIcrWritable;
        s.regs[ICR_HIGH] = static_cast<uint32_t>(value >> 32);
        send_ipi(s, s.regs[ICR_LOW], s.regs[ICR_HIGH], out);
        return true;
    }
    const auto writable = x2apic_writable(reg);
    if (!writable || value & ~static_cast<uint64_t>(*writable)) return false;
    if (reg == SELF_IPI)
        send_ipi(s, static_cast<uint32_t>(Shorthand::Self) << 18 | static_cast<uint32_t>(value), 0, out);
    else
        write_register(s, reg, static_cast<uint32_t>(value), out);
    return true;
}

bool Lapic::valid_base(ApicBase next) const {
    const uint64_t address_bits =
        wiring_.physical_address_bits >= 64 ? ~0ull : (1ull << wiring_.physical_address_bits) - 1;
    if (next.raw & ~((address_bits & ~0xfffull) | kApicBaseFlags)) return false;
    return next.get(ApicBase::EN) || !next.get(ApicBase::EXTD);
}

/// 11.12.5, figure 11-27: disabled -> xAPIC -> x2APIC -> disabled; x2APIC never goes back to xAPIC at once.
bool Lapic::write_apic_base(State& s, ApicBase next) {
    if (!valid_base(next)) return false;
    const Mode before = mode(s);
    State after;
    after.base = next;
    const Mode wanted = mode(after);
    if (before == Mode::X2Apic && wanted == Mode::XApic) return false;
    if (before == Mode::Disabled && wanted == Mode::X2Apic) return false;
    s.base = next;
    if (before != wanted && (wanted == Mode::Disabled || before == Mode::Disabled)) reset_registers(s);
    publish_address(s);
    update(s);
    return true;
}

bool Lapic::msr_read(uint32_t msr, uint64_t* value) {
    auto s = state_.lock();
    if (msr == kMsrApicBase) {
        *value = s->base.raw;
        return true;
    }
    if (msr == kMsrTscDeadline) {
        *value = s->tsc_deadline;
        return true;
    }
    const unsigned reg = msr - kMsrX2ApicFirst;
    if (mode(*s) != Mode::X2Apic || reg > 0x3f) return false;
    if (reg == ICR_LOW) {
        *value = static_cast<uint64_t>(s->regs[ICR_HIGH]) << 32 | s->regs[ICR_LOW];
        return true;
    }
    if (!x2apic_readable(reg)) return false;
    *value = read_register(*s, reg);
    return true;
}

bool Lapic::msr_write(uint32_t msr, uint64_t value) {
    Outgoing out;
    {
        auto s = state_.lock();
        if (msr == kMsrApicBase) return write_apic_base(*s, ApicBase(value));
        if (msr == kMsrTscDeadline) {
            if (timer_mode(*s) != LapicTimerMode::TscDeadline) return true;  // 11.5.4.1: ignored
            s->tsc_deadline = value;
            arm_tsc_deadline(*s);
            return true;
        }
        const unsigned reg = msr - kMsrX2ApicFirst;
        if (mode(*s) != Mode::X2Apic || reg > 0x3f || !write_x2apic(*s, reg, value, out)) return false;
    }
    perform(out);
    return true;
}

}  // namespace yado::machine
