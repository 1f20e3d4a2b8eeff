// Drives a virtio-pci device without a guest, as a driver would: registers through the bus, rings in guest memory.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <map>
#include <vector>

#include "bus/address_space.h"
#include "fakes/irq.h"
#include "io/executor.h"
#include "mem/guest_memory.h"
#include "pci/bus.h"
#include "virtio/pci/virtio_pci.h"

namespace yado::fakes {

struct Buffer {
    uint64_t addr;
    uint32_t len;
    bool writable = false;
};

/// A machine of nothing but RAM, a bus and an executor that runs when told.
struct VirtioMachine {
    static constexpr uint64_t kRam = 16 << 20, kBar = 0xc0000000, kMsixBar = 0xd0000000;
    bus::AddressSpace memory_space{"memory", 1ull << 52}, ports{"port", 0x10000};
    mem::GuestMemory ram;
    RecordingMsi msi;
    std::array<RecordingLine, 8> lines;
    pci::PirqRouter pirqs{wire()};
    pci::PciBus bus{&pirqs};
    io::Executor executor;

    VirtioMachine() {
        EXPECT_TRUE(ram.add_ram(GuestPhysAddr(0), Bytes(kRam)));
        executor.run_once(Nanoseconds(0));  // this thread is the executor's
    }
    pci::PirqRouter::Wiring wire() {
        pci::PirqRouter::Wiring w;
        for (unsigned i = 0; i < 8; ++i) w.gsi[i] = &lines[i];
        return w;
    }
    virtio::VirtioPci::Wiring wiring() { return {{memory_space, ports, ram, msi}, executor}; }
    /// Runs the executor until nothing is left to do at once.
    void settle() {
        for (int i = 0; i < 64; ++i) executor.run_once(Nanoseconds(0));
    }
    template <typename T>
    T load(uint64_t at) {
        return *ram.load<T>(GuestPhysAddr(at));
    }
    template <typename T>
    void store(uint64_t at, T value) {
        EXPECT_TRUE(ram.store(GuestPhysAddr(at), value));
    }
};

/// One queue's driver side, split or packed. Memory: 64 KiB for each queue from 1 MiB on.
class DriverQueue {
  public:
    DriverQueue(VirtioMachine& m, unsigned index, uint16_t size, bool packed)
        : machine(m), index(index), size(size), packed(packed), desc(0x100000 + index * 0x10000ull), driver(desc + 0x8000), device(desc + 0xc000) {}

    /// Makes a chain available; returns its id.
    uint16_t offer(const std::vector<Buffer>& buffers) { return packed ? offer_packed(buffers) : offer_split(buffers); }
    /// A chain whose buffers are listed in an indirect table at `table`.
    uint16_t offer_indirect(uint64_t table, const std::vector<Buffer>& buffers) {
        for (size_t i = 0; i < buffers.size(); ++i)
            put(table + 16 * i, buffers[i].addr, buffers[i].len,
                flags_of(buffers[i]) | (i + 1 < buffers.size() && !packed ? virtio::VIRTQ_DESC_F_NEXT : 0), static_cast<uint16_t>(i + 1), static_cast<uint16_t>(i + 1));
        return offer_raw(table, static_cast<uint32_t>(16 * buffers.size()), virtio::VIRTQ_DESC_F_INDIRECT);
    }
    /// One descriptor with any flags.
    uint16_t offer_raw(uint64_t addr, uint32_t len, uint16_t flags) {
        if (packed) {
            const uint16_t id = next_id_++;
            machine.store<uint64_t>(desc + 16 * slot_, addr);
            machine.store<uint32_t>(desc + 16 * slot_ + 8, len);
            machine.store<uint16_t>(desc + 16 * slot_ + 12, id);
            machine.store<uint16_t>(desc + 16 * slot_ + 14, flags | avail_bits());
            slots_[id] = 1;
            step();
            return id;
        }
        const uint16_t head = free_++ % size;
        put(desc + 16 * head, addr, len, flags, 0, 0);
        publish(head);
        return head;
    }
    /// Publishes a head (split).
    void publish(uint16_t head) {
        machine.store<uint16_t>(driver + 4 + 2 * (avail % size), head);
        machine.store<uint16_t>(driver + 2, ++avail);
    }

