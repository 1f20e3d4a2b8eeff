#include "cpu_kvm/system.h"

#include <cpuid.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/kvm.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "cpu_kvm/listed.h"

namespace yado::cpu_kvm {
namespace {

struct Need {
    int capability;
    const char* name;
};
constexpr Need kNeeds[] = {
    {KVM_CAP_USER_MEMORY, "user memory"},      {KVM_CAP_SPLIT_IRQCHIP, "a split irqchip"},
    {KVM_CAP_IMMEDIATE_EXIT, "immediate exit"}, {KVM_CAP_SIGNAL_MSI, "message-signalled interrupts"},
    {KVM_CAP_READONLY_MEM, "read-only memory"}, {KVM_CAP_XSAVE, "XSAVE state"},
    {KVM_CAP_VCPU_EVENTS, "vCPU events"},       {KVM_CAP_IOEVENTFD, "ioeventfd"},
    {KVM_CAP_IRQ_ROUTING, "interrupt routing"}, {KVM_CAP_IRQFD, "irqfd"},
    {KVM_CAP_ADJUST_CLOCK, "a clock that can be set"},
};

std::unexpected<Error> open_failed(const char* path) {
    const int number = errno;
    if (number == ENOENT)
        return fail(ErrorKind::NotFound,
                    "{}: not there; enable virtualization in the firmware and load kvm_intel or kvm_amd, or use --engine bt", path);
    if (number != EACCES && number != EPERM) return std::unexpected(errno_error(number, path));
    struct stat st{};
    const group* owner = stat(path, &st) == 0 ? getgrgid(st.st_gid) : nullptr;
    const std::string name = owner ? owner->gr_name : "kvm";
    return fail(ErrorKind::Denied,
                "{}: no permission; it is for group {} (`sudo usermod -aG {} $USER`, then log in again), or use --engine bt", path,
                name, name);
}

using Supported = Listed<kvm_cpuid2, kvm_cpuid_entry2, 256>;

Result<std::unique_ptr<Supported>> supported_cpuid(int kvm) {
    auto s = std::make_unique<Supported>();
    s->count = 256;
    if (kvm_ioctl(kvm, listed_request(KVM_GET_SUPPORTED_CPUID), s->head()) < 0) return fail_errno("/dev/kvm: KVM_GET_SUPPORTED_CPUID");
    return s;
}

cpu::CpuidResult find(const Supported& s, uint32_t leaf, uint32_t subleaf) {
    for (uint32_t i = 0; i < s.count && i < s.entries.size(); ++i) {
        const kvm_cpuid_entry2& e = s.entries[i];
        if (e.function == leaf && (!(e.flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || e.index == subleaf))
            return {e.eax, e.ebx, e.ecx, e.edx};
    }
    return {};
}

bool has_deadline_timer(int kvm) { return kvm_ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0; }

/// What we may show in a leaf: KVM's answer, and what it leaves to us (topology, the deadline timer).
cpu::CpuidResult allowed(int kvm, const Supported& s, uint32_t leaf, uint32_t subleaf) {
    cpu::CpuidResult r = find(s, leaf, subleaf);
    if (leaf == 1) {
        r.eax = r.ebx = ~0u;
        r.ecx |= 1u << 31 | 1u << 21 | (has_deadline_timer(kvm) ? 1u << 24 : 0);
        r.edx |= 1u << 28;
    }
    if (leaf == 0x80000001) r.eax = r.ebx = ~0u, r.ecx |= 1u << 1 | 1u << 22;
    if (leaf == 0x80000008) r.eax = r.ecx = r.edx = ~0u;
    return r;
}

bool holds_features(uint32_t leaf) {
    return leaf == 1 || leaf == 7 || leaf == 0x40000001 || leaf == 0x80000001 || leaf == 0x80000007 || leaf == 0x80000008 ||
           leaf == 0x80000021;
}

}  // namespace

Result<Fd> open_kvm(const char* path) {
    Fd kvm(::open(path, O_RDWR | O_CLOEXEC));
    if (!kvm) return open_failed(path);
    const int version = kvm_ioctl(kvm.get(), KVM_GET_API_VERSION, 0);
    if (version != KVM_API_VERSION) return fail(ErrorKind::Failed, "{}: not KVM (API version {}); use --engine bt", path, version);
    for (const Need& need : kNeeds)
        if (kvm_ioctl(kvm.get(), KVM_CHECK_EXTENSION, need.capability) <= 0)
            return fail(ErrorKind::Failed, "{}: this kernel's KVM lacks {}; use --engine bt", path, need.name);
    return kvm;
}

Result<cpu::FeatureSet> supported_features() {
    const Fd kvm = YADO_TRY(open_kvm());
    const auto supported = YADO_TRY(supported_cpuid(kvm.get()));
    cpu::FeatureSet set = 0;
    for (unsigned i = 0; i < static_cast<unsigned>(cpu::Feature::Count); ++i) {
        const cpu::FeatureBit& f = cpu::feature_bit(static_cast<cpu::Feature>(i));
        cpu::CpuidResult r = allowed(kvm.get(), *supported, f.leaf, 0);
        if (cpu::pick(r, f.reg) >> f.bit & 1) set |= cpu::feature_set({f.feature});
    }
    return set;
}

namespace {

/// What a guest's page tables may hold here (memory encryption and nested paging may take some of the processor's bits),
/// and not more than where we know our own way around: a guest moves more easily with fewer.
unsigned physical_address_bits() {
    constexpr unsigned kMost = 46, kLeast = 36;
    uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
    __get_cpuid(0x80000008, &eax, &ebx, &ecx, &edx);
    if (const auto kvm = open_kvm())
        if (const auto supported = supported_cpuid(kvm->get())) eax = find(**supported, 0x80000008, 0).eax;
    return std::clamp(eax & 0xff, kLeast, kMost);
}

}  // namespace

cpu::Identity host_identity() {
    uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
    __get_cpuid(0, &eax, &ebx, &ecx, &edx);
    const bool amd = ebx == signature_AMD_ebx || ebx == 0x6f677948;  // AuthenticAMD, HygonGenuine
    __get_cpuid(1, &eax, &ebx, &ecx, &edx);
    return {amd ? cpu::Vendor::Amd : cpu::Vendor::Intel, eax, physical_address_bits()};
}

Result<std::vector<cpu::CpuidEntry>> masked_table(int kvm, const cpu::CpuModel& model, uint32_t vcpu_index) {
    const auto supported = YADO_TRY(supported_cpuid(kvm));
    std::vector<cpu::CpuidEntry> table = model.table(vcpu_index);
    for (cpu::CpuidEntry& e : table) {
        if (!holds_features(e.leaf)) continue;
        const cpu::CpuidResult a = allowed(kvm, *supported, e.leaf, e.subleaf);
        e.result = {e.result.eax & a.eax, e.result.ebx & a.ebx, e.result.ecx & a.ecx, e.result.edx & a.edx};
    }
    return table;
}

}  // namespace yado::cpu_kvm
