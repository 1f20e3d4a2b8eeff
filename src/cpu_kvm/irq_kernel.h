// Interrupts that go into one KVM VM: messages by call, its routing table, descriptors (irqfd). Any thread.
#pragma once

#include "cpu_kvm/irq_routes.h"

namespace yado::cpu_kvm {

class IrqKernel final : public IrqRoutes::Kernel {
  public:
    explicit IrqKernel(int vm) : vm_(vm) {}

    /// How many routes this KVM's table takes.
    unsigned limit() const;
    /// A message that no local APIC accepts, or that is no interrupt, is lost, as on the bus.
    void send(const cpu::RouteMessage& message);

    Result<> set_table(std::span<const IrqRoutes::Route> routes) override;
    Result<> assign(Gsi gsi, int eventfd) override;
    void deassign(Gsi gsi, int eventfd) override;

  private:
    Result<> irqfd(Gsi gsi, int eventfd, uint32_t flags);
    const int vm_;
};

}  // namespace yado::cpu_kvm
