// Making a vCPU, and its state out and in.
#include "cpu_kvm/vcpu.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "cpu_kvm/convert.h"
#include "cpu_kvm/listed.h"
#include "cpu_kvm/system.h"

namespace yado::cpu_kvm {

using namespace cpu;

namespace {

/// MSRs that may be part of the state; a vCPU keeps those that its KVM has. MTRRs and the TSC deadline are added below.
constexpr uint32_t kCandidates[] = {
    msr::IA32_TSC_ADJUST, msr::IA32_SPEC_CTRL, msr::IA32_BIOS_SIGN_ID, msr::MSR_PLATFORM_INFO, msr::IA32_SYSENTER_CS,
    msr::IA32_SYSENTER_ESP, msr::IA32_SYSENTER_EIP, msr::IA32_MCG_STATUS, msr::IA32_MISC_ENABLE, msr::IA32_PAT,
    msr::IA32_MTRR_DEF_TYPE, msr::IA32_STAR, msr::IA32_LSTAR, msr::IA32_CSTAR, msr::IA32_FMASK, msr::IA32_KERNEL_GS_BASE,
    msr::IA32_TSC_AUX, msr::MSR_KVM_WALL_CLOCK_NEW, msr::MSR_KVM_SYSTEM_TIME_NEW, msr::MSR_KVM_ASYNC_PF_EN,
    msr::MSR_KVM_STEAL_TIME, msr::MSR_KVM_PV_EOI_EN, msr::MSR_KVM_POLL_CONTROL, msr::IA32_TSC,
    0x140,       // MISC_FEATURES_ENABLES
    0xc0010015,  // AMD HWCR
    0xc0011029,  // AMD DE_CFG
};
constexpr uint32_t kFixedMtrrs[] = {0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f};
constexpr uint32_t kVariableMtrrs = 16;

using MsrBatch = Listed<kvm_msrs, kvm_msr_entry, 96>;
using CpuidBatch = Listed<kvm_cpuid2, kvm_cpuid_entry2, 80>;

void add(MsrBatch& batch, uint32_t index, uint64_t value = 0) { batch.add({.index = index, .reserved = 0, .data = value}); }

std::vector<uint32_t> candidates() {
    std::vector<uint32_t> list(std::begin(kFixedMtrrs), std::end(kFixedMtrrs));
    for (uint32_t i = 0; i < kVariableMtrrs; ++i) list.push_back(msr::IA32_MTRR_PHYSBASE0 + i);
    list.insert(list.end(), std::begin(kCandidates), std::end(kCandidates));
    return list;  // IA32_TSC last: little time passes between writing it and running
}

}  // namespace

template <typename T>
Result<> KvmVcpu::call(unsigned long request, T* argument, const char* what) {
    if (kvm_ioctl(fd_.get(), request, argument) >= 0) return {};
    return fail(ErrorKind::Corrupt, "KVM refuses vCPU {}'s {}: {}", wiring_.index, what, strerror(errno));
}

Result<std::unique_ptr<KvmVcpu>> KvmVcpu::create(const VcpuWiring& wiring, Machine& machine) {
    Fd fd(kvm_ioctl(machine.vm.get(), KVM_CREATE_VCPU, static_cast<unsigned long>(wiring.index)));
    if (!fd) return fail_errno(fmt::format("KVM: vCPU {}", wiring.index));
    const int size = kvm_ioctl(machine.kvm.get(), KVM_GET_VCPU_MMAP_SIZE, 0);
    if (size < static_cast<int>(sizeof(kvm_run))) return fail(ErrorKind::Failed, "KVM: vCPU area of {} bytes", size);
    void* run = mmap(nullptr, static_cast<size_t>(size), PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
    if (run == MAP_FAILED) return fail_errno("KVM: vCPU area");
    std::unique_ptr<KvmVcpu> vcpu(new KvmVcpu(wiring, machine, std::move(fd), static_cast<kvm_run*>(run), static_cast<size_t>(size)));
    YADO_TRY(vcpu->set_up());
    return vcpu;
}

KvmVcpu::KvmVcpu(const VcpuWiring& wiring, Machine& machine, Fd fd, kvm_run* run, size_t run_size)
    : wiring_(wiring), machine_(machine), fd_(std::move(fd)), run_(run), run_size_(run_size) {}

KvmVcpu::~KvmVcpu() { munmap(run_, run_size_); }

Result<> KvmVcpu::set_up() {
    YADO_TRY(set_up_cpuid());
    if (machine_.msrs.empty()) find_msrs();
    if (const uint64_t wanted = wiring_.model.arch_capabilities()) {  // what the host really is immune to
        MsrBatch batch;
        add(batch, msr::IA32_ARCH_CAPABILITIES);
        if (kvm_ioctl(machine_.kvm.get(), listed_request(KVM_GET_MSRS), batch.head()) == 1) {
            batch.entries[0].data &= wanted;
            kvm_ioctl(fd_.get(), listed_request(KVM_SET_MSRS), batch.head());
        }
    }
    // A frequency other than the host's needs hardware scaling; where it is missing, the model's CPUID already tells the
    // host's frequency (Engine::tsc_hz).
    kvm_ioctl(fd_.get(), KVM_SET_TSC_KHZ, static_cast<unsigned long>(wiring_.guest_tsc_hz / 1000));
    return {};
}

Result<> KvmVcpu::set_up_cpuid() {
    const auto table = YADO_TRY(masked_table(machine_.kvm.get(), wiring_.model, wiring_.index));
    CpuidBatch batch;
    if (table.size() > batch.entries.size()) return fail(ErrorKind::Failed, "KVM: {} CPUID entries", table.size());
    for (const CpuidEntry& e : table) {
        kvm_cpuid_entry2 k{};
        k.function = e.leaf;
        k.index = e.subleaf;
        k.flags = e.subleaf_significant ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0;
        k.eax = e.result.eax;
        k.ebx = e.result.ebx;
        k.ecx = e.result.ecx;
        k.edx = e.result.edx;
        batch.add(k);
    }
    return call(listed_request(KVM_SET_CPUID2), batch.head(), "CPUID table");
}

/// KVM_GET_MSRS stops at the first MSR that it does not have: skip that one and go on.
void KvmVcpu::find_msrs() {
    for (std::vector<uint32_t> left = candidates(); !left.empty();) {
        MsrBatch batch;
        for (const uint32_t index : left) add(batch, index);
        const auto n = static_cast<size_t>(std::max(kvm_ioctl(fd_.get(), listed_request(KVM_GET_MSRS), batch.head()), 0));
        machine_.msrs.insert(machine_.msrs.end(), left.begin(), left.begin() + static_cast<ptrdiff_t>(n));
        left.erase(left.begin(), left.begin() + static_cast<ptrdiff_t>(std::min(n + 1, left.size())));
    }
}

Result<> KvmVcpu::get_msrs(CpuState& s) {
    MsrBatch batch;
    for (const uint32_t index : machine_.msrs) add(batch, index);
    const int n = kvm_ioctl(fd_.get(), listed_request(KVM_GET_MSRS), batch.head());
    if (n != static_cast<int>(batch.count)) return fail(ErrorKind::Failed, "KVM: only {} of {} MSRs can be read", n, machine_.msrs.size());
    for (uint32_t i = 0; i < batch.count; ++i) s.msrs[batch.entries[i].index] = batch.entries[i].data;
    return {};
}

Result<CpuState> KvmVcpu::get_state() {
    CpuState s;
    kvm_mp_state activity{};
    kvm_regs regs{};
    kvm_sregs sregs{};
    kvm_xsave xsave{};
    kvm_xcrs xcrs{};
    kvm_debugregs debug{};
    kvm_lapic_state lapic{};
    kvm_vcpu_events events{};
    YADO_TRY(call(KVM_GET_MP_STATE, &activity, "activity"));  // first: it takes in INIT and SIPI
    YADO_TRY(call(KVM_GET_REGS, &regs, "registers"));
    YADO_TRY(call(KVM_GET_SREGS, &sregs, "system registers"));
    YADO_TRY(call(xsave_request(KVM_GET_XSAVE), &xsave, "FPU state"));
    YADO_TRY(call(KVM_GET_DEBUGREGS, &debug, "debug registers"));
    YADO_TRY(call(KVM_GET_LAPIC, &lapic, "local APIC"));
    YADO_TRY(call(KVM_GET_VCPU_EVENTS, &events, "events"));
    YADO_TRY(get_msrs(s));
    from_kvm(regs, s);
    from_kvm(sregs, s);
    from_kvm(xsave, s);
    from_kvm(debug, s);
    if (kvm_ioctl(fd_.get(), KVM_GET_XCRS, &xcrs) >= 0 && xcrs.nr_xcrs > 0) s.xcr0 = xcrs.xcrs[0].value;
    s.activity = from_kvm(activity);
    s.lapic.emplace();
    s.lapic->apic_base = sregs.apic_base;
    from_kvm(lapic, *s.lapic);
    from_kvm(events, s);
    MsrBatch deadline;
    add(deadline, msr::IA32_TSC_DEADLINE);
    if (kvm_ioctl(fd_.get(), listed_request(KVM_GET_MSRS), deadline.head()) == 1) s.lapic->tsc_deadline = deadline.entries[0].data;
    if (handed_ && s.pending.kind == PendingEvent::Kind::None && s.rip == handed_->rip)
        s.pending = {PendingEvent::Kind::ExternalInterrupt, handed_->vector, {}};
    return s;
}

Result<> KvmVcpu::set_state(const CpuState& state) {
    const CpuState before = YADO_TRY(get_state());
    io_unfinished_ = false;
    handed_.reset();
    if (auto r = apply(state); !r) {
        (void)apply(before);
        return r;
    }
    return {};
}

Result<> KvmVcpu::apply(const CpuState& s) {
    kvm_sregs sregs{};
    YADO_TRY(call(KVM_GET_SREGS, &sregs, "system registers"));
    to_kvm(s, sregs);
    sregs.interrupt_bitmap[0] = sregs.interrupt_bitmap[1] = sregs.interrupt_bitmap[2] = sregs.interrupt_bitmap[3] = 0;
    if (s.lapic) sregs.apic_base = s.lapic->apic_base;
    YADO_TRY(call(KVM_SET_SREGS, &sregs, "system registers"));
    kvm_regs regs = to_kvm_regs(s);
    YADO_TRY(call(KVM_SET_REGS, &regs, "registers"));
    kvm_xcrs xcrs{.nr_xcrs = 1, .flags = 0, .xcrs = {{.xcr = 0, .reserved = 0, .value = s.xcr0}}, .padding = {}};
    if (kvm_ioctl(fd_.get(), KVM_SET_XCRS, &xcrs) < 0 && s.xcr0 != kXcr0X87)
        return fail(ErrorKind::Corrupt, "KVM refuses XCR0 = {:#x}", s.xcr0);
    kvm_xsave xsave = to_kvm_xsave(s);
    YADO_TRY(call(xsave_request(KVM_SET_XSAVE), &xsave, "FPU state"));
    kvm_debugregs debug{};
    to_kvm(s, debug);
    YADO_TRY(call(KVM_SET_DEBUGREGS, &debug, "debug registers"));
    YADO_TRY(apply_msrs(s));
    YADO_TRY(apply_lapic(s));
    kvm_mp_state activity = to_kvm_activity(s.activity);
    YADO_TRY(call(KVM_SET_MP_STATE, &activity, "activity"));
    kvm_vcpu_events events = to_kvm_events(s);
    if (!s.lapic) events.flags &= ~KVM_VCPUEVENT_VALID_NMI_PENDING;
    return call(KVM_SET_VCPU_EVENTS, &events, "events");
}

Result<> KvmVcpu::apply_lapic(const CpuState& s) {
    if (!s.lapic) return {};
    kvm_lapic_state lapic = to_kvm_lapic(*s.lapic, wiring_.index);
    YADO_TRY(call(KVM_SET_LAPIC, &lapic, "local APIC"));
    MsrBatch deadline;
    add(deadline, msr::IA32_TSC_DEADLINE, s.lapic->tsc_deadline);
    if (kvm_ioctl(fd_.get(), listed_request(KVM_SET_MSRS), deadline.head()) != 1 && s.lapic->tsc_deadline)
        return fail(ErrorKind::Corrupt, "KVM refuses the TSC deadline");
    return {};
}

/// MSRs that this KVM does not have are left out: an engine's own (kvmclock's neighbours) may be among them.
Result<> KvmVcpu::apply_msrs(const CpuState& s) {
    MsrBatch batch;
    for (const uint32_t index : machine_.msrs)
        if (const auto it = s.msrs.find(index); it != s.msrs.end()) add(batch, index, it->second);
        else if (index == msr::MSR_KVM_SYSTEM_TIME_NEW) add(batch, index);  // else KVM writes into what follows a reset
    const int n = kvm_ioctl(fd_.get(), listed_request(KVM_SET_MSRS), batch.head());
    if (n == static_cast<int>(batch.count)) return {};
    const kvm_msr_entry& refused = batch.entries[static_cast<size_t>(std::max(n, 0))];
    return fail(ErrorKind::Corrupt, "KVM refuses vCPU {}'s MSR {:#x} = {:#x}", wiring_.index, uint32_t{refused.index}, uint64_t{refused.data});
}

}  // namespace yado::cpu_kvm
