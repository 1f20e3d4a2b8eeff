// The pair of 8259A interrupt controllers of a PC, slave on the master's IR2, with the edge/level control registers.
//
// line(irq).set() and the ports -> Chip registers -> highest unblocked request -> output (the boot processor's LINT0,
// or the engine) -> acknowledge() gives the vector. Any thread; one lock of rank Interrupt, under which output is
// called.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <optional>

#include "base/guarded.h"
#include "bus/device.h"
#include "cpu/local_apic.h"
#include "machine/ports.h"

namespace yado::machine {

/// One 8259A.
struct PicChip {
    uint8_t irr = 0, isr = 0, imr = 0;
    uint8_t elcr = 0;    ///< 1: level-triggered
    uint8_t inputs = 0;  ///< levels now
    uint8_t vector_base = 0;
    uint8_t lowest_priority = 7;
    uint8_t next_icw = 0;  ///< 2 to 4 while an initialization is under way, else 0
    bool icw4_needed = false, single = false;
    bool auto_eoi = false, rotate_on_auto_eoi = false;
    bool fully_nested_special = false, special_mask = false;
    bool poll = false, read_isr = false;

    void set_input(unsigned n, bool asserted);
    void write_command(uint8_t value);
    void write_data(uint8_t value);
    /// The request that the chip would now put through. cascade: bits whose own in-service level does not block (SFNM).
    std::optional<unsigned> highest_request(uint8_t cascade) const;
    /// The INTA cycle for request n: into service, or straight on with AEOI.
    void take(unsigned n);

  private:
    void initialize(uint8_t icw1);
    void write_ocw2(uint8_t value);
    void write_ocw3(uint8_t value);
    /// 0 is the highest.
    unsigned rank(unsigned n) const { return (n - lowest_priority - 1u) & 7; }
    std::optional<unsigned> highest_of(uint8_t bits) const;
    void end_of_interrupt(std::optional<unsigned> n, bool rotate);
};

class Pic final : public bus::Device, public cpu::ExternalInterrupts {
  public:
    struct Wiring {
        /// INTR: called on every change, under the PIC's lock (rank Interrupt). May be empty.
        std::function<void(bool asserted)> output;
    };
    explicit Pic(Wiring wiring);

    /// irq 0 to 15; 2 is the cascade and goes nowhere.
    bus::IrqLine& line(unsigned irq) { return lines_[irq & 15]; }
    bus::IoHandler& master_ports() { return master_ports_; }  ///< 0x20, 2 bytes
    bus::IoHandler& slave_ports() { return slave_ports_; }    ///< 0xa0, 2 bytes
    bus::IoHandler& elcr_ports() { return elcr_ports_; }      ///< 0x4d0, 2 bytes

    // cpu::ExternalInterrupts
    bool pending() const override { return output_.load(std::memory_order_acquire); }  // release in update()
    std::optional<uint8_t> acknowledge() override;

    // bus::Device
    std::string id() const override { return "pic"; }
    std::string kind() const override { return "i8259"; }
    void reset() override;
    Result<state::Record> save() const override;
    Result<> load(const state::Record& record) override;

    /// Called by line().
    void set_input(unsigned irq, bool asserted);

  private:
    struct Chips {
        PicChip master, slave;
    };
    template <bool Master>
    uint8_t read(unsigned offset);
    template <bool Master>
    void write(unsigned offset, uint8_t value);
    uint8_t read_elcr(unsigned offset);
    void write_elcr(unsigned offset, uint8_t value);
    void update(Chips& chips);
    static std::optional<uint8_t> inta(Chips& chips);

    Wiring wiring_;
    Guarded<Chips, LockRank::Interrupt> chips_;
    std::atomic<bool> output_{false};
    std::array<IndexedLine<Pic>, 16> lines_;
    BytePorts<Pic, &Pic::read<true>, &Pic::write<true>> master_ports_{*this};
    BytePorts<Pic, &Pic::read<false>, &Pic::write<false>> slave_ports_{*this};
    BytePorts<Pic, &Pic::read_elcr, &Pic::write_elcr> elcr_ports_{*this};
};

}  // namespace yado::machine
