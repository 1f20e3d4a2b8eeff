#include "cpu_kvm/engine.h"

#include <linux/kvm.h>

#include "base/log.h"
#include "cpu/host_tsc.h"
#include "cpu_kvm/irq_kernel.h"
#include "cpu_kvm/memory_slots.h"
#include "cpu_kvm/system.h"
#include "cpu_kvm/vcpu.h"
#include "cpu_kvm/vm_clock.h"

namespace yado::cpu_kvm {

using namespace cpu;

namespace {

constexpr unsigned kPins = 24;
// Pages that KVM needs on Intel processors; below the firmware's last megabyte, as KVM's documentation advises.
constexpr uint64_t kIdentityMap = 0xfeffc000, kTss = 0xfeffd000;

bool is_level(const RouteMessage& m) { return m.data >> 15 & 1; }

class KvmEngine final : public Engine {
  public:
    KvmEngine(Fd kvm, Fd vm) : slots_(vm.get()), clock_(vm.get()), irqs_(vm.get()), routes_(irqs_, kPins, irqs_.limit()) {
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

    void send_msi(GuestPhysAddr address, uint32_t data) override { irqs_.send({address, data}); }
    bool has_message_routes() const override { return true; }
    Result<std::unique_ptr<MessageRoute>> make_message_route(int eventfd) override { return routes_.make(eventfd); }

    void on_eoi(std::function<void(uint8_t)> callback) override { machine_.eoi = std::move(callback); }

    void external_interrupt(bool asserted) override {
        KvmVcpu* vcpu = with_pic_.load(std::memory_order_acquire);  // release in create_vcpu()
        if (asserted && vcpu) vcpu->look_at_pic();
    }

    void ioapic_route(unsigned pin, const std::optional<RouteMessage>& message) override {
        // Only level-triggered vectors matter here, and a masked pin's may still wait for its EOI: its route stays.
        if (pin >= kPins || !message || !is_level(*message)) return;
        if (const auto done = routes_.set_pin(pin, *message); !done)
            YADO_LOG_LIMITED(Warning, "I/O APIC, pin {}: {}", pin, done.error().message());
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

    GuestClock* guest_clock() override { return &clock_; }

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
        return fmt::format("KVM, split irqchip, {} memory slots, {} interrupt routes, {} exits, {} instructions stepped",
                           slots_.count(), routes_.in_use(), machine_.exits.load(), machine_.stepped.load());
    }

  private:
    int vm() const { return machine_.vm.get(); }

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
    VmClock clock_;
    IrqKernel irqs_;
    IrqRoutes routes_;
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
