// What direct execution costs: each way back out of natively run guest code, changes of the mirror, and for comparison the ways that
// the prototype does not take. Prints median and minimum of batches, in microseconds of processor time of all processes that take
// part (machines are shared). Everything runs on one processor, pinned: across processors waking up costs more than all of this.
//
//   build/bin/direct_costs
#include <fmt/core.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <ctime>
#include <functional>
#include <vector>

#include "direct/space.h"

namespace yado::direct {
namespace {

constexpr uint64_t kCode = 0x40'0000, kData = 0x1000'0000;
constexpr size_t kPage = 4096, kRam = size_t{64} << 20;
constexpr int kBatches = 15;

/// Processes beside this one whose time counts.
std::vector<pid_t> g_others;

double microseconds(clockid_t clock) {
    timespec t{};
    clock_gettime(clock, &t);
    return static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_nsec) / 1e3;
}

/// Processor time so far.
double now() {
    double sum = microseconds(CLOCK_PROCESS_CPUTIME_ID);
    for (const pid_t other : g_others)
        if (clockid_t clock; clock_getcpuclockid(other, &clock) == 0) sum += microseconds(clock);
    return sum;
}

/// f does `count` of what is measured.
void report(const char* what, unsigned count, const std::function<void()>& f) {
    std::vector<double> each;
    for (int n = 0; n < kBatches; ++n) {
        const double from = now();
        f();
        each.push_back((now() - from) / count);
    }
    std::ranges::sort(each);
    fmt::print("{:<66} {:8.2f} {:8.2f}\n", what, each[each.size() / 2], each[0]);
    fflush(stdout);
}

template <typename T>
T must(Result<T> r) {
    if (r) return std::move(*r);
    fmt::print(stderr, "direct_costs: {}\n", r.error().message());
    exit(1);
}
void must(Result<> r) {
    if (r) return;
    fmt::print(stderr, "direct_costs: {}\n", r.error().message());
    exit(1);
}

struct Guest {
    Fd ram{memfd_create("ram", MFD_CLOEXEC)};
    uint8_t* memory = nullptr;

    Guest() {
        if (ftruncate(ram.get(), kRam) != 0) exit(1);
        memory = static_cast<uint8_t*>(mmap(nullptr, kRam, PROT_READ | PROT_WRITE, MAP_SHARED, ram.get(), 0));
        std::memset(memory, 0, kRam);
    }
    std::unique_ptr<Space> space() const {
        auto made = must(Space::create(ram.get()));
        const Change code{.kind = Change::Kind::Map, .address = kCode, .bytes = kPage, .rights = Rights::ReadExecute};
        must(made->change({&code, 1}));
        return made;
    }
};

UserState at(uint64_t rip) {
    UserState s;
    s.regs.rip = rip;
    s.regs.eflags = 0x202;
    return s;
}

// --- ways back ----------------------------------------------------------------------------------------------------------------

void repeat(Space& space, UserState& s, Vectors vectors, unsigned count, uint64_t rip) {
    for (unsigned n = 0; n < count; ++n) {
        s.regs.rip = rip;
        must(space.run(s, vectors));
    }
}

void ways_back(const Guest& guest) {
    const uint8_t code[] = {0x0f, 0x05, /* 2 */ 0x48, 0x8b, 0x07, /* 5 */ 0xf4, /* 6 */ 0x0f, 0x0b, /* 8 */ 0xeb, 0xfe, /* 10 */ 0x0f, 0x31, 0x0f, 0xa2, 0xcc};
    std::memcpy(guest.memory, code, sizeof code);
    const auto space = guest.space(), second = guest.space();
    g_others = {space->runner(), second->runner()};
    UserState s = at(kCode), other = s;
    s.regs.rdi = kData;
    constexpr unsigned kCount = 200;
    const auto way = [&](const char* what, uint64_t offset, Vectors v = Vectors::Leave) {
        report(what, kCount, [&, offset, v] { repeat(*space, s, v, kCount, kCode + offset); });
    };
    way("system call and back, general registers", 0);
    way("the same with x87 and vector registers moved both ways", 0, Vectors::Move);
    way("page fault and back, nothing mapped", 2);
    way("#GP (HLT) and back", 5);
    way("#UD (UD2) and back", 6);
    report("kick and back", kCount, [&] {
        for (unsigned n = 0; n < kCount; ++n) {
            s.regs.rip = kCode + 8;
            space->kick();
            must(space->run(s, Vectors::Leave));
        }
    });
    report("system calls from two spaces in turn, each", 2 * kCount, [&] {
        for (unsigned n = 0; n < kCount; ++n) {
            repeat(*space, s, Vectors::Leave, 1, kCode);
            repeat(*second, other, Vectors::Leave, 1, kCode);
        }
    });
    fmt::print("RDTSC faults where asked: {}; CPUID faults: {}\n", must(Space::create(guest.ram.get(), Tsc::Faults))->tsc_faults(), space->cpuid_faults());
}

// --- the mirror ------------------------------------------------------------------------------------------------------------------

std::vector<Change> pages(Change::Kind kind, unsigned count, unsigned stride, Rights rights, bool populate) {
    std::vector<Change> list;
    for (unsigned n = 0; n < count; ++n)
        list.push_back({.kind = kind, .address = kData + uint64_t{n} * stride * kPage, .bytes = kPage, .offset = kPage * (1 + n * 7 % 1000), .rights = rights,
                        .populate = populate});
    return list;
}

void mirror(const Guest& guest) {
    const auto space = guest.space();
    g_others = {space->mapper()};
    using K = Change::Kind;
    const auto one_by_one = [&](const std::vector<Change>& list) {
        for (const Change& c : list) must(space->change({&c, 1}));
    };
    constexpr unsigned kCount = 64;
    report("map one page, a trip to the mapper each", kCount, [&] { one_by_one(pages(K::Map, kCount, 3, Rights::ReadWrite, true)); });
    report("map scattered pages, 64 a trip, each", kCount, [&] { must(space->change(pages(K::Map, kCount, 3, Rights::ReadWrite, true))); });
    report("protect and unprotect scattered pages, 64 a trip, each pair", kCount, [&] {
        must(space->change(pages(K::Protect, kCount, 3, Rights::Read, false)));
        must(space->change(pages(K::Protect, kCount, 3, Rights::ReadWrite, false)));
    });
    report("unmap one page (mapped in a batch before), a trip each, both", kCount, [&] {
        must(space->change(pages(K::Map, kCount, 3, Rights::ReadWrite, true)));
        one_by_one(pages(K::Unmap, kCount, 3, Rights::Read, false));
    });
    const Change block{.kind = K::Map, .address = kData, .bytes = size_t{32} << 20, .offset = 0, .rights = Rights::ReadWrite, .populate = true};
    const Change gone{.kind = K::Unmap, .address = kData, .bytes = size_t{32} << 20};
    report("map 32 MiB in one piece, populated, a page", 8192, [&] { must(space->change({&block, 1})); });
    report("the same and unmap it, a page", 8192, [&] {
        must(space->change({&block, 1}));
        must(space->change({&gone, 1}));
    });
    report("make and end a space (without its own processes' part)", 1, [&] { guest.space(); });
}

// --- for comparison ----------------------------------------------------------------------------------------------------------------

void on_signal(int, siginfo_t*, void* context) {
    auto* u = static_cast<ucontext_t*>(context);
    u->uc_mcontext.gregs[REG_RIP] += u->uc_mcontext.gregs[REG_R8];  // the faulting instruction's length; 0 behind a system call
}

void in_process() {
    g_others.clear();
    struct sigaction action = {};
    action.sa_sigaction = on_signal;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &action, nullptr);
    sigaction(SIGSYS, &action, nullptr);
    constexpr unsigned kCount = 1000;
    report("comparison: SIGSEGV handled in the process", kCount, [] {
        for (unsigned n = 0; n < kCount; ++n) asm volatile("mov $3, %%r8d; mov (%0), %%rax" : : "r"(8ul) : "rax", "r8", "memory");
    });
    if (const pid_t child = fork(); child != 0) {
        waitpid(child, nullptr, 0);
        return;
    }
    sock_filter filter[] = {{BPF_LD | BPF_W | BPF_ABS, 0, 0, 0}, {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 500}, {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_TRAP},
                            {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW}};
    const sock_fprog program{4, filter};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
    report("comparison: seccomp trap, SIGSYS handled in the process", kCount, [] {
        for (unsigned n = 0; n < kCount; ++n) asm volatile("xor %%r8d, %%r8d; mov $500, %%eax; syscall" : : : "rax", "rcx", "r8", "r11", "memory");
    });
    _exit(0);
}

