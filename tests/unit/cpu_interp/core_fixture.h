// A vCPU core alone with 4 MiB of RAM, fake devices and page tables made to order.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <map>
#include <optional>
#include <vector>

#include "cpu/cpu_model.h"
#include "cpu_interp/core.h"
#include "cpu_interp/interp.h"
#include "cpu_interp/system/access.h"
#include "cpu_interp/system/descriptor.h"
#include "cpu_interp/system/system.h"

namespace yado::cpu_interp {

/// Remembers every access; reads answer what `answer` says.
class FakeDevices : public cpu::DeviceAccess {
  public:
    struct Access {
        uint64_t address;
        unsigned size;
        std::optional<uint64_t> write;
        friend bool operator==(const Access&, const Access&) = default;
    };
    uint64_t port_read(Port port, unsigned size) override { return log(port.value(), size); }
    void port_write(Port port, unsigned size, uint64_t value) override { accesses.push_back({port.value(), size, value}); }
    uint64_t mmio_read(GuestPhysAddr address, unsigned size) override { return log(address.value(), size); }
    void mmio_write(GuestPhysAddr address, unsigned size, uint64_t value) override {
        accesses.push_back({address.value(), size, value});
    }
    std::vector<Access> accesses;
    uint64_t answer = 0x1122'3344'5566'7788;

  private:
    uint64_t log(uint64_t address, unsigned size) {
        accesses.push_back({address, size, std::nullopt});
        return size == 8 ? answer : answer & ((1ull << (8 * size)) - 1);
    }
};

class CoreFixture : public ::testing::Test {
  protected:
    static constexpr uint64_t kRam = 4u << 20;
    static constexpr uint64_t kPml4 = 0x10'0000, kPdpt = 0x10'1000, kPd = 0x10'2000, kPt = 0x10'3000;
    static constexpr uint64_t kGdt = 0x20'0000, kIdt = 0x20'1000, kTss = 0x20'2000;
    static constexpr uint64_t kMmio = 0xd000'0000;
    static constexpr uint64_t P = 1, W = 2, U = 4, A = 0x20, D = 0x40, PS = 0x80, G = 0x100, NX = 1ull << 63;

