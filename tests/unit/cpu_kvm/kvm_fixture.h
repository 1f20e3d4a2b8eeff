// A VM of one vCPU on the real /dev/kvm, in real mode, with devices that remember. Tests skip where there is no KVM.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "base/bytes.h"
#include "cpu_kvm/engine.h"
#include "cpu_kvm/system.h"

namespace yado::cpu_kvm {

/// A write to port 80H ends run(): its value is in `done`.
struct Devices final : cpu::DeviceAccess {
    uint64_t port_read(Port port, unsigned) override { return ports.contains(port.value()) ? ports[port.value()] : 0xff; }
    void port_write(Port port, unsigned, uint64_t value) override {
        port_writes.emplace_back(port.value(), value);
        if (port.value() == 0x80 && vcpu) vcpu->kick();
    }
    uint64_t mmio_read(GuestPhysAddr, unsigned size) override { return 0x1122334455667788 & mask_of_size(size); }
    void mmio_write(GuestPhysAddr address, unsigned size, uint64_t value) override {
        mmio_writes.push_back({address.value(), size, value});
    }
    struct Write {
        uint64_t address;
        unsigned size;
        uint64_t value;
        friend bool operator==(const Write&, const Write&) = default;
    };
    cpu::Vcpu* vcpu = nullptr;
    std::map<uint16_t, uint64_t> ports;
    std::vector<std::pair<uint16_t, uint64_t>> port_writes;
    std::vector<Write> mmio_writes;
};

struct FakePic final : cpu::ExternalInterrupts {
    bool pending() const override { return vector.has_value(); }
    std::optional<uint8_t> acknowledge() override { return std::exchange(vector, std::nullopt); }
    std::optional<uint8_t> vector;
};

using Code = std::vector<uint8_t>;

class KvmTest : public testing::Test {
  protected:
    static constexpr uint64_t kCode = 0x1000, kHandler = 0x3000;

    void SetUp() override {
        auto engine = make_kvm_engine();
        if (!engine) GTEST_SKIP() << engine.error().message();
        engine_ = std::move(*engine);
        const auto features = supported_features();
        ASSERT_TRUE(features) << features.error().message();
        auto model = cpu::make_model("host", *features, 1, engine_->tsc_hz(), host_identity());
        ASSERT_TRUE(model) << model.error().message();
        model_ = *model;
        ASSERT_TRUE(memory_.add_ram(GuestPhysAddr(0), Bytes(0xa0000)));
        ASSERT_TRUE(memory_.add_ram(GuestPhysAddr(0xf0000), Bytes(0x10000), mem::Access::ReadOnly));
        ASSERT_TRUE(engine_->map_memory(memory_));
        auto vcpu = engine_->create_vcpu({.index = 0, .model = model_, .memory = memory_, .devices = devices_, .apic = nullptr,
                                          .pic = &pic_, .guest_tsc_hz = engine_->tsc_hz()});
        ASSERT_TRUE(vcpu) << vcpu.error().message();
        vcpu_ = std::move(*vcpu);
        devices_.vcpu = vcpu_.get();
    }

    /// Real mode at 0000:1000 with a stack, all segments 0, interrupts vectored to a handler at 0000:3000.
    cpu::CpuState start_state() {
        cpu::CpuState s = cpu::reset_state();
        s.seg[cpu::CS].selector = 0;
        s.seg[cpu::CS].base = 0;
        s.rip = kCode;
        s.gpr[cpu::RSP] = 0x8000;
        s.lapic = cpu::reset_lapic_state(0, true);
        s.lapic->regs[0xf] = 0x1ff;  // SVR: enabled
        return s;
    }
    /// 64-bit mode, ring 0, the first 2 MiB mapped one to one; RSI points to 6000H.
    cpu::CpuState long_mode_state() {
        cpu::CpuState s = start_state();
        EXPECT_TRUE(memory_.store<uint64_t>(GuestPhysAddr(0x20000), 0x21003));
        EXPECT_TRUE(memory_.store<uint64_t>(GuestPhysAddr(0x21000), 0x22003));
        EXPECT_TRUE(memory_.store<uint64_t>(GuestPhysAddr(0x22000), 0x83));
        s.cr0 = cpu::cr0::PE | cpu::cr0::PG | cpu::cr0::ET | cpu::cr0::NE;
        s.cr3 = 0x20000;
        s.cr4 = cpu::cr4::PAE | cpu::cr4::OSFXSR;
        s.efer = cpu::efer::LME | cpu::efer::LMA;
        s.seg[cpu::CS] = {.selector = 8, .attr = 0xa09b, .limit = ~0u, .base = 0};
        for (const auto i : {cpu::SS, cpu::DS, cpu::ES}) s.seg[i] = {.selector = 16, .attr = 0xc093, .limit = ~0u, .base = 0};
        s.gpr[cpu::RSI] = 0x6000;
        return s;
    }
    void load(uint64_t at, const Code& code) { ASSERT_TRUE(memory_.write(GuestPhysAddr(at), std::as_bytes(std::span(code)))); }
    void set_vector(uint8_t vector, uint16_t offset) {
        ASSERT_TRUE(memory_.store<uint32_t>(GuestPhysAddr(4u * vector), offset));
    }
    cpu::Exit run(const Code& code, const cpu::CpuState& state) {
        load(kCode, code);
        const auto r = vcpu_->set_state(state);
        EXPECT_TRUE(r.has_value()) << r.error().message();
        return vcpu_->run();
    }
    cpu::Exit run(const Code& code) { return run(code, start_state()); }
    static std::string text(const cpu::Exit& e) {
        if (const auto* s = std::get_if<cpu::ShutdownRequest>(&e)) return s->detail;
        return std::holds_alternative<cpu::Kicked>(e) ? "kicked" : "halted";
    }

    mem::GuestMemory memory_;
    Devices devices_;
    FakePic pic_;
    cpu::CpuModel model_;
    std::unique_ptr<cpu::Engine> engine_;
    std::unique_ptr<cpu::Vcpu> vcpu_;
};

}  // namespace yado::cpu_kvm
