#include "cpu_kvm/convert.h"

#include <cstring>

#include "base/bytes.h"

namespace yado::cpu_kvm {
namespace {

using namespace cpu;

kvm_segment to_kvm_segment(const Segment& s) {
    kvm_segment k{};
    k.base = s.base;
    k.limit = s.limit;
    k.selector = s.selector;
    k.type = s.attr & 0xf;
    k.s = s.attr >> 4 & 1;
    k.dpl = s.attr >> 5 & 3;
    k.present = s.attr >> 7 & 1;
    k.avl = s.attr >> 12 & 1;
    k.l = s.attr >> 13 & 1;
    k.db = s.attr >> 14 & 1;
    k.g = s.attr >> 15 & 1;
    k.unusable = s.attr >> 16 & 1;
    return k;
}

Segment from_kvm_segment(const kvm_segment& k) {
    Segment s;
    s.base = k.base;
    s.limit = k.limit;
    s.selector = k.selector;
    s.attr = (k.type & 0xfu) | (k.s & 1u) << 4 | (k.dpl & 3u) << 5 | (k.present & 1u) << 7 | (k.avl & 1u) << 12 |
             (k.l & 1u) << 13 | (k.db & 1u) << 14 | (k.g & 1u) << 15 | (k.unusable & 1u) << 16;
    return s;
}

kvm_dtable to_kvm_table(const TableRegister& t) { return {.base = t.base, .limit = t.limit, .padding = {}}; }
TableRegister from_kvm_table(const kvm_dtable& t) { return {.limit = t.limit, .base = t.base}; }

constexpr size_t kXstateBv = 512, kFxReserved = 464, kFxReservedSize = 48;
constexpr uint64_t kKept = kXcr0X87 | kXcr0Sse | kXcr0Avx;
constexpr uint64_t kX2apicMode = 1u << 10;
constexpr size_t kApicId = 2;  // index of the ID register

}  // namespace

kvm_regs to_kvm_regs(const CpuState& s) {
    const auto& g = s.gpr;
    return {.rax = g[RAX], .rbx = g[RBX], .rcx = g[RCX], .rdx = g[RDX], .rsi = g[RSI], .rdi = g[RDI], .rsp = g[RSP], .rbp = g[RBP],
            .r8 = g[R8], .r9 = g[R9], .r10 = g[R10], .r11 = g[R11], .r12 = g[R12], .r13 = g[R13], .r14 = g[R14], .r15 = g[R15],
            .rip = s.rip, .rflags = s.rflags};
}

void from_kvm(const kvm_regs& r, CpuState& s) {
    s.gpr = {r.rax, r.rcx, r.rdx, r.rbx, r.rsp, r.rbp, r.rsi, r.rdi, r.r8, r.r9, r.r10, r.r11, r.r12, r.r13, r.r14, r.r15};
    s.rip = r.rip;
    s.rflags = r.rflags;
}

void to_kvm(const CpuState& s, kvm_sregs& r) {
    kvm_segment* const out[] = {&r.es, &r.cs, &r.ss, &r.ds, &r.fs, &r.gs};
    for (size_t i = 0; i < 6; ++i) *out[i] = to_kvm_segment(s.seg[i]);
    r.tr = to_kvm_segment(s.tr);
    r.ldt = to_kvm_segment(s.ldtr);
    r.gdt = to_kvm_table(s.gdtr);
    r.idt = to_kvm_table(s.idtr);
    r.cr0 = s.cr0;
    r.cr2 = s.cr2;
    r.cr3 = s.cr3;
    r.cr4 = s.cr4;
    r.efer = s.efer;
}

void from_kvm(const kvm_sregs& r, CpuState& s) {
    const kvm_segment* const in[] = {&r.es, &r.cs, &r.ss, &r.ds, &r.fs, &r.gs};
    for (size_t i = 0; i < 6; ++i) s.seg[i] = from_kvm_segment(*in[i]);
    s.tr = from_kvm_segment(r.tr);
    s.ldtr = from_kvm_segment(r.ldt);
    s.gdtr = from_kvm_table(r.gdt);
    s.idtr = from_kvm_table(r.idt);
    s.cr0 = r.cr0;
    s.cr2 = r.cr2;
    s.cr3 = r.cr3;
    s.cr4 = r.cr4;
    s.efer = r.efer;
}

void to_kvm(const CpuState& s, kvm_debugregs& r) {
    for (size_t i = 0; i < 4; ++i) r.db[i] = s.dr[i];
    r.dr6 = s.dr6;
    r.dr7 = s.dr7;
}

void from_kvm(const kvm_debugregs& r, CpuState& s) {
    for (size_t i = 0; i < 4; ++i) s.dr[i] = r.db[i];
    s.dr6 = r.dr6;
    s.dr7 = r.dr7;
}

kvm_xsave to_kvm_xsave(const CpuState& s) {
    kvm_xsave x{};
    auto* bytes = reinterpret_cast<uint8_t*>(x.region);
    std::memcpy(bytes, s.xsave.bytes.data(), s.xsave.bytes.size());
    store_le<uint64_t>(bytes + kXstateBv, load_le<uint64_t>(bytes + kXstateBv) & kKept);
    std::memset(bytes + kXstateBv + 8, 0, 56);
    return x;
}

void from_kvm(const kvm_xsave& x, CpuState& s) {
    auto& bytes = s.xsave.bytes;
    std::memcpy(bytes.data(), x.region, bytes.size());
    std::memset(&bytes[kFxReserved], 0, kFxReservedSize);  // software-usable bytes of the image: KVM keeps a mask there
    store_le<uint64_t>(&bytes[kXstateBv], load_le<uint64_t>(&bytes[kXstateBv]) & kKept);
    std::memset(&bytes[kXstateBv + 8], 0, 56);
}

kvm_vcpu_events to_kvm_events(const CpuState& s) {
    using Kind = PendingEvent::Kind;
    kvm_vcpu_events e{};
    e.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
    e.interrupt.shadow = (s.mov_ss_shadow ? KVM_X86_SHADOW_INT_MOV_SS : 0) | (s.sti_shadow ? KVM_X86_SHADOW_INT_STI : 0);
    e.nmi.masked = s.nmi_blocked;
    e.nmi.pending = s.lapic && s.lapic->nmi_pending;
    switch (s.pending.kind) {
    case Kind::None: break;
    case Kind::Nmi: e.nmi.injected = 1; break;
    case Kind::Exception:
        e.exception.injected = 1;
        e.exception.nr = s.pending.vector;
        e.exception.has_error_code = s.pending.error_code.has_value();
        e.exception.error_code = s.pending.error_code.value_or(0);
        break;
    case Kind::ExternalInterrupt:
    case Kind::SoftwareInterrupt:
        e.interrupt.injected = 1;
        e.interrupt.nr = s.pending.vector;
        e.interrupt.soft = s.pending.kind == Kind::SoftwareInterrupt;
        break;
    }
    return e;
}

void from_kvm(const kvm_vcpu_events& e, CpuState& s) {
    using Kind = PendingEvent::Kind;
    s.sti_shadow = e.interrupt.shadow & KVM_X86_SHADOW_INT_STI;
    s.mov_ss_shadow = e.interrupt.shadow & KVM_X86_SHADOW_INT_MOV_SS;
    s.nmi_blocked = e.nmi.masked;
    if (s.lapic) s.lapic->nmi_pending = e.nmi.pending;
    s.pending = {};
    if (e.exception.injected || e.exception.pending) {
        s.pending = {Kind::Exception, e.exception.nr, {}};
        if (e.exception.has_error_code) s.pending.error_code = e.exception.error_code;
    } else if (e.nmi.injected) {
        s.pending = {Kind::Nmi, 2, {}};
    } else if (e.interrupt.injected) {
        s.pending = {e.interrupt.soft ? Kind::SoftwareInterrupt : Kind::ExternalInterrupt, e.interrupt.nr, {}};
    }
}

kvm_mp_state to_kvm_activity(Activity a) {
    switch (a) {
    case Activity::Running: return {KVM_MP_STATE_RUNNABLE};
    case Activity::Halted: return {KVM_MP_STATE_HALTED};
    case Activity::WaitForSipi: break;
    }
    return {KVM_MP_STATE_INIT_RECEIVED};
}

Activity from_kvm(const kvm_mp_state& m) {
    switch (m.mp_state) {
    case KVM_MP_STATE_HALTED: return Activity::Halted;
    case KVM_MP_STATE_UNINITIALIZED:
    case KVM_MP_STATE_INIT_RECEIVED:
    case KVM_MP_STATE_SIPI_RECEIVED: return Activity::WaitForSipi;
    default: return Activity::Running;
    }
}

kvm_lapic_state to_kvm_lapic(const LapicState& l, uint32_t apic_id) {
    kvm_lapic_state r{};
    for (size_t i = 0; i < l.regs.size(); ++i) store_le<uint32_t>(&r.regs[16 * i], l.regs[i]);
    if (l.apic_base & kX2apicMode) store_le<uint32_t>(&r.regs[16 * kApicId], apic_id);
    return r;
}

void from_kvm(const kvm_lapic_state& r, LapicState& l) {
    for (size_t i = 0; i < l.regs.size(); ++i) l.regs[i] = load_le<uint32_t>(&r.regs[16 * i]);
    if (l.apic_base & kX2apicMode) l.regs[kApicId] <<= 24;
}

}  // namespace yado::cpu_kvm
