// A bare guest for tests of the interpreter: RAM, one or more vCPUs, no devices, no APIC. Code comes from assembler blocks
// in the tests themselves (GUEST_CODE) and starts in 64-bit mode with flat segments and identity paging, or in real mode.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string_view>
#include <vector>

#include "cpu/cpu_model.h"
#include "cpu_interp/interp.h"

#define GUEST_TEXT2(x) #x
#define GUEST_TEXT(x) GUEST_TEXT2(x)
#define GUEST_NAME2(x, line) guest_##x##_##line
#define GUEST_NAME(x, line) GUEST_NAME2(x, line)
/// Inside a function: assembles code (GNU syntax, AT&T) into read-only data, as a std::span<const std::byte> called `name`.
/// The symbols carry the line: a declaration inside a function names one object for the whole file.
#define GUEST_CODE(name, bits, code)                                                                    \
    asm(".pushsection .rodata\n" GUEST_TEXT(GUEST_NAME(start, __LINE__)) ":\n.code" #bits "\n" code     \
        "\n.code64\n" GUEST_TEXT(GUEST_NAME(end, __LINE__)) ":\n.popsection\n");                        \
    extern const std::byte GUEST_NAME(start, __LINE__)[] asm(GUEST_TEXT(GUEST_NAME(start, __LINE__)));  \
    extern const std::byte GUEST_NAME(end, __LINE__)[] asm(GUEST_TEXT(GUEST_NAME(end, __LINE__)));      \
    const std::span<const std::byte> name(GUEST_NAME(start, __LINE__), GUEST_NAME(end, __LINE__))

namespace yado::cpu_interp::test {

inline constexpr uint64_t kCode = 0x10000, kStack = 0x80000, kData = 0x100000, kTables = 0x1000;

struct NoDevices final : cpu::DeviceAccess {
    uint64_t port_read(Port, unsigned size) override { return ~0ull >> (64 - 8 * size); }
    void port_write(Port, unsigned, uint64_t) override {}
    uint64_t mmio_read(GuestPhysAddr, unsigned size) override { return ~0ull >> (64 - 8 * size); }
    void mmio_write(GuestPhysAddr, unsigned, uint64_t) override {}
};

class Guest {
  public:
    Guest() {
        EXPECT_TRUE(memory.add_ram(GuestPhysAddr(0), 64_MiB));
        shared = make_shared_state(memory);
        store<uint64_t>(kTables, (kTables + 0x1000) | 7);
        store<uint64_t>(kTables + 0x1000, (kTables + 0x2000) | 7);
        for (uint64_t n = 0; n < 32; ++n) store<uint64_t>(kTables + 0x2000 + 8 * n, n << 21 | 0x87);  // 2 MiB pages
    }

    cpu::Vcpu& add_vcpu(const TierFactory& make_tier = {}) {
        const auto index = static_cast<uint32_t>(vcpus.size());
        auto made = make_vcpu({index, model, memory, devices, nullptr, nullptr, 1'000'000'000}, shared, make_tier);
        EXPECT_TRUE(made);
        vcpus.push_back(std::move(*made));
        return *vcpus.back();
    }

    void load(uint64_t at, std::span<const std::byte> code) { EXPECT_TRUE(memory.write(GuestPhysAddr(at), code)); }
    template <typename T>
    void store(uint64_t at, T v) {
        EXPECT_TRUE(memory.store(GuestPhysAddr(at), v));
    }
    template <typename T>
    T read(uint64_t at) {
        return *memory.load<T>(GuestPhysAddr(at));
    }

    static cpu::CpuState long_mode(uint64_t rip = kCode) {
        cpu::CpuState s = cpu::reset_state();
        for (cpu::Segment& g : s.seg) g = {0x10, 0xc093, 0xffffffff, 0};
        s.seg[cpu::CS] = {0x08, 0xa09b, 0xffffffff, 0};
        s.cr0 = cpu::cr0::PE | cpu::cr0::PG | cpu::cr0::ET | cpu::cr0::NE | cpu::cr0::WP;
        s.cr3 = kTables;
        s.cr4 = cpu::cr4::PAE | cpu::cr4::OSFXSR;
        s.efer = cpu::efer::LME | cpu::efer::LMA;
        s.gpr = {};
        s.gpr[cpu::RSP] = kStack;
        s.rip = rip;
        return s;
    }
    static cpu::CpuState real_mode(uint16_t ip) {
        cpu::CpuState s = cpu::reset_state();
        s.seg[cpu::CS] = {0, 0x9b, 0xffff, 0};
        s.gpr = {};
        s.gpr[cpu::RSP] = 0x7000;
        s.rip = ip;
        return s;
    }

    /// Runs from state until HLT; the state then.
    cpu::CpuState run(const cpu::CpuState& state) {
        if (vcpus.empty()) add_vcpu();
        EXPECT_TRUE(vcpus[0]->set_state(state));
        const cpu::Exit exit = vcpus[0]->run();
        if (const auto* crash = std::get_if<cpu::ShutdownRequest>(&exit)) ADD_FAILURE() << crash->detail;
        return *vcpus[0]->get_state();
    }
    cpu::CpuState run_code(std::span<const std::byte> code, cpu::CpuState state = long_mode()) {
        load(kCode, code);
        return run(state);
    }

    cpu::CpuModel model = *cpu::make_model("x86-64-v2", supported_features(), 2, 1'000'000'000);
    mem::GuestMemory memory;
    NoDevices devices;
    std::shared_ptr<Shared> shared;
    std::vector<std::unique_ptr<cpu::Vcpu>> vcpus;
};

}  // namespace yado::cpu_interp::test
