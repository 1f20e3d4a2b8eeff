#include "machine/irq/pic.h"

#include "machine/irq/irq.pb.h"
#include "machine/irq/pic_regs.h"

namespace yado::machine {

// ---- one chip ------------------------------------------------------------------------------------------------------

void PicChip::set_input(unsigned n, bool asserted) {
    const auto bit = static_cast<uint8_t>(1u << n);
    const bool rises = asserted && !(inputs & bit);
    inputs = static_cast<uint8_t>(asserted ? inputs | bit : inputs & ~bit);
    if (elcr & bit)
        irr = static_cast<uint8_t>(asserted ? irr | bit : irr & ~bit);
    else if (rises)
        irr |= bit;  // stays latched until INTA, so that a pulse is not lost
}

std::optional<unsigned> PicChip::highest_of(uint8_t bits) const {
    for (unsigned i = 1; i <= 8; ++i) {
        const unsigned n = (lowest_priority + i) & 7;
        if (bits >> n & 1) return n;
    }
    return std::nullopt;
}

std::optional<unsigned> PicChip::highest_request(uint8_t cascade) const {
    const auto request = highest_of(static_cast<uint8_t>(irr & ~imr));
    if (!request) return std::nullopt;
    // In special mask mode a masked level in service inhibits nobody else ("Special Mask Mode").
    const auto in_service = highest_of(static_cast<uint8_t>(special_mask ? isr & ~imr : isr));
    if (!in_service || rank(*request) < rank(*in_service)) return request;
    if (*request == *in_service && fully_nested_special && (cascade >> *request & 1)) return request;
    return std::nullopt;
}

void PicChip::take(unsigned n) {
    const auto bit = static_cast<uint8_t>(1u << n);
    if (!(elcr & bit)) irr = static_cast<uint8_t>(irr & ~bit);
    if (!auto_eoi)
        isr |= bit;
    else if (rotate_on_auto_eoi)
        lowest_priority = static_cast<uint8_t>(n);
}

void PicChip::initialize(uint8_t value) {
    const Icw1 icw1(value);
    irr = static_cast<uint8_t>(inputs & elcr);  // the edge sense circuit is reset
    isr = imr = 0;
    lowest_priority = 7;
    special_mask = read_isr = poll = false;
    auto_eoi = rotate_on_auto_eoi = fully_nested_special = false;
    icw4_needed = icw1.get(Icw1::IC4);
    single = icw1.get(Icw1::SNGL);
    next_icw = 2;
}

void PicChip::write_command(uint8_t value) {
    if (value & kIcw1Marker)
        initialize(value);
    else if (value & kOcw3Marker)
        write_ocw3(value);
    else
        write_ocw2(value);
}

void PicChip::write_data(uint8_t value) {
    switch (next_icw) {
        case 2:
            vector_base = value & 0xf8;
            next_icw = single ? (icw4_needed ? 4 : 0) : 3;
            break;
        case 3: next_icw = icw4_needed ? 4 : 0; break;  // the cascade is soldered
        case 4: {
            const Icw4 icw4(value);
            auto_eoi = icw4.get(Icw4::AEOI);
            fully_nested_special = icw4.get(Icw4::SFNM);
            next_icw = 0;
            break;
        }
        default: imr = value;  // OCW1
    }
}

void PicChip::end_of_interrupt(std::optional<unsigned> n, bool rotate) {
    if (!n) return;
    isr = static_cast<uint8_t>(isr & ~(1u << *n));
    if (rotate) lowest_priority = static_cast<uint8_t>(*n);
}

void PicChip::write_ocw2(uint8_t value) {
    const Ocw2 ocw2(value);
    const unsigned level = ocw2.get(Ocw2::LEVEL);
    // A non-specific EOI leaves levels that special mask mode has masked.
    const auto current = highest_of(static_cast<uint8_t>(special_mask ? isr & ~imr : isr));
    switch (ocw2.get(Ocw2::COMMAND)) {
        case Ocw2Command::ClearRotateInAutoEoi: rotate_on_auto_eoi = false; break;
        case Ocw2Command::SetRotateInAutoEoi: rotate_on_auto_eoi = true; break;
        case Ocw2Command::NonSpecificEoi: end_of_interrupt(current, false); break;
        case Ocw2Command::RotateOnNonSpecificEoi: end_of_interrupt(current, true); break;
        case Ocw2Command::SpecificEoi: end_of_interrupt(level, false); break;
        case Ocw2Command::RotateOnSpecificEoi: end_of_interrupt(level, true); break;
        case Ocw2Command::SetPriority: lowest_priority = static_cast<uint8_t>(level); break;
        case Ocw2Command::NoOperation: break;
    }
}

void PicChip::write_ocw3(uint8_t value) {
    const Ocw3 ocw3(value);
    if (ocw3.get(Ocw3::ESMM)) special_mask = ocw3.get(Ocw3::SMM);
    if (ocw3.get(Ocw3::P))
        poll = true;
    else if (ocw3.get(Ocw3::RR))
        read_isr = ocw3.get(Ocw3::RIS);
}

// ---- the pair ------------------------------------------------------------------------------------------------------

Pic::Pic(Wiring wiring) : wiring_(std::move(wiring)) {
    for (unsigned irq = 0; irq < lines_.size(); ++irq) lines_[irq].bind(*this, irq);
}

void Pic::set_input(unsigned irq, bool asserted) {
    if (irq == kCascade || irq > 15) return;
    auto chips = chips_.lock();
    (irq < 8 ? chips->master : chips->slave).set_input(irq & 7, asserted);
    update(*chips);
}

/// Carries the slave's output to the master's IR2 and the master's to the processor.
void Pic::update(Chips& chips) {
    const auto bit = static_cast<uint8_t>(1u << kCascade);
    PicChip& master = chips.master;
    const bool slave = chips.slave.highest_request(0).has_value();
    master.irr = static_cast<uint8_t>(slave ? master.irr | bit : master.irr & ~bit);
    const bool asserted = master.highest_request(bit).has_value();
    if (output_.exchange(asserted, std::memory_order_acq_rel) != asserted && wiring_.output) wiring_.output(asserted);
}

std::optional<uint8_t> Pic::inta(Chips& chips) {
    const auto n = chips.master.highest_request(1u << kCascade);
    if (!n) return std::nullopt;
    chips.master.take(*n);
    if (*n != kCascade) return static_cast<uint8_t>(chips.master.vector_base | *n);
    const unsigned s = chips.slave.highest_request(0).value_or(7);
    chips.slave.take(s);
    return static_cast<uint8_t>(chips.slave.vector_base | s);
}

std::optional<uint8_t> Pic::acknowledge() {
    auto chips = chips_.lock();
    const auto vector = inta(*chips);
    update(*chips);
    return vector;
}

template <bool Master>
uint8_t Pic::read(unsigned offset) {
    auto chips = chips_.lock();
    PicChip& chip = Master ? chips->master : chips->slave;
    if (!chip.poll) return offset & 1 ? chip.imr : chip.read_isr ? chip.isr : chip.irr;
    chip.poll = false;  // "Poll Command": the read is an INTA
    const auto n = chip.highest_request(Master ? 1u << kCascade : 0);
    if (!n) return 0;
    chip.take(*n);
    update(*chips);
    return static_cast<uint8_t>(0x80 | *n);
}

template <bool Master>
void Pic::write(unsigned offset, uint8_t value) {
    auto chips = chips_.lock();
    PicChip& chip = Master ? chips->master : chips->slave;
    if (offset & 1)
        chip.write_data(value);
    else
        chip.write_command(value);
    update(*chips);
}

// The port adapters in the header refer to these from other files.
template uint8_t Pic::read<true>(unsigned);
template uint8_t Pic::read<false>(unsigned);
template void Pic::write<true>(unsigned, uint8_t);
template void Pic::write<false>(unsigned, uint8_t);

uint8_t Pic::read_elcr(unsigned offset) {
    auto chips = chips_.lock();
    return offset & 1 ? chips->slave.elcr : chips->master.elcr;
}

void Pic::write_elcr(unsigned offset, uint8_t value) {
    auto chips = chips_.lock();
    PicChip& chip = offset & 1 ? chips->slave : chips->master;
    chip.elcr = value & (offset & 1 ? kElcrSlave : kElcrMaster);
    chip.irr = static_cast<uint8_t>((chip.irr & ~chip.elcr) | (chip.inputs & chip.elcr));
    update(*chips);
}

void Pic::reset() {
    auto chips = chips_.lock();
    for (PicChip* chip : {&chips->master, &chips->slave}) {
        const uint8_t inputs = chip->inputs;
        *chip = PicChip{};
        chip->inputs = inputs;
    }
    update(*chips);
}

// ---- saved state ---------------------------------------------------------------------------------------------------

namespace {

void put(const PicChip& chip, pb::PicChip& m) {
    m.set_irr(chip.irr);
    m.set_isr(chip.isr);
    m.set_imr(chip.imr);
    m.set_elcr(chip.elcr);
    m.set_inputs(chip.inputs);
    m.set_vector_base(chip.vector_base);
    m.set_lowest_priority(chip.lowest_priority);
    m.set_next_icw(chip.next_icw);
    m.set_icw4_needed(chip.icw4_needed);
    m.set_single(chip.single);
    m.set_auto_eoi(chip.auto_eoi);
    m.set_rotate_on_auto_eoi(chip.rotate_on_auto_eoi);
    m.set_fully_nested_special(chip.fully_nested_special);
    m.set_special_mask(chip.special_mask);
    m.set_poll(chip.poll);
    m.set_read_isr(chip.read_isr);
}

std::optional<PicChip> get(const pb::PicChip& m) {
    if (!all_fit<uint8_t>(m.irr(), m.isr(), m.imr(), m.elcr(), m.inputs(), m.vector_base())) return std::nullopt;
    if (m.lowest_priority() > 7 || m.next_icw() > 4 || m.next_icw() == 1 || m.vector_base() & 7) return std::nullopt;
    PicChip chip;
    chip.irr = static_cast<uint8_t>(m.irr());
    chip.isr = static_cast<uint8_t>(m.isr());
    chip.imr = static_cast<uint8_t>(m.imr());
    chip.elcr = static_cast<uint8_t>(m.elcr());
    chip.inputs = static_cast<uint8_t>(m.inputs());
    chip.vector_base = static_cast<uint8_t>(m.vector_base());
    chip.lowest_priority = static_cast<uint8_t>(m.lowest_priority());
    chip.next_icw = static_cast<uint8_t>(m.next_icw());
    chip.icw4_needed = m.icw4_needed();
    chip.single = m.single();
    chip.auto_eoi = m.auto_eoi();
    chip.rotate_on_auto_eoi = m.rotate_on_auto_eoi();
    chip.fully_nested_special = m.fully_nested_special();
    chip.special_mask = m.special_mask();
    chip.poll = m.poll();
    chip.read_isr = m.read_isr();
    return chip;
}

}  // namespace

Result<state::Record> Pic::save() const {
    auto chips = chips_.lock();
    pb::Pic m;
    put(chips->master, *m.mutable_master());
    put(chips->slave, *m.mutable_slave());
    return state::make_record(*this, m);
}

Result<> Pic::load(const state::Record& record) {
    pb::Pic m;
    YADO_TRY(state::parse_record(record, m));
    const auto master = get(m.master()), slave = get(m.slave());
    if (!master || !slave || (master->elcr & ~kElcrMaster) || (slave->elcr & ~kElcrSlave))
        return fail(ErrorKind::Corrupt, "saved state of {}: a register is out of range", record.name);
    auto chips = chips_.lock();
    *chips = Chips{*master, *slave};
    update(*chips);
    return {};
}

}  // namespace yado::machine
