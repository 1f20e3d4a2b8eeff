// A Core with one page of flat memory and no run loop: executes single instructions of fpu/ through select_fpu, and the same
// bytes natively on the host CPU.
#pragma once

#include <sys/mman.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <optional>
#include <random>
#include <vector>

#include "cpu_interp/core.h"
#include "cpu_interp/fpu/fpu.h"
#include "cpu_interp/interp.h"

namespace yado::cpu_interp::test {

class NoDevices final : public cpu::DeviceAccess {
  public:
    uint64_t port_read(Port, unsigned) override { return 0; }
    void port_write(Port, unsigned, uint64_t) override {}
    uint64_t mmio_read(GuestPhysAddr, unsigned) override { return 0; }
    void mmio_write(GuestPhysAddr, unsigned, uint64_t) override {}
};

/// An instruction's encoding, in the pieces that the decoder would find.
struct Form {
    Map map = Map::Of;
    Mandatory mandatory = Mandatory::None;
    uint8_t opcode = 0;
    uint8_t modrm = 0;   ///< memory forms: mod 00, rm 3: [rbx]
    bool rex_w = false;
    std::optional<uint8_t> imm{};
};

/// Registers of one execution: what an instruction of fpu/ can see.
struct Registers {
    alignas(64) std::array<uint8_t, 512> image{};  ///< FXSAVE64
    uint64_t gpr[8] = {};                          ///< RBX is the memory's address, RSP is not used
    uint64_t flags = 0x0200;                       ///< hflags layout
    alignas(64) std::array<uint8_t, 512> memory{};
};

inline bool is_memory(const Form& f) { return f.modrm < 0xc0; }

inline Insn insn_of(const Form& f) {
    Insn i{};
    i.base = is_memory(f) ? uint8_t{cpu::RBX} : kNoReg;
    i.index = kNoReg;
    i.seg = cpu::DS;
    i.reg = f.modrm >> 3 & 7;
    i.rm = f.modrm & 7;
    i.opsize = f.rex_w ? 8 : 4;
    i.addrsize = 8;
    i.length = 4;
    i.opcode = f.opcode;
    i.map = f.map;
    i.mandatory = f.mandatory;
    i.modrm = f.modrm;
    i.mem = is_memory(f);
    i.flat = true;
    i.rex_w = f.rex_w;
    i.mode = static_cast<uint8_t>(CodeMode::Bits64);
    if (f.imm) i.imm = static_cast<int8_t>(*f.imm);
    return i;
}

inline std::vector<uint8_t> bytes_of(const Form& f) {
    std::vector<uint8_t> b;
    if (f.mandatory == Mandatory::P66) b.push_back(0x66);
    if (f.mandatory == Mandatory::PF3) b.push_back(0xf3);
    if (f.mandatory == Mandatory::PF2) b.push_back(0xf2);
    if (f.rex_w) b.push_back(0x48);
    if (f.map != Map::One) b.push_back(0x0f);
    if (f.map == Map::Of38) b.push_back(0x38);
    if (f.map == Map::Of3A) b.push_back(0x3a);
    b.push_back(f.opcode);
    b.push_back(f.modrm);
    if (f.imm) b.push_back(*f.imm);
    return b;
}

/// Executes bytes on the host between loading and saving Registers.
class Native {
  public:
    Native() : code_(static_cast<uint8_t*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))) {}
    ~Native() { munmap(code_, 4096); }
    Native(const Native&) = delete;

    void run(const Form& f, Registers& r) {
        at_ = code_;
        emit({0x53, 0x41, 0x54, 0x49, 0x89, 0xfc});              // push rbx; push r12; mov r12, rdi
        emit({0x49, 0x0f, 0xae, 0x0c, 0x24});                    // fxrstor64 [r12]
        emit({0x41, 0x8b, 0x84, 0x24, 0x40, 0x02, 0x00, 0x00});  // mov eax, [r12+576]
        emit({0x04, 0x7f, 0x9e});                                // add al, 127; sahf
        for (const uint8_t n : {0, 1, 2, 3, 5, 6, 7}) move(0x8b, n);
        for (const uint8_t b : bytes_of(f)) emit({b});
        for (const uint8_t n : {0, 1, 2, 3, 5, 6, 7}) move(0x89, n);
        emit({0x9f, 0x0f, 0x90, 0xc0, 0x0f, 0xb7, 0xc0});        // lahf; seto al; movzx eax, ax
        emit({0x49, 0x89, 0x84, 0x24, 0x40, 0x02, 0x00, 0x00});  // mov [r12+576], rax
        emit({0x49, 0x0f, 0xae, 0x04, 0x24});                    // fxsave64 [r12]
        emit({0xdb, 0xe3, 0x41, 0x5c, 0x5b, 0xc3});              // fninit; pop r12; pop rbx; ret
        const uint32_t mxcsr = 0x1f80;
        reinterpret_cast<void (*)(Registers*)>(code_)(&r);
        asm volatile("ldmxcsr %0" : : "m"(mxcsr));
    }

  private:
    void emit(std::initializer_list<uint8_t> bytes) {
        for (const uint8_t b : bytes) *at_++ = b;
    }
    /// mov reg, [r12 + 512 + 8 * reg] or back. RBP is saved by nobody, so it is left out by its users: RBP forms aren't made.
    void move(uint8_t opcode, uint8_t reg) {
        if (reg == 5) return;
        emit({0x49, opcode, static_cast<uint8_t>(0x84 | reg << 3), 0x24, static_cast<uint8_t>(8 * reg), 0x02, 0x00, 0x00});
    }
    uint8_t* code_;
    uint8_t* at_ = nullptr;
};
static_assert(offsetof(Registers, gpr) == 512 && offsetof(Registers, flags) == 576 && offsetof(Registers, memory) == 640);