    struct Used {
        uint32_t id, len;
    };
    std::optional<Used> take_used() { return packed ? take_packed() : take_split(); }

    VirtioMachine& machine;
    unsigned index;
    uint16_t size;
    bool packed;
    uint64_t desc, driver, device;
    uint16_t avail = 0, used = 0;

    void put(uint64_t at, uint64_t addr, uint32_t len, uint32_t flags, uint16_t next, uint16_t id) {
        machine.store<uint64_t>(at, addr);
        machine.store<uint32_t>(at + 8, len);
        machine.store<uint16_t>(at + 12, packed ? id : static_cast<uint16_t>(flags));
        machine.store<uint16_t>(at + 14, packed ? static_cast<uint16_t>(flags) : next);
    }

  private:
    static uint16_t flags_of(const Buffer& b) { return b.writable ? virtio::VIRTQ_DESC_F_WRITE : 0; }
    uint16_t avail_bits() const { return wrap_ ? virtio::VIRTQ_DESC_F_AVAIL : virtio::VIRTQ_DESC_F_USED; }
    void step() {
        if (++slot_ == size) {
            slot_ = 0;
            wrap_ = !wrap_;
        }
    }
    uint16_t offer_split(const std::vector<Buffer>& buffers) {
        const uint16_t head = free_ % size;
        for (size_t i = 0; i < buffers.size(); ++i) {
            const uint16_t at = free_++ % size;
            put(desc + 16 * at, buffers[i].addr, buffers[i].len, flags_of(buffers[i]) | (i + 1 < buffers.size() ? virtio::VIRTQ_DESC_F_NEXT : 0), free_ % size, 0);
        }
        publish(head);
        return head;
    }
    uint16_t offer_packed(const std::vector<Buffer>& buffers) {
        const uint16_t id = next_id_++, first = slot_, first_bits = avail_bits();
        uint16_t first_flags = 0;
        for (size_t i = 0; i < buffers.size(); ++i) {
            const uint16_t flags = flags_of(buffers[i]) | (i + 1 < buffers.size() ? virtio::VIRTQ_DESC_F_NEXT : 0);
            if (i == 0) first_flags = flags;
            put(desc + 16 * slot_, buffers[i].addr, buffers[i].len, i == 0 ? 0 : flags | avail_bits(), 0, id);
            step();
        }
        slots_[id] = static_cast<uint16_t>(buffers.size());
        machine.store<uint16_t>(desc + 16 * first + 14, first_flags | first_bits);
        return id;
    }
    std::optional<Used> take_split() {
        if (machine.load<uint16_t>(device + 2) == used) return std::nullopt;
        const uint64_t at = device + 4 + 8 * (used++ % size);
        return Used{machine.load<uint32_t>(at), machine.load<uint32_t>(at + 4)};
    }
    std::optional<Used> take_packed() {
        const uint64_t at = desc + 16 * used;
        const auto flags = machine.load<uint16_t>(at + 14);
        const bool a = flags & virtio::VIRTQ_DESC_F_AVAIL, u = flags & virtio::VIRTQ_DESC_F_USED;
        if (a != u || u != used_wrap_) return std::nullopt;
        const Used result{machine.load<uint16_t>(at + 12), machine.load<uint32_t>(at + 8)};
        used = static_cast<uint16_t>(used + slots_[static_cast<uint16_t>(result.id)]);
        if (used >= size) {
            used = static_cast<uint16_t>(used - size);
            used_wrap_ = !used_wrap_;
        }
        return result;
    }

