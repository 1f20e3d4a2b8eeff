// A VM of 2 MiB with one vCPU in 64-bit mode and no irqchip: HLT ends a run. A repeating timer bounds every run.
#include "cpu_kvm/probe.h"

#include <fmt/core.h>
#include <linux/kvm.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <optional>
#include <span>

#include "cpu/state.h"
#include "cpu_kvm/listed.h"
#include "cpu_kvm/system.h"
#include "cpu_kvm/vcpu.h"

namespace yado::cpu_kvm {
namespace {

using namespace std::chrono_literals;

constexpr uint64_t kRam = 2 << 20;
constexpr uint64_t kCode = 0x1000, kHandler = 0x1800, kPml4 = 0x2000, kPdpt = 0x3000, kPd = 0x4000, kGdt = 0x6000, kIdt = 0x7000,
                   kData = 0x8000, kStackTop = 0xa000;

/// Signals this thread again and again, so that no signal that came before KVM_RUN is missed.
class Alarm {
  public:
    explicit Alarm(std::chrono::milliseconds every) {
        install_kick_signal();
        sigevent event{};
        event.sigev_notify = SIGEV_THREAD_ID;
        event.sigev_signo = kick_signal();
        event._sigev_un._tid = gettid();
        armed_ = timer_create(CLOCK_MONOTONIC, &event, &timer_) == 0;
        const timespec t{0, std::chrono::nanoseconds(every).count()};
        const itimerspec spec{t, t};
        if (armed_) timer_settime(timer_, 0, &spec, nullptr);
    }
    ~Alarm() {
        if (armed_) timer_delete(timer_);
    }
    bool armed() const { return armed_; }