/// The interpreter's side.
class Bench {
  public:
    Bench() {
        model.features = ~uint64_t{0};
        if (!memory.add_ram(GuestPhysAddr(0), Bytes(kRam))) std::abort();
        shared = make_shared_state(memory);
        core = std::make_unique<Core>(cpu::VcpuWiring{0, model, memory, devices, nullptr, nullptr, 1'000'000'000}, *shared);
        core->cr0 = cpu::cr0::PE | cpu::cr0::NE | cpu::cr0::MP;
        core->cr4 = cpu::cr4::OSFXSR | cpu::cr4::OSXMMEXCPT | cpu::cr4::OSXSAVE;
        core->xcr0 = 3;
        core->code_mode = CodeMode::Bits64;
    }

    /// Makes `memory` the guest's page at kLinear.
    void map(void* host) {
        for (const Acc acc : {Acc::Read, Acc::Write}) core->tlb.slot(core->mmu, acc, kLinear) = {kLinear, reinterpret_cast<uint64_t>(host)};
    }

    /// Turns paging on over tables of zeros: every access faults.
    void page_out() {
        core->efer = cpu::efer::LME | cpu::efer::LMA;
        core->cr4 |= cpu::cr4::PAE;
        core->cr0 |= cpu::cr0::PG;
        for (const Acc acc : {Acc::Read, Acc::Write}) core->tlb.slot(core->mmu, acc, kLinear) = {};
    }

    /// Executes the forms one after another; returns the fault, if any. False-like when there is no such instruction: #UD.
    std::optional<GuestFault> run(const std::vector<Form>& forms) {
        std::vector<Insn> block;
        for (const Form& f : forms) {
            block.push_back(insn_of(f));
            block.back().run = select_fpu(block.back()).run;
            if (!block.back().run) return GuestFault{Vec::UD, false, 0};
        }
        block.push_back(Insn{});
        block.back().run = [](Core&, const Insn*) {};
        std::optional<GuestFault> fault;
        try {
            block[0].run(*core, block.data());
        } catch (const GuestFault& g) {
            fault = g;
        }
        fpu_leave(*core->fpu);
        return fault;
    }
    std::optional<GuestFault> run(const Form& form) { return run(std::vector<Form>{form}); }

    void set(Registers& r) {
        std::memcpy(static_cast<void*>(core->fpu.get()), r.image.data(), 416);
        for (unsigned n = 0; n < 8; ++n) core->gpr[n] = r.gpr[n];
        core->gpr[cpu::RBX] = kLinear;
        core->aflags = static_cast<uint16_t>(r.flags);
        map(&r.memory);
    }
    void get(Registers& r) {
        const uint64_t rbx = r.gpr[cpu::RBX];
        std::memcpy(r.image.data(), core->fpu.get(), 416);
        for (unsigned n = 0; n < 8; ++n) r.gpr[n] = core->gpr[n];
        r.gpr[cpu::RBX] = rbx;
        r.flags = core->aflags;
    }

    static constexpr uint64_t kLinear = 0x7000, kRam = 0x4000;  // kLinear is served by the TLB entry alone
    cpu::CpuModel model;
    mem::GuestMemory memory;
    NoDevices devices;
    std::shared_ptr<Shared> shared;
    std::unique_ptr<Core> core;
};

}  // namespace yado::cpu_interp::test