    uint16_t free_ = 0, slot_ = 0, next_id_ = 0;
    bool wrap_ = true, used_wrap_ = true;
    std::map<uint16_t, uint16_t> slots_;
};

/// The driver of one device in slot 2.
class VirtioDriver {
  public:
    VirtioDriver(VirtioMachine& m, virtio::VirtioPci& device) : machine(m), device(device) {
        EXPECT_TRUE(m.bus.add(2, 0, device));
        config(0x10, VirtioMachine::kBar);
        config(0x18, VirtioMachine::kMsixBar);
        m.bus.write({0, 2, 0}, 4, 2, 6);
        device.resume();
    }
    void config(uint16_t offset, uint32_t value, unsigned size = 4) { machine.bus.write({0, 2, 0}, offset, size, value); }
    uint64_t read(uint64_t offset, unsigned size) { return machine.memory_space.read(VirtioMachine::kBar + offset, size); }
    void write(uint64_t offset, unsigned size, uint64_t value) { machine.memory_space.write(VirtioMachine::kBar + offset, size, value); }
    uint8_t status() { return static_cast<uint8_t>(read(20, 1)); }
    void set_status(uint8_t s) { write(20, 1, s); }

    uint64_t offered() {
        write(0, 4, 0);
        uint64_t f = read(4, 4);
        write(0, 4, 1);
        return f | read(4, 4) << 32;
    }
    /// Reset to FEATURES_OK; returns whether the device took the features.
    bool negotiate(uint64_t features) {
        set_status(0);
        machine.settle();
        set_status(1);
        set_status(3);
        for (uint32_t i = 0; i < 2; ++i) {
            write(8, 4, i);
            write(12, 4, features >> (32 * i) & 0xffffffff);
        }
        set_status(11);
        features_ = features;
        return status() & 8;
    }
    /// MSI-X vector 0 for configuration, i + 1 for queue i.
    void use_msix(unsigned vectors) {
        uint32_t cap = machine.bus.read({0, 2, 0}, 0x34, 1);
        while (cap && machine.bus.read({0, 2, 0}, static_cast<uint16_t>(cap), 1) != 0x11) cap = machine.bus.read({0, 2, 0}, static_cast<uint16_t>(cap + 1), 1);
        for (unsigned v = 0; v < vectors; ++v) {
            machine.memory_space.write(VirtioMachine::kMsixBar + 16 * v, 8, 0xfee00000);
            machine.memory_space.write(VirtioMachine::kMsixBar + 16 * v + 8, 4, v);
            machine.memory_space.write(VirtioMachine::kMsixBar + 16 * v + 12, 4, 0);
        }
        config(static_cast<uint16_t>(cap + 2), 0x8000, 2);
        write(16, 2, 0);
        msix_ = true;
    }
    DriverQueue queue(unsigned index, uint16_t size = 16) {
        DriverQueue q(machine, index, size, features_ & virtio::VIRTIO_F_RING_PACKED);
        write(22, 2, index);
        write(24, 2, size);
        if (msix_) write(26, 2, index + 1);
        write(32, 8, q.desc);
        write(40, 4, q.driver);
        write(44, 4, 0);
        write(48, 8, q.device);
        write(28, 2, 1);
        return q;
    }
    void driver_ok() {
        set_status(15);
        machine.settle();
    }
    void kick(unsigned queue) {
        write(virtio::VirtioPci::kNotifyAt + 4 * queue, 2, queue);
        machine.settle();
    }
    bool needs_reset() { return status() & virtio::VIRTIO_STATUS_NEEDS_RESET; }
    /// Messages of a vector so far.
    size_t interrupts(uint32_t vector) {
        size_t n = 0;
        for (const auto& m : machine.msi.sent) n += m.data == vector;
        return n;
    }

    VirtioMachine& machine;
    virtio::VirtioPci& device;

  private:
    uint64_t features_ = 0;
    bool msix_ = false;
};

}  // namespace yado::fakes