  private:
    timer_t timer_{};
    bool armed_ = false;
};

/// Processor time of this thread, its guest's included: a busy host makes the guest wait, not KVM slow.
std::chrono::duration<double> thread_time() {
    timespec t{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
}

class TinyVm {
  public:
    ~TinyVm() {
        if (run_ != MAP_FAILED) munmap(run_, run_size_);
        if (ram_ != MAP_FAILED) munmap(ram_, kRam);
    }

    bool make(int kvm) {
        vm_ = Fd(kvm_ioctl(kvm, KVM_CREATE_VM, 0ul));
        ram_ = mmap(nullptr, kRam, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (!vm_ || ram_ == MAP_FAILED) return false;
        kvm_ioctl(vm_.get(), KVM_SET_TSS_ADDR, 0xfeffd000ul);
        kvm_userspace_memory_region region{0, 0, 0, kRam, reinterpret_cast<uint64_t>(ram_)};
        if (kvm_ioctl(vm_.get(), KVM_SET_USER_MEMORY_REGION, &region) < 0) return false;
        vcpu_ = Fd(kvm_ioctl(vm_.get(), KVM_CREATE_VCPU, 0ul));
        run_size_ = static_cast<size_t>(std::max(kvm_ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), 4096));
        if (!vcpu_) return false;
        run_ = mmap(nullptr, run_size_, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu_.get(), 0);
        if (run_ == MAP_FAILED) return false;
        auto cpuid = std::make_unique<Listed<kvm_cpuid2, kvm_cpuid_entry2, 256>>();
        cpuid->count = 256;
        return kvm_ioctl(kvm, listed_request(KVM_GET_SUPPORTED_CPUID), cpuid->head()) >= 0 &&
               kvm_ioctl(vcpu_.get(), listed_request(KVM_SET_CPUID2), cpuid->head()) >= 0;
    }

    /// Runs code in ring 0 until it halts or `limit` has passed. nullopt: KVM could not run it.
    struct Outcome {
        bool halted;
        kvm_regs regs;
        std::chrono::duration<double> time;  ///< of the processor
    };
    std::optional<Outcome> run(std::span<const uint8_t> code, std::chrono::milliseconds limit) {
        fill_memory(code);
        if (!set_registers()) return std::nullopt;
        const Alarm alarm(std::min(limit, 40ms));
        if (!alarm.armed()) return std::nullopt;
        const auto start = std::chrono::steady_clock::now();
        const auto cpu_before = thread_time();
        auto* run = static_cast<kvm_run*>(run_);
        bool halted = false;
        while (!halted && std::chrono::steady_clock::now() - start < limit) {
            const int r = ::ioctl(vcpu_.get(), KVM_RUN, 0);
            if (r < 0 && errno != EINTR && errno != EAGAIN) return std::nullopt;
            if (r == 0 && run->exit_reason != KVM_EXIT_HLT && run->exit_reason != KVM_EXIT_INTR) return std::nullopt;
            halted = r == 0 && run->exit_reason == KVM_EXIT_HLT;
        }
        Outcome outcome{halted, {}, thread_time() - cpu_before};
        if (kvm_ioctl(vcpu_.get(), KVM_GET_REGS, &outcome.regs) < 0) return std::nullopt;
        return outcome;
    }

  private:
    void put(uint64_t at, uint64_t value) { std::memcpy(static_cast<char*>(ram_) + at, &value, sizeof value); }

    void fill_memory(std::span<const uint8_t> code) {
        put(kPml4, kPdpt | 3);
        put(kPdpt, kPd | 3);
        put(kPd, 0x83);                        // 2 MiB, present, writable
        put(kGdt + 8, 0x00209b0000000000);     // 64-bit code
        put(kIdt + 16 * 3, (kHandler & 0xffff) | 8u << 16 | 0x8e00ull << 32);  // vector 3: interrupt gate
        static constexpr uint8_t kHandlerCode[] = {0xb8, 0x33, 0, 0, 0, 0xf4};  // mov eax,33h; hlt
        std::memcpy(static_cast<char*>(ram_) + kHandler, kHandlerCode, sizeof kHandlerCode);
        std::memcpy(static_cast<char*>(ram_) + kCode, code.data(), code.size());
    }

    bool set_registers() {
        kvm_sregs s{};
        if (kvm_ioctl(vcpu_.get(), KVM_GET_SREGS, &s) < 0) return false;
        s.cr0 = cpu::cr0::PE | cpu::cr0::PG | cpu::cr0::NE | cpu::cr0::ET | cpu::cr0::WP;
        s.cr3 = kPml4;
        s.cr4 = cpu::cr4::PAE | cpu::cr4::OSFXSR | cpu::cr4::OSXSAVE;
        s.efer = cpu::efer::LME | cpu::efer::LMA;
        s.cs = {.base = 0, .limit = ~0u, .selector = 8, .type = 11, .present = 1, .dpl = 0, .db = 0, .s = 1, .l = 1, .g = 1};
        s.ss = s.ds = s.es = {.base = 0, .limit = ~0u, .selector = 16, .type = 3, .present = 1, .dpl = 0, .db = 1, .s = 1, .l = 0, .g = 1};
        s.gdt = {.base = kGdt, .limit = 15, .padding = {}};
        s.idt = {.base = kIdt, .limit = 16 * 4 - 1, .padding = {}};
        kvm_regs r{};
        r.rip = kCode;
        r.rsp = kStackTop;
        r.rsi = kData;
        r.rflags = 2;
        return kvm_ioctl(vcpu_.get(), KVM_SET_SREGS, &s) >= 0 && kvm_ioctl(vcpu_.get(), KVM_SET_REGS, &r) >= 0;
    }

    Fd vm_, vcpu_;
    void* ram_ = MAP_FAILED;
    void* run_ = MAP_FAILED;
    size_t run_size_ = 0;
};

/// Each leaves 33H in EAX and halts if the instruction works.
struct Trial {
    const char* name;
    std::vector<uint8_t> code;
};
const std::vector<Trial>& trials() {
    static const std::vector<Trial> list = {
        // lock cmpxchg16b [rsi]; mov eax,33h; hlt
        {"CMPXCHG16B", {0xf0, 0x48, 0x0f, 0xc7, 0x0e, 0xb8, 0x33, 0, 0, 0, 0xf4}},
        // mov eax,1; xor edx,edx; xsave [rsi]; mov eax,33h; hlt
        {"XSAVE", {0xb8, 1, 0, 0, 0, 0x31, 0xd2, 0x0f, 0xae, 0x26, 0xb8, 0x33, 0, 0, 0, 0xf4}},
        {"INT3", {0xcc, 0xf4}},  // the handler does the rest
    };
    return list;
}

std::string joined(const std::vector<std::string>& list) {
    std::string text;
    for (const std::string& s : list) text += (text.empty() ? "" : ", ") + s;
    return text;
}

void judge(ProbeReport& r) {
    const bool slow = r.ring0_mips < kUsableMips;
    r.usable = !slow && r.missing.empty();
    if (r.usable) {
        r.reason = fmt::format("KVM runs ring 0 at {:.0f} million instructions a second", r.ring0_mips);
        return;
    }
    r.reason = "KVM cannot run a guest kernel here: ";
    if (slow) r.reason += fmt::format("ring 0 runs at {:.1f} million instructions a second (it is emulated)", r.ring0_mips);
    if (!r.missing.empty()) r.reason += fmt::format("{}{} do{} not work", slow ? ", and " : "", joined(r.missing), r.missing.size() == 1 ? "es" : "");
}

/// Again where it looks slow: a neighbour on the host may have had the processor.
double loop_mips(TinyVm& vm) {
    static constexpr uint8_t kLoop[] = {0x48, 0xff, 0xc1, 0xeb, 0xfb};  // inc rcx; jmp back
    double best = 0;
    for (int tries = 0; tries < 3 && best < kUsableMips; ++tries)
        if (const auto outcome = vm.run(kLoop, 40ms); outcome && outcome->time.count() > 0)
            best = std::max(best, 2 * static_cast<double>(outcome->regs.rcx) / outcome->time.count() * 1e-6);
    return best;
}

}  // namespace

ProbeReport probe(const char* path) {
    ProbeReport report;
    struct stat st{};
    report.present = stat(path, &st) == 0;
    const auto kvm = open_kvm(path);
    if (!kvm) {
        report.reason = kvm.error().message();
        return report;
    }
    report.accessible = true;
    TinyVm vm;
    if (!vm.make(kvm->get())) {
        report.reason = fmt::format("KVM cannot make a small VM: {}", strerror(errno));
        return report;
    }
    report.ring0_mips = loop_mips(vm);
    for (const Trial& t : trials()) {
        const auto outcome = vm.run(t.code, 1000ms);  // what works takes microseconds, unless the host is busy
        if (!outcome || !outcome->halted || outcome->regs.rax != 0x33) report.missing.emplace_back(t.name);
    }
    judge(report);
    return report;
}

}  // namespace yado::cpu_kvm
