// A PCI function: identification, BARs that follow the command register, capabilities, INTx and MSI-X. The header is of
// type 0; a bridge makes it type 1. Devices derive from it.
//
//     guest writes config --> masks --> command, BARs: mapped or unmapped --> MSI-X control --> config_written()
//
// Behind a bridge a BAR is mapped where the bridge forwards its whole range. A BAR that lies over RAM, another range or outside the address width is not mapped: the guest hurts only itself.
// It is tried again whenever another function's mapping changes.
//
// Threads: config accesses come from vCPU threads, interrupts from any; one lock (rank Pci) guards all of it.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/guarded.h"
#include "bus/address_space.h"
#include "bus/device.h"
#include "bus/irq.h"
#include "mem/guest_memory.h"
#include "pci/config_space.h"
#include "pci/express_regs.h"
#include "pci/msix.h"
#include "pci/pirq.h"

namespace yado::pci {

namespace pb {
class Function;
}
class PciBus;

/// What a function may touch.
struct FunctionWiring {
    bus::AddressSpace& memory;
    bus::AddressSpace& ports;
    mem::GuestMemory& ram;
    bus::MsiSink& msi;
};

struct Identity {
    uint16_t vendor = 0, device = 0, subsystem_vendor = 0, subsystem = 0;
    uint32_t class_code = 0;  ///< base class, sub-class, interface: 24 bits
    uint8_t revision = 0;
};

struct FunctionAddress {
    uint8_t bus = 0, slot = 0, function = 0;
    friend auto operator<=>(const FunctionAddress&, const FunctionAddress&) = default;
};

enum class BarKind : uint8_t { None, Memory32, Memory64, Io };
inline constexpr unsigned kBars = 6;

/// One function for `yado info`.
struct FunctionInfo {
    struct Bar {
        unsigned index;
        BarKind kind;
        uint64_t size;
        std::optional<uint64_t> address;  ///< where it is mapped now
    };
    FunctionAddress address;
    Identity identity;
    std::string id, kind, detail;
    std::vector<Bar> bars;
};

class PciFunction : public bus::Device {
  public:
    PciFunction(const FunctionWiring& wiring, const Identity& identity);
    ~PciFunction() override;

    uint32_t read_config(uint16_t offset, unsigned size);
    /// Returns true if a mapping changed, so that others may try again.
    bool write_config(uint16_t offset, unsigned size, uint32_t value);
    /// Maps BARs that could not be mapped before.
    void retry_mappings();

    /// Gives a BAR an address as firmware would; the guest's command register enables it. Before the guest runs.
    void place_bar(unsigned index, uint64_t address);

    FunctionInfo info() const;
    /// One line: address, what it is, where its BARs are.
    std::string describe() const;
    FunctionAddress address() const;

    /// The bus behind a bridge; nullptr for other functions.
    virtual PciBus* secondary_bus() { return nullptr; }
    /// The same, if configuration accesses to bus `number` go there now.
    virtual PciBus* bus_behind(uint8_t number) { return static_cast<void>(number), nullptr; }
    /// The bridge above forwards something else now: mappings and messages follow.
    void upstream_changed();

    // bus::Device. A derived class that has state of its own saves it with save_function() in its record.
    void reset() override;

  protected:
    // Set-up, in the constructor of the derived class.
    void add_bar(unsigned index, BarKind kind, uint64_t size, bus::IoHandler& handler);
    /// Adds a capability with this body (after id and next); returns its offset. A writable mask may follow by allow().
    uint16_t add_capability(CapabilityId id, std::span<const uint8_t> body);
    /// Version 2, without a slot; returns its offset.
    uint16_t add_express(ExpressType type);
    void add_msix(unsigned vectors, unsigned bar);
    void use_intx_pin(unsigned pin);
    template <typename F>
    void configure(F&& f) {
        f(state_.lock()->config);
    }
    /// Called last in the constructor: what reset() returns to.
    void seal();

    // Run time. Any thread, any lock below LockRank::Pci.
    void set_intx(bool asserted);
    void raise_msix(unsigned vector);
    /// A descriptor (eventfd) whose events raise the vector as raise_msix() does, for back ends that signal without us (vhost,
    /// VFIO). The same one for the function's life. Unless the engine sends its messages, poll_msix() must: call it whenever
    /// the descriptor becomes readable (watched edge-triggered). Errors: OutOfRange, Failed (no descriptors left).
    Result<int> msix_event(unsigned vector);
    void poll_msix(unsigned vector);
    /// Between the two, vectors that are raised become pending. When hold_msix() returns, what was raised has arrived.
    void hold_msix();
    void release_msix();
    bool msix_enabled() const;
    /// How many vectors' messages the engine sends by itself now.
    unsigned msix_routed() const;
    bool bus_master() const;
    uint32_t config_register(uint16_t offset, unsigned size) const;
    bus::AddressSpace& memory_space() const { return wiring_.memory; }
    /// Where no BAR can be: over RAM or the local APICs, or past the last address.
    bool over_ram(uint64_t start, uint64_t size) const;
    /// The bus that it is plugged into.
    PciBus* bus() const { return bus_; }

    /// Registers at [offset, offset+size) were written. vCPU thread, no lock held.
    virtual void config_written(uint16_t offset, unsigned size) { static_cast<void>(offset), static_cast<void>(size); }
    /// A window in configuration space that is not storage: called before the read or after the write of it.
    virtual void before_config_read(uint16_t offset, unsigned size) { static_cast<void>(offset), static_cast<void>(size); }
    /// A BAR is mapped at an address, or no longer. The function's lock is held: only locks above Pci.
    virtual void bar_moved(unsigned index, std::optional<uint64_t> address) { static_cast<void>(index), static_cast<void>(address); }
    virtual std::string detail() const { return {}; }
    void poke_config(uint16_t offset, uint32_t value);

    void save_function(pb::Function& out) const;
    /// Errors: Corrupt; changes nothing then. check_function only looks.
    Result<> check_function(const pb::Function& in) const;
    Result<> load_function(const pb::Function& in);

  private:
    friend class PciBus;
    struct Bar {
        BarKind kind = BarKind::None;
        uint64_t size = 0;
        bus::IoHandler* handler = nullptr;
        std::optional<uint64_t> mapped;
        bool wanted = false;  ///< enabled and sensible, though perhaps not mapped
    };
    struct State {
        ConfigSpace config;
        std::array<Bar, kBars> bars;
        std::unique_ptr<Msix> msix;
        uint16_t msix_capability = 0, next_capability = kFirstCapability, last_capability = 0;
        bool intx = false, intx_driven = false;
    };
    class MsixWindow;

    void connect(PciBus* bus, unsigned slot, unsigned function);
    bool may_master(const State& s) const;
    void set_multi_function();
    bool update_mappings(State& s);
    bool update_bar(State& s, unsigned index);
    std::optional<uint64_t> decoded_address(const State& s, unsigned index) const;
    void drive_intx(State& s);
    void update_msix(State& s);
    void report_refused(unsigned vector, const Error& error) const;
    uint64_t read_msix(uint64_t offset, unsigned size);
    void write_msix(uint64_t offset, unsigned size, uint64_t value);

    FunctionWiring wiring_;
    Identity identity_;
    PciBus* bus_ = nullptr;
    uint8_t slot_ = 0, function_ = 0;
    unsigned pin_ = 0;  // 0: none, 1: INTA#
    std::unique_ptr<MsixWindow> msix_window_;
    ConfigSpace sealed_;
    Guarded<State, LockRank::Pci> state_;
};

}  // namespace yado::pci