void futex(std::atomic<uint32_t>& word, int what, uint32_t value) { syscall(SYS_futex, &word, what, value, nullptr, nullptr, 0); }

void hand_off() {
    void* at = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    auto* turn = new (at) std::atomic<uint32_t>(0);
    const pid_t child = fork();
    const auto pass = [turn](uint32_t mine) {
        while (turn->load() != mine) futex(*turn, FUTEX_WAIT, turn->load() == mine ? ~0u : 1 - mine);
        turn->store(1 - mine);
        futex(*turn, FUTEX_WAKE, 1);
    };
    if (child == 0)
        for (;;) pass(1);
    constexpr unsigned kCount = 500;
    g_others = {child};
    report("comparison: futex to another process and back", kCount, [&] {
        for (unsigned n = 0; n < kCount; ++n) pass(0);
    });
    ::kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
}

void sysemu() {
    const pid_t child = fork();
    if (child == 0) {
        ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
        raise(SIGSTOP);
        for (;;) asm volatile("mov $500, %%eax; syscall" : : : "rax", "rcx", "r11", "memory");
    }
    int status = 0;
    waitpid(child, &status, 0);
    constexpr unsigned kCount = 500;
    g_others = {child};
    report("comparison: ptrace SYSEMU, registers read and set", kCount, [&] {
        for (unsigned n = 0; n < kCount; ++n) {
            user_regs_struct regs{};
            ptrace(PTRACE_SYSEMU, child, nullptr, nullptr);
            waitpid(child, &status, 0);
            ptrace(PTRACE_GETREGS, child, nullptr, &regs);
            ptrace(PTRACE_SETREGS, child, nullptr, &regs);
        }
    });
    ::kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
}

}  // namespace
}  // namespace yado::direct

int main() {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    sched_setaffinity(0, sizeof one, &one);
    fmt::print("{:<66} {:>8} {:>8}\n", "microseconds of processor time", "median", "least");
    const yado::direct::Guest guest;
    yado::direct::ways_back(guest);
    yado::direct::mirror(guest);
    yado::direct::in_process();
    yado::direct::hand_off();
    yado::direct::sysemu();
}
