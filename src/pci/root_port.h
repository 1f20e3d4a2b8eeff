// A PCI Express root port with a hot-plug slot (PCI Express Base 5.0, 6.7; registers 7.5.3). What is plugged into it is any PciFunction, at
// device 0 of the bus behind.
//
//                insert()                   guest: power on                     guest: power off
//     empty --------------> in, no power ------------------> in, link up -----------------------> in, no power
//     any --eject()--> empty (the guest sees a surprise removal if the link was up)
//
// After a surprise removal, reads where the card's BARs were answer 0 until the slot loses power or is reset; another card gets no link before. What a root
// complex makes of a read that nobody completes is its own affair (2.3.2); Linux's virtio driver waits until the status reads 0, for
// ever where it reads ones. Configuration reads are all ones, which is how a removal is recognized.
//
//     ask_to_leave(): attention button ... the guest powers the slot off --> leaving(), whoever plugs it in ejects it
//
// A card that loses power or its link is reset, so that none of its requests is in flight afterwards: that waits, and a vCPU cannot. The
// register write asks for service() (Options::wants_service), which runs while no vCPU does; command completed comes after it.
#pragma once

#include <functional>

#include "pci/bridge.h"

namespace yado::pci {

class RootPort final : public Bridge {
  public:
    struct Options {
        std::string id;
        unsigned slot_number = 1;              ///< physical, as the guest shows it: 1 to 8191, unique
        std::function<void()> wants_service;   ///< vCPU thread: service() is to be called soon
    };
    RootPort(const FunctionWiring& wiring, Options options);
    ~RootPort() override;

    // No vCPU runs, one call at a time (the control executor).
    /// Plugs a card in and tells the guest by presence and attention button. The card stays the caller's. Errors: Conflict (taken).
    Result<> insert(PciFunction& card);
    /// Resets the card and takes it out, whatever the guest thinks of it.
    void eject();
    PciFunction* card() const { return slot_.lock()->card; }
    enum class Asked : uint8_t {
        Pressed,   ///< the guest was asked
        Going,     ///< its power indicator blinks: another press would call that off
        Off,       ///< the slot has no power: there is nobody to ask
    };
    Asked ask_to_leave();
    bool asked() const { return slot_.lock()->asked; }
    /// The guest was asked, and has let go.
    bool leaving() const;
    /// Does what the slot's registers say with the card.
    void service();

    // bus::Device
    std::string id() const override { return options_.id; }
    std::string kind() const override { return "pcie-root-port"; }
    void reset() override;
    void pause() override { hold_msix(); }
    void resume() override;
    Result<state::Record> save() const override;
    Result<> load(const state::Record& record) override;

  private:
    class Silence final : public bus::IoHandler {
      public:
        uint64_t read(uint64_t, unsigned) override { return 0; }
        void write(uint64_t, unsigned, uint64_t) override {}
    };
    struct Range {
        uint64_t start, size;
    };
    struct Slot {
        std::vector<Range> remains;  ///< where the BARs of a card were that was pulled out
        PciFunction* card = nullptr;
        bool linked = false;       ///< as the card was last told
        bool dropped = false;      ///< power or link went away since then
        bool completing = false;   ///< a command completes with service()
        bool asked = false;
        bool signalled = false;    ///< the interrupt condition, as it was last seen
    };
    void add_slot_capability();
    void config_written(uint16_t offset, unsigned size) override;
    std::string detail() const override;

    SlotControl control() const { return SlotControl(static_cast<uint16_t>(config_register(express_ + kSlotControl, 2))); }
    bool powered() const { return !control().get(SlotControl::POWER_OFF); }
    bool wants_link(const Slot& slot) const;
    void settle_link(Slot& slot, bool linked, uint16_t events);
    void tell(uint16_t events);
    void leave_remains(Slot& slot, std::span<const Range> where);
    void clear_remains(Slot& slot);
    void update_interrupt(Slot& slot);

    Options options_;
    uint16_t express_ = 0;
    Silence silence_;
    Guarded<Slot> slot_;
};

}  // namespace yado::pci
