#include "cpu_kvm/engine.h"

#include <linux/kvm.h>

#include <array>
#include <cstring>

#include "base/guarded.h"
#include "base/log.h"
#include "cpu/host_tsc.h"
#include "cpu_kvm/listed.h"
#include "cpu_kvm/memory_slots.h"
#include "cpu_kvm/system.h"
#include "cpu_kvm/vcpu.h"

namespace yado::cpu_kvm {

using namespace cpu;

namespace {

constexpr unsigned kPins = 24;
// Pages that KVM needs on Intel processors; below the firmware's last megabyte, as KVM's documentation advises.
constexpr uint64_t kIdentityMap = 0xfeffc000, kTss = 0xfeffd000;

/// KVM with 32-bit APIC ids takes the destination's upper bits in address_hi; messages carry them in bits 11:5.
void split_address(GuestPhysAddr address, uint32_t& low, uint32_t& high) {
    constexpr uint64_t kExtended = 0x7f << 5;
    low = static_cast<uint32_t>(address.value() & ~kExtended);
    high = static_cast<uint32_t>((address.value() & kExtended) >> 5 << 8);
}

bool is_level(const RouteMessage& m) { return m.data >> 15 & 1; }

class KvmEngine final : public Engine {
  public:
    KvmEngine(Fd kvm, Fd vm) : slots_(vm.get()) {
        machine_.kvm = std::move(kvm);
        machine_.vm = std::move(vm);
    }

    Result<> set_up() {
        uint64_t identity = kIdentityMap;
        kvm_ioctl(vm(), KVM_SET_IDENTITY_MAP_ADDR, &identity);  // Intel only; elsewhere without effect
        kvm_ioctl(vm(), KVM_SET_TSS_ADDR, kTss);
        kvm_enable_cap split{};
        split.cap = KVM_CAP_SPLIT_IRQCHIP;
        split.args[0] = kPins;
        if (kvm_ioctl(vm(), KVM_ENABLE_CAP, &split) < 0) return fail_errno("KVM: split irqchip");
        kvm_enable_cap ids{};
        ids.cap = KVM_CAP_X2APIC_API;
        ids.args[0] = KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK;
        if (kvm_ioctl(vm(), KVM_ENABLE_CAP, &ids) < 0) return fail_errno("KVM: x2APIC ids");
        return {};
    }

    std::string name() const override { return "kvm"; }
    bool owns_lapic() const override { return true; }

    void send_msi(GuestPhysAddr address, uint32_t data) override {
        kvm_msi msi{};
        split_address(address, msi.address_lo, msi.address_hi);
        msi.data = data;
        kvm_ioctl(vm(), KVM_SIGNAL_MSI, &msi);  // nobody accepts it: lost, as on the bus
    }

    void on_eoi(std::function<void(uint8_t)> callback) override { machine_.eoi = std::move(callback); }

    void external_interrupt(bool asserted) override {
        KvmVcpu* vcpu = with_pic_.load(std::memory_order_acquire);  // release in create_vcpu()
        if (asserted && vcpu) vcpu->look_at_pic();
    }

    void ioapic_route(unsigned pin, const std::optional<RouteMessage>& message) override {
        // Only level-triggered vectors matter here, and a masked pin's may still wait for its EOI: its route stays.
        if (pin >= kPins || !message || !is_level(*message)) return;
        auto routes = routes_.lock();
        if ((*routes)[pin] == message) return;
        (*routes)[pin] = message;
        set_routes(*routes);
    }

    Result<> map_memory(mem::GuestMemory& memory) override {
        memory_ = &memory;
        if (!machine_.interpreter) machine_.interpreter = cpu_interp::make_shared_state(memory);
        return slots_.map(memory);
    }
    Result<> sync_dirty_log() override { return memory_ ? slots_.sync_dirty_log(*memory_) : Result<>{}; }

    Result<std::unique_ptr<Vcpu>> create_vcpu(const VcpuWiring& wiring) override {
        auto vcpu = YADO_TRY(KvmVcpu::create(wiring, machine_));
        if (wiring.pic) with_pic_.store(vcpu.get(), std::memory_order_release);
        return vcpu;
    }

    uint64_t tsc_hz() const override {
        const int khz = kvm_ioctl(vm(), KVM_GET_TSC_KHZ, 0);
        return khz > 0 ? static_cast<uint64_t>(khz) * 1000 : host_tsc_hz();
    }

    bool has_doorbells() const override { return true; }
    Result<> attach_doorbell(GuestPhysAddr address, int eventfd) override { return doorbell(address, eventfd, 0); }
    void detach_doorbell(GuestPhysAddr address, int eventfd) override {
        (void)doorbell(address, eventfd, KVM_IOEVENTFD_FLAG_DEASSIGN);
    }

    std::string describe() const override {
        return fmt::format("KVM, split irqchip, {} memory slots, {} exits, {} instructions stepped", slots_.count(),
                           machine_.exits.load(), machine_.stepped.load());
    }

  private:
    using Routes = std::array<std::optional<RouteMessage>, kPins>;
    using RoutingTable = Listed<kvm_irq_routing, kvm_irq_routing_entry, kPins>;

    int vm() const { return machine_.vm.get(); }

    void set_routes(const Routes& routes) {
        RoutingTable table;
        for (unsigned pin = 0; pin < kPins; ++pin) {
            if (!routes[pin]) continue;
            kvm_irq_routing_entry e{};
            e.gsi = pin;
            e.type = KVM_IRQ_ROUTING_MSI;
            split_address(routes[pin]->address, e.u.msi.address_lo, e.u.msi.address_hi);
            e.u.msi.data = routes[pin]->data;
            table.add(e);
        }
        if (kvm_ioctl(vm(), listed_request(KVM_SET_GSI_ROUTING), table.head()) < 0)
            YADO_LOG_LIMITED(Warning, "KVM refuses the I/O APIC's routes: {}", strerror(errno));
    }

    Result<> doorbell(GuestPhysAddr address, int eventfd, uint32_t flags) {
        kvm_ioeventfd request{};
        request.addr = address.value();
        request.fd = eventfd;
        request.flags = flags;
        if (kvm_ioctl(vm(), KVM_IOEVENTFD, &request) < 0) return fail_errno("KVM: doorbell");
        return {};
    }

    Machine machine_;
    MemorySlots slots_;
    mem::GuestMemory* memory_ = nullptr;
    Guarded<Routes, LockRank::Vcpu> routes_;
    std::atomic<KvmVcpu*> with_pic_{nullptr};  // lives as long as the vCPU threads: PIC and vCPUs end together
};

}  // namespace

Result<std::unique_ptr<Engine>> make_kvm_engine(const char* path) {
    install_kick_signal();
    Fd kvm = YADO_TRY(open_kvm(path));
    Fd vm(kvm_ioctl(kvm.get(), KVM_CREATE_VM, 0ul));
    if (!vm) return fail_errno(fmt::format("{}: cannot make a VM", path));
    auto engine = std::make_unique<KvmEngine>(std::move(kvm), std::move(vm));
    YADO_TRY(engine->set_up());
    return engine;
}

}  // namespace yado::cpu_kvm
