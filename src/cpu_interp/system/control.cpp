// Control registers, EFER, XCR0 and TLB instructions (SDM vol. 3, 2.5, 4.1, 4.10.4, 10.8.5; vol. 2, MOV CRn).
#include "cpu_interp/system/control.h"

#include <algorithm>

#include "cpu/cpu_model.h"
#include "cpu/local_apic.h"
#include "cpu_interp/fpu/fpu.h"
#include "cpu_interp/system/access.h"
#include "cpu_interp/system/descriptor.h"
#include "cpu_interp/system/handlers.h"

namespace yado::cpu_interp {

namespace {

namespace cr0 = cpu::cr0;
namespace cr4 = cpu::cr4;

void need_cpl0(Core& c, const Insn* i) {
    if (c.cpl > 0) c.raise(i, Vec::GP, 0);
}

/// PAE paging without IA-32e mode, given these registers.
bool pae_paging(uint64_t r0, uint64_t r4, uint64_t efer) {
    return r0 & cr0::PG && r4 & cr4::PAE && !(efer & cpu::efer::LME);
}

void reload_pdptes(Core& c, const Insn* i, uint64_t cr3) {
    uint64_t loaded[4];
    if (!load_pdptes(c, cr3, loaded)) c.raise(i, Vec::GP, 0);
    std::copy(loaded, loaded + 4, c.system->pdpte.begin());
}

void check_cr0(Core& c, const Insn* i, uint64_t value) {
    const bool paging_starts = value & cr0::PG && !(c.cr0 & cr0::PG);
    bool bad = value >> 32 || (value & cr0::PG && !(value & cr0::PE)) || (value & cr0::NW && !(value & cr0::CD));
    if (paging_starts && c.efer & cpu::efer::LME) bad |= !(c.cr4 & cr4::PAE) || c.seg[cpu::CS].attr & attr::L;
    if (c.cr0 & cr0::PG && !(value & cr0::PG)) bad |= c.code_mode == CodeMode::Bits64 || c.cr4 & cr4::PCIDE;
    if (bad) c.raise(i, Vec::GP, 0);
}

/// Changes that give a translation other rights or another meaning.
constexpr uint64_t kCr0Paging = cr0::PG | cr0::WP | cr0::PE;
constexpr uint64_t kCr4Paging = cr4::PSE | cr4::PAE | cr4::PGE | cr4::PCIDE | cr4::SMEP | cr4::SMAP;

uint64_t opsize_value(const Core& c, uint64_t value) {
    return c.code_mode == CodeMode::Bits64 ? value : static_cast<uint32_t>(value);
}

uint64_t read_cr(Core& c, const Insn* i, unsigned number) {
    switch (number) {
    case 0: return c.cr0;
    case 2: return c.cr2;
    case 3: return c.cr3;
    case 4: return c.cr4;
    case 8:
        if (c.code_mode == CodeMode::Bits64) return c.wiring.apic ? c.wiring.apic->cr8() : 0;
        [[fallthrough]];
    default: c.raise(i, Vec::UD);
    }
}

void write_cr8(Core& c, const Insn* i, uint64_t value) {
    if (c.code_mode != CodeMode::Bits64) c.raise(i, Vec::UD);
    if (value > 15) c.raise(i, Vec::GP, 0);
    fpu_leave(*c.fpu);
    if (c.wiring.apic) c.wiring.apic->set_cr8(static_cast<uint8_t>(value));
}

}  // namespace

void write_cr0(Core& c, const Insn* i, uint64_t value) {
    check_cr0(c, i, value);
    value = (value & 0xe005'003f) | cr0::ET;
    const uint64_t changed = value ^ c.cr0;
    if (changed & (cr0::PG | cr0::CD | cr0::NW) && pae_paging(value, c.cr4, c.efer)) reload_pdptes(c, i, c.cr3);
    c.cr0 = value;
    if (changed & cr0::PG && c.efer & cpu::efer::LME)
        c.efer = value & cr0::PG ? c.efer | cpu::efer::LMA : c.efer & ~cpu::efer::LMA;
    if (changed & kCr0Paging) c.tlb_flush_all();
    c.update_mode();
}

void write_cr3(Core& c, const Insn* i, uint64_t value) {
    const bool pcids = c.cr4 & cr4::PCIDE;
    const auto keep = pcids && value >> 63 ? Core::TlbKeep::Yes : Core::TlbKeep::No;
    if (pcids) value &= ~(1ull << 63);
    if (long_mode(c) && value & (c.system->physical_reserved | 0xfff0'0000'0000'0000)) c.raise(i, Vec::GP, 0);
    if (!long_mode(c) && pae_paging(c.cr0, c.cr4, c.efer)) reload_pdptes(c, i, value);
    const auto from = static_cast<unsigned>(c.cr3 & 0xfff);
    c.cr3 = value;
    if (pcids) c.switch_pcid(from, static_cast<unsigned>(value & 0xfff), keep);
    else c.tlb_flush_nonglobal();
}

void write_cr4(Core& c, const Insn* i, uint64_t value) {
    const uint64_t changed = value ^ c.cr4;
    bool bad = value & ~c.system->cr4_allowed;
    if (long_mode(c)) bad |= !(value & cr4::PAE);
    if (value & changed & cr4::PCIDE) bad |= !long_mode(c) || c.cr3 & 0xfff;
    if (bad) c.raise(i, Vec::GP, 0);
    if (changed & (cr4::PAE | cr4::PGE | cr4::PSE | cr4::SMEP) && pae_paging(c.cr0, value, c.efer)) reload_pdptes(c, i, c.cr3);
    if (changed & kCr4Paging) {
        c.cr4 = value;
        c.tlb_flush_all();
    }
    c.cr4 = value;
    c.update_mode();
}

bool write_efer(Core& c, uint64_t value) {
    value &= ~cpu::efer::LMA;
    if (value & ~c.system->efer_allowed) return false;
    if ((value ^ c.efer) & cpu::efer::LME && c.cr0 & cr0::PG) return false;
    const uint64_t changed = value ^ c.efer;
    c.efer = value | (c.efer & cpu::efer::LMA);
    if (changed & cpu::efer::NXE) c.tlb_flush_all();
    return true;
}

bool write_xcr0(Core& c, uint64_t value) {
    if (value & ~c.wiring.model.supported_xcr0() || !(value & cpu::kXcr0X87)) return false;
    if (value & cpu::kXcr0Avx && !(value & cpu::kXcr0Sse)) return false;
    c.xcr0 = value;
    return true;
}

namespace op {

void mov_from_cr(Core& c, const Insn* i) {
    need_cpl0(c, i);
    c.gpr[i->rm] = opsize_value(c, read_cr(c, i, i->reg));
    return next(c, i);
}

void mov_to_cr(Core& c, const Insn* i) {
    const uint64_t value = opsize_value(c, c.gpr[i->rm]);
    if (i->reg == 1 || (i->reg > 4 && i->reg != 8)) c.raise(i, Vec::UD);
    need_cpl0(c, i);
    switch (i->reg) {
    case 0: write_cr0(c, i, value); break;
    case 2: c.cr2 = value; break;
    case 3: write_cr3(c, i, value); break;
    case 4: write_cr4(c, i, value); break;
    default: write_cr8(c, i, value);
    }
    c.rip = c.next_rip(i);
}

void lmsw(Core& c, const Insn* i) {
    need_cpl0(c, i);
    const uint64_t value = i->mem ? c.load<uint16_t>(i, c.address(i, 2, Acc::Read)) : c.gpr[i->rm];
    const uint64_t low = (value & 0xf) | (c.cr0 & cr0::PE);  // LMSW cannot clear PE
    write_cr0(c, i, (c.cr0 & ~0xfull) | low);
    c.rip = c.next_rip(i);
}

void clts(Core& c, const Insn* i) {
    need_cpl0(c, i);
    c.cr0 &= ~cr0::TS;
    return next(c, i);
}

void invlpg(Core& c, const Insn* i) {
    need_cpl0(c, i);
    uint64_t linear = c.effective(i);
    if (i->flat)
        linear = c.address(i, 1, Acc::Read);
    else if (c.code_mode != CodeMode::Bits64 || i->seg >= cpu::FS)
        linear += c.seg[i->seg].base;
    if (c.code_mode == CodeMode::Bits64 ? canonical(linear) : true) c.tlb_flush_page(opsize_value(c, linear));
    c.rip = c.next_rip(i);
}

/// One PCID's entries: a page's, or all that are not global.
void invalidate_pcid(Core& c, unsigned pcid, const uint64_t* page) {
    if (!(c.cr4 & cr4::PCIDE) || pcid == (c.cr3 & 0xfff)) return page ? c.tlb_flush_page(*page) : c.tlb_flush_nonglobal();
    c.tlb_forget_pcid(pcid);
}

/// SDM vol. 2, INVPCID.
void invpcid(Core& c, const Insn* i) {
    if (!c.wiring.model.has(cpu::Feature::INVPCID) || !i->mem) c.raise(i, Vec::UD);
    need_cpl0(c, i);
    uint64_t descriptor[2];
    c.load_slow(i, c.address(i, 16, Acc::Read), descriptor, 16);
    const uint64_t type = opsize_value(c, c.gpr[i->reg]);
    const uint64_t pcid = descriptor[0];
    bool bad = type > 3 || pcid >> 12;
    if (type <= 1) bad |= pcid && !(c.cr4 & cr4::PCIDE);
    if (type == 0) bad |= !canonical(descriptor[1]);
    if (bad) c.raise(i, Vec::GP, 0);
    switch (type) {
    case 0: invalidate_pcid(c, static_cast<unsigned>(pcid), &descriptor[1]); break;
    case 1: invalidate_pcid(c, static_cast<unsigned>(pcid), nullptr); break;
    case 3:
        c.tlb_forget_other_pcids();
        c.tlb_flush_nonglobal();
        break;
    default: c.tlb_flush_all();
    }
    c.rip = c.next_rip(i);
}

/// INVD, WBINVD: guest memory is coherent.
void cache_control(Core& c, const Insn* i) {
    need_cpl0(c, i);
    return next(c, i);
}

void xgetbv(Core& c, const Insn* i) {
    if (!(c.cr4 & cr4::OSXSAVE)) c.raise(i, Vec::UD);
    if (static_cast<uint32_t>(c.gpr[cpu::RCX]) != 0) c.raise(i, Vec::GP, 0);
    c.gpr[cpu::RAX] = static_cast<uint32_t>(c.xcr0);
    c.gpr[cpu::RDX] = c.xcr0 >> 32;
    return next(c, i);
}

void xsetbv(Core& c, const Insn* i) {
    if (!(c.cr4 & cr4::OSXSAVE)) c.raise(i, Vec::UD);
    need_cpl0(c, i);
    const uint64_t value = c.gpr[cpu::RDX] << 32 | static_cast<uint32_t>(c.gpr[cpu::RAX]);
    if (static_cast<uint32_t>(c.gpr[cpu::RCX]) != 0 || !write_xcr0(c, value)) c.raise(i, Vec::GP, 0);
    c.rip = c.next_rip(i);
}

}  // namespace op

}  // namespace yado::cpu_interp
