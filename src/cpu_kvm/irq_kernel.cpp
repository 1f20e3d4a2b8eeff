#include "cpu_kvm/irq_kernel.h"

#include <linux/kvm.h>

#include <algorithm>

#include "base/log.h"
#include "cpu_kvm/listed.h"
#include "cpu_kvm/system.h"

namespace yado::cpu_kvm {

namespace {

/// Intel SDM vol. 3, 11.11.1: other addresses are memory, and a guest may write them into an MSI-X table.
bool is_interrupt(const cpu::RouteMessage& m) { return m.address.value() >> 20 == 0xfee; }

/// KVM with 32-bit APIC ids takes the destination's upper bits in address_hi; messages carry them in bits 11:5.
template <typename Message>
void fill(Message& out, const cpu::RouteMessage& m) {
    constexpr uint64_t kExtended = 0x7f << 5;
    out.address_lo = static_cast<uint32_t>(m.address.value() & ~kExtended);
    out.address_hi = static_cast<uint32_t>((m.address.value() & kExtended) >> 5 << 8);
    out.data = m.data;
}

}  // namespace

unsigned IrqKernel::limit() const {
    return static_cast<unsigned>(std::max(kvm_ioctl(vm_, KVM_CHECK_EXTENSION, KVM_CAP_IRQ_ROUTING), 0));
}

void IrqKernel::send(const cpu::RouteMessage& message) {
    if (!is_interrupt(message)) return;
    kvm_msi msi{};
    fill(msi, message);
    kvm_ioctl(vm_, KVM_SIGNAL_MSI, &msi);
}

/// A number whose message is no interrupt gets no entry: KVM then drops its events.
Result<> IrqKernel::set_table(std::span<const IrqRoutes::Route> routes) {
    std::vector<kvm_irq_routing_entry> entries;
    for (const IrqRoutes::Route& r : routes) {
        if (!is_interrupt(r.message)) continue;
        kvm_irq_routing_entry e{};
        e.gsi = std::to_underlying(r.gsi);
        e.type = KVM_IRQ_ROUTING_MSI;
        fill(e.u.msi, r.message);
        entries.push_back(e);
    }
    ListedCopy<kvm_irq_routing, kvm_irq_routing_entry> table(entries);
    if (kvm_ioctl(vm_, listed_request(KVM_SET_GSI_ROUTING), table.head()) < 0) return fail_errno("KVM: interrupt routes");
    return {};
}

Result<> IrqKernel::irqfd(Gsi gsi, int eventfd, uint32_t flags) {
    kvm_irqfd request{};
    request.fd = static_cast<uint32_t>(eventfd);
    request.gsi = std::to_underlying(gsi);
    request.flags = flags;
    if (kvm_ioctl(vm_, KVM_IRQFD, &request) < 0) return fail_errno("KVM: irqfd");
    return {};
}

Result<> IrqKernel::assign(Gsi gsi, int eventfd) { return irqfd(gsi, eventfd, 0); }

void IrqKernel::deassign(Gsi gsi, int eventfd) {
    if (const auto done = irqfd(gsi, eventfd, KVM_IRQFD_FLAG_DEASSIGN); !done)
        YADO_LOG_LIMITED(Warning, "{}", done.error().message());
}

}  // namespace yado::cpu_kvm
