// fw_cfg: hands firmware and guests named read-only items, by a byte port or by DMA. Items are configuration: added
// while assembling, not saved. Any thread; one lock of rank Device, held while guest memory is written.
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/guarded.h"
#include "bus/address_space.h"
#include "bus/device.h"
#include "machine/legacy/fw_cfg_regs.h"
#include "mem/guest_memory.h"

namespace yado::machine {

class FwCfg final : public bus::Device {
  public:
    struct Wiring {
        mem::GuestMemory& memory;
    };
    explicit FwCfg(Wiring wiring);

    /// Errors: Conflict (the key is taken), OutOfRange (not a key, or more than 4 GiB).
    Result<> add_item(uint16_t key, std::vector<std::byte> bytes);
    /// A file, listed in the directory. Errors: Conflict (the name is taken), OutOfRange (name longer than 55 bytes or
    /// empty, no key left).
    Result<> add_file(const std::string& name, std::vector<std::byte> bytes);

    bus::IoHandler& ports() { return ports_; }    ///< 0x510, 2 bytes: selector and data
    bus::IoHandler& dma_ports() { return dma_; }  ///< 0x514, 8 bytes

    // bus::Device
    std::string id() const override { return "fw_cfg"; }
    std::string kind() const override { return "fw_cfg"; }
    void reset() override;
    Result<state::Record> save() const override;
    Result<> load(const state::Record& record) override;

  private:
    struct File {
        std::string name;
        uint16_t key;
        uint32_t size;
    };
    struct State {
        std::map<uint16_t, std::vector<std::byte>> items;
        std::vector<File> files;
        uint16_t selector = 0;
        uint32_t offset = 0;    ///< at most the item's size
        uint32_t dma_high = 0;  ///< upper half of the descriptor's address
    };
    class Ports final : public bus::IoHandler {
      public:
        explicit Ports(FwCfg& device) : device_(device) {}
        uint64_t read(uint64_t offset, unsigned size) override;
        void write(uint64_t offset, unsigned size, uint64_t value) override;

      private:
        FwCfg& device_;
    };
    class Dma final : public bus::IoHandler {
      public:
        explicit Dma(FwCfg& device) : device_(device) {}
        uint64_t read(uint64_t offset, unsigned size) override;
        void write(uint64_t offset, unsigned size, uint64_t value) override;

      private:
        FwCfg& device_;
    };
    static void select(State& s, uint16_t key);
    static std::span<const std::byte> rest(const State& s);
    static std::vector<std::byte> directory(const State& s);
    void start_dma(State& s, uint64_t descriptor);
    bool run_dma(State& s, FwCfgDmaControl control, uint32_t length, uint64_t address);
    Result<> copy_out(State& s, uint64_t address, uint32_t length);

    Wiring wiring_;
    Guarded<State> state_;
    Ports ports_{*this};
    Dma dma_{*this};
};

}  // namespace yado::machine
