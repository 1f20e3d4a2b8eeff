// Routes one vCPU's port and memory-mapped accesses to the address spaces, and counts them. One object a vCPU: the
// counters need no sharing. vCPU thread; the counters may be read from any.
#pragma once

#include <atomic>

#include "bus/address_space.h"
#include "cpu/vcpu.h"

namespace yado::vm {

class ExitRouter final : public cpu::DeviceAccess {
  public:
    ExitRouter(bus::AddressSpace& ports, bus::AddressSpace& memory) : ports_(ports), memory_(memory) {}

    uint64_t port_read(Port port, unsigned size) override;
    void port_write(Port port, unsigned size, uint64_t value) override;
    uint64_t mmio_read(GuestPhysAddr address, unsigned size) override;
    void mmio_write(GuestPhysAddr address, unsigned size, uint64_t value) override;

    struct Counters {
        uint64_t port_reads, port_writes, mmio_reads, mmio_writes;
    };
    Counters counters() const;

  private:
    bus::AddressSpace& ports_;
    bus::AddressSpace& memory_;
    std::atomic<uint64_t> port_reads_{0}, port_writes_{0}, mmio_reads_{0}, mmio_writes_{0};
};

}  // namespace yado::vm