    CoreFixture() {
        EXPECT_TRUE(memory_.add_ram(GuestPhysAddr(0), Bytes(kRam)));
        model_.name = "test";
        model_.features = (1ull << static_cast<unsigned>(cpu::Feature::Count)) - 1;
        model_.tsc_hz = 2'000'000'000;
        shared_ = make_shared_state(memory_);
        core_ = std::make_unique<Core>(cpu::VcpuWiring{0, model_, memory_, devices_, nullptr, nullptr, 2'000'000'000}, *shared_);
        real_mode();
    }

    Core& c() { return *core_; }
    template <typename T>
    T peek(uint64_t gpa) {
        return memory_.load<T>(GuestPhysAddr(gpa)).value();
    }
    template <typename T>
    void poke(uint64_t gpa, T value) {
        ASSERT_TRUE(memory_.store(GuestPhysAddr(gpa), value));
    }

    void real_mode() {
        for (auto& s : c().seg) s = {0, 0x93, 0xffff, 0};
        c().seg[cpu::CS].attr = 0x9b;
        c().ldtr = {0, 0x82, 0xffff, 0};
        c().tr = {0, 0x8b, 0xffff, 0};
        c().gdtr = c().idtr = {};
        c().cr0 = cpu::cr0::ET;
        c().update_mode();
    }

    /// Long mode at `cpl` with the first 2 MiB identity-mapped by 4 KiB pages (P W U), a GDT and a TSS.
    void long_mode_at(unsigned cpl) {
        poke<uint64_t>(kPml4, kPdpt | P | W | U);
        poke<uint64_t>(kPdpt, kPd | P | W | U);
        poke<uint64_t>(kPd, kPt | P | W | U);
        poke<uint64_t>(kPd + 8, 0x20'0000 | P | W | U | PS);
        for (uint64_t n = 0; n < 512; ++n) poke<uint64_t>(kPt + 8 * n, n << 12 | P | W | U);
        c().efer = cpu::efer::LME | cpu::efer::LMA | cpu::efer::NXE | cpu::efer::SCE;
        c().cr4 = cpu::cr4::PAE | cpu::cr4::PGE;
        c().cr3 = kPml4;
        c().cr0 = cpu::cr0::PE | cpu::cr0::PG | cpu::cr0::WP | cpu::cr0::ET;
        write_gdt();
        const bool user = cpl == 3;
        c().seg[cpu::CS] = {static_cast<uint16_t>(user ? 0x33 : 0x08), 0xa09bu | cpl << 5, 0xffff'ffff, 0};
        c().seg[cpu::SS] = {static_cast<uint16_t>(user ? 0x2b : 0x10), 0xc093u | cpl << 5, 0xffff'ffff, 0};
        for (const unsigned n : {cpu::ES, cpu::DS, cpu::FS, cpu::GS}) c().seg[n] = {0, 0xc0f3, 0xffff'ffff, 0};
        c().tr = {0x40, 0x8b, 0x67, kTss};
        c().idtr = {0xfff, kIdt};
        c().update_mode();
        c().tlb_flush_all();
    }

    /// 32-bit protected mode at CPL 0 without paging, with the same GDT.
    void protected_mode_32() {
        write_gdt();
        c().cr0 = cpu::cr0::PE | cpu::cr0::ET;
        c().seg[cpu::CS] = {0x18, 0xc09b, 0xffff'ffff, 0};
        for (const unsigned n : {cpu::ES, cpu::SS, cpu::DS, cpu::FS, cpu::GS}) c().seg[n] = {0x10, 0xc093, 0xffff'ffff, 0};
        c().tr = {0x40, 0x8b, 0x67, kTss};
        c().idtr = {0x7ff, kIdt};
        c().update_mode();
    }

    /// 08: code64 0; 10: data 0; 18: code32 0; 23: code32 3; 2b: data 3; 33: code64 3; 38: absent data 0; 40: TSS.
    void write_gdt() {
        c().gdtr = {0xff, kGdt};
        const uint64_t entries[] = {0, 0x00af'9a00'0000'ffff, 0x00cf'9200'0000'ffff, 0x00cf'9a00'0000'ffff,
                                    0x00cf'fa00'0000'ffff, 0x00cf'f200'0000'ffff, 0x00af'fa00'0000'ffff,
                                    0x00cf'1200'0000'ffff, 0x0000'8920'2000'0067, 0};
        for (unsigned n = 0; n < std::size(entries); ++n) poke(kGdt + 8 * n, entries[n]);
    }

    void gate64(unsigned vector, uint64_t target, unsigned ist = 0, unsigned dpl = 0, unsigned type = 14) {
        const uint64_t low = (target & 0xffff) | 0x08ull << 16 | static_cast<uint64_t>(ist) << 32 |
                             static_cast<uint64_t>(0x80 | dpl << 5 | type) << 40 | (target >> 16 & 0xffff) << 48;
        poke<uint64_t>(kIdt + 16 * vector, low);
        poke<uint64_t>(kIdt + 16 * vector + 8, target >> 32);
    }

    /// Runs one hand-made instruction through select_system; the fault it raised, if any.
    std::optional<GuestFault> execute(Insn insn) {
        Insn block[2] = {insn, {}};
        block[0].mode = static_cast<uint8_t>(c().code_mode);
        block[1].run = +[](Core&, const Insn*) {};
        const Selected s = select_system(block[0]);
        EXPECT_NE(s.run, nullptr);
        c().block_rip = c().rip;
        c().block = nullptr;
        try {
            s.run(c(), block);
        } catch (const GuestFault& f) {
            return f;
        }
        return std::nullopt;
    }
    static Insn insn(Map map, uint8_t opcode, uint8_t opsize = 8) {
        Insn i{};
        i.map = map;
        i.opcode = opcode;
        i.opsize = opsize;
        i.addrsize = 8;
        i.length = 2;
        i.base = i.index = kNoReg;
        i.seg = cpu::DS;
        return i;
    }

    /// The fault that f raises, if any.
    template <typename F>
    static std::optional<GuestFault> fault_of(F&& f) {
        try {
            f();
        } catch (const GuestFault& fault) {
            return fault;
        }
        return std::nullopt;
    }

    mem::GuestMemory memory_;
    cpu::CpuModel model_;
    FakeDevices devices_;
    std::shared_ptr<Shared> shared_;
    std::unique_ptr<Core> core_;
};

}  // namespace yado::cpu_interp
