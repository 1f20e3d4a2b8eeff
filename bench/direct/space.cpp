#include "direct/space.h"

#include <elf.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "direct/stub.h"

extern "C" const std::byte yado_direct_stub[], yado_direct_stub_syscall[], yado_direct_stub_rdtsc[], yado_direct_stub_cpuid[],
    yado_direct_stub_end[];

namespace yado::direct {

namespace {

constexpr size_t kPage = 4096, kStubBytes = 2 * kPage;
constexpr int kRamFd = 3;  // in the mapper
constexpr int kKickSignal = SIGUSR1;
constexpr int kSyscallStop = SIGTRAP | 0x80;  // PTRACE_O_TRACESYSGOOD
constexpr uint16_t kUserCode = 0x33, kUserData = 0x2b;  // Linux's selectors
constexpr uint64_t kVsyscall = 0xffff'ffff'ff60'0000;
constexpr size_t kBatch = (kPage - 8) / STUB_COMMAND_BYTES;

struct Command {
    uint64_t number;
    uint64_t argument[6];
};
static_assert(sizeof(Command) == STUB_COMMAND_BYTES);

// --- filters --------------------------------------------------------------------------------------------------------

constexpr sock_filter load(uint32_t offset) { return {BPF_LD | BPF_W | BPF_ABS, 0, 0, offset}; }
constexpr sock_filter equal(uint32_t value, uint8_t otherwise) { return {BPF_JMP | BPF_JEQ | BPF_K, 0, otherwise, value}; }
constexpr sock_filter answer(uint32_t what) { return {BPF_RET | BPF_K, 0, 0, what}; }
constexpr uint32_t low(uint64_t v) { return static_cast<uint32_t>(v); }
constexpr uint32_t high(uint64_t v) { return static_cast<uint32_t>(v >> 32); }

/// munmap and mprotect, and mmap of the guest's memory, from the one SYSCALL instruction in the mapper's loop.
std::vector<sock_filter> mapper_filter() {
    const uint64_t from = Space::kStub + static_cast<uint64_t>(yado_direct_stub_syscall - yado_direct_stub);
    constexpr uint32_t ip = offsetof(seccomp_data, instruction_pointer), fd = offsetof(seccomp_data, args) + 4 * 8;
    return {load(offsetof(seccomp_data, arch)),
            equal(AUDIT_ARCH_X86_64, 11),
            load(ip),
            equal(low(from), 9),
            load(ip + 4),
            equal(high(from), 7),
            load(offsetof(seccomp_data, nr)),
            {BPF_JMP | BPF_JEQ | BPF_K, 4, 0, SYS_munmap},
            {BPF_JMP | BPF_JEQ | BPF_K, 3, 0, SYS_mprotect},
            equal(SYS_mmap, 3),
            load(fd),
            equal(kRamFd, 1),
            answer(SECCOMP_RET_ALLOW),
            answer(SECCOMP_RET_KILL_PROCESS)};
}

/// Whatever it is, it comes back as SIGSYS and is not done: vsyscalls, and whatever PTRACE_SYSEMU should let through. The filter alone
/// would not do: recent Linux asks none about uretprobe() and uprobe().
std::vector<sock_filter> runner_filter() { return {answer(SECCOMP_RET_TRAP)}; }

/// Puts a filter into the stub's code page as the mirrored process will see it.
void place(std::byte* stub, size_t at, size_t code_at, const std::vector<sock_filter>& filter) {
    YADO_CHECK(code_at + filter.size() * sizeof(sock_filter) <= kPage);
    const sock_fprog program{static_cast<unsigned short>(filter.size()), reinterpret_cast<sock_filter*>(Space::kStub + code_at)};
    std::memcpy(stub + at, &program, sizeof program);
    std::memcpy(stub + code_at, filter.data(), filter.size() * sizeof(sock_filter));
}

// --- the child of the fork: no memory allocation, no locks -------------------------------------------------------------

/// What the kernel would touch in memory that is about to be the guest's.
void forget_thread_state() {
    syscall(SYS_rseq, static_cast<char*>(__builtin_thread_pointer()) + __rseq_offset, 32, RSEQ_FLAG_UNREGISTER, RSEQ_SIG);
    syscall(SYS_set_tid_address, nullptr);
    syscall(SYS_set_robust_list, nullptr, 24);
    constexpr stack_t kNone{.ss_sp = nullptr, .ss_flags = SS_DISABLE, .ss_size = 0};
    sigaltstack(&kNone, nullptr);
    struct sigaction plain = {};
    plain.sa_handler = SIG_DFL;
    for (int n = 1; n < NSIG; ++n) sigaction(n, &plain, nullptr);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
}

/// Errors end the child; the parent sees it die.
[[noreturn]] void become_mapper(int ram, int stub, Tsc tsc) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const rlimit no_core{0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    forget_thread_state();
    if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) _exit(1);
    syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGSTOP);
    void* at = mmap(reinterpret_cast<void*>(Space::kStub), kStubBytes, PROT_READ, MAP_SHARED | MAP_FIXED, stub, 0);
    if (at == MAP_FAILED || mprotect(at, kPage, PROT_READ | PROT_EXEC) != 0) _exit(1);
    if (dup2(ram, kRamFd) < 0 || close_range(kRamFd + 1, ~0u, 0) != 0 || close_range(0, kRamFd - 1, 0) != 0) _exit(1);
    register uint64_t r12 asm("r12") = Space::kStub;
    register uint64_t r13 asm("r13") = Space::kStub + kStubBytes;
    register uint64_t r14 asm("r14") = Space::kUserEnd;
    register uint64_t r15 asm("r15") = tsc == Tsc::Faults;
    asm volatile("jmp *%%r12" : : "r"(r12), "r"(r13), "r"(r14), "r"(r15) : "memory");
    __builtin_unreachable();
}

// --- the tracer's side ---------------------------------------------------------------------------------------------------

Result<int> wait_for(pid_t task) {
    int status = 0;
    while (waitpid(task, &status, __WALL) < 0)
        if (errno != EINTR) return fail_errno("direct execution: waiting for a task");
    return status;
}

/// Lets a task go on, and waits for its stop by `signal` (any ptrace event of it is passed over).
Result<> go_until(pid_t task, int signal) {
    for (;;) {
        if (ptrace(PTRACE_CONT, task, nullptr, nullptr) != 0) return fail_errno("direct execution: continuing a task");
        const int status = YADO_TRY(wait_for(task));
        if (!WIFSTOPPED(status)) return fail(ErrorKind::Failed, "direct execution: a task ended (status {:#x})", status);
        if (WSTOPSIG(status) == signal && status >> 16 == 0) return {};
        if (WSTOPSIG(status) != SIGTRAP && WSTOPSIG(status) != kKickSignal && WSTOPSIG(status) != SIGSTOP)
            return fail(ErrorKind::Failed, "direct execution: a task stopped with signal {}", WSTOPSIG(status));
    }
}

Stop why_stopped(pid_t task, int signal) {
    siginfo_t info{};
    if (signal != kKickSignal && signal != kSyscallStop) ptrace(PTRACE_GETSIGINFO, task, nullptr, &info);
    Stop stop{.why = Stop::Why::Other, .signal = signal, .code = info.si_code, .address = reinterpret_cast<uint64_t>(info.si_addr)};
    switch (signal) {
    case kSyscallStop:
    case SIGSYS: stop.why = Stop::Why::Syscall; break;
    case SIGTRAP: stop.why = Stop::Why::Trap; break;
    case SIGILL: stop.why = Stop::Why::Illegal; break;
    case kKickSignal: stop.why = Stop::Why::Kick; break;
    case SIGBUS:
    case SIGSEGV: stop.why = info.si_code == SI_KERNEL ? Stop::Why::General : Stop::Why::Fault; break;
    default: break;
    }
    return stop;
}

int protection(Rights rights) {
    if (rights == Rights::ReadExecute) return PROT_READ | PROT_EXEC;
    return rights == Rights::ReadWrite ? PROT_READ | PROT_WRITE : PROT_READ;
}

Command command_of(const Change& c) {
    const auto right = static_cast<uint64_t>(protection(c.rights));
    switch (c.kind) {
    case Change::Kind::Unmap: return {SYS_munmap, {c.address, c.bytes}};
    case Change::Kind::Protect: return {SYS_mprotect, {c.address, c.bytes, right}};
    case Change::Kind::Map: break;
    }
    const uint64_t flags = MAP_SHARED | MAP_FIXED | (c.populate ? MAP_POPULATE : 0);
    return {SYS_mmap, {c.address, c.bytes, right, flags, kRamFd, c.offset}};
}

}  // namespace

Result<> Space::make_stub() {
    stub_ = Fd(memfd_create("yado-direct-stub", MFD_CLOEXEC));
    if (!stub_ || ftruncate(stub_.get(), kStubBytes) != 0) return fail_errno("direct execution: memory for the stub");
    void* at = mmap(nullptr, kStubBytes, PROT_READ | PROT_WRITE, MAP_SHARED, stub_.get(), 0);
    if (at == MAP_FAILED) return fail_errno("direct execution: mapping the stub");
    shared_ = static_cast<std::byte*>(at);
    const auto code = static_cast<size_t>(yado_direct_stub_end - yado_direct_stub);
    YADO_CHECK(code <= STUB_MAPPER_FILTER);
    std::memcpy(shared_, yado_direct_stub, code);
    place(shared_, STUB_MAPPER_FILTER, 0x900, mapper_filter());
    place(shared_, STUB_RUNNER_FILTER, 0x880, runner_filter());
    return {};
}

Result<std::unique_ptr<Space>> Space::create(int ram, Tsc tsc) {
    std::unique_ptr<Space> space(new Space);
    YADO_TRY(space->make_stub());
    YADO_TRY(space->begin(ram, tsc));
    return space;
}

Result<> Space::begin(int ram, Tsc tsc) {
    mapper_ = fork();
    if (mapper_ < 0) return fail_errno("direct execution: fork");
    if (mapper_ == 0) become_mapper(ram, stub_.get(), tsc);
    const int status = YADO_TRY(wait_for(mapper_));
    if (!WIFSTOPPED(status)) return fail(ErrorKind::Denied, "direct execution: the host allows no ptrace");
    constexpr long kOptions = PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD;
    if (ptrace(PTRACE_SETOPTIONS, mapper_, nullptr, kOptions) != 0) return fail_errno("direct execution: ptrace");
    return attach();
}

/// From the fork's first stop until both tasks wait in the stub.
Result<> Space::attach() {
    if (ptrace(PTRACE_CONT, mapper_, nullptr, nullptr) != 0) return fail_errno("direct execution: continuing the mapper");
    const int status = YADO_TRY(wait_for(mapper_));
    if (!WIFSTOPPED(status) || status >> 8 != (SIGTRAP | PTRACE_EVENT_CLONE << 8))
        return fail(ErrorKind::Failed, "direct execution: the stub did not set itself up (status {:#x})", status);
    unsigned long child = 0;
    if (ptrace(PTRACE_GETEVENTMSG, mapper_, nullptr, &child) != 0) return fail_errno("direct execution: ptrace");
    runner_ = static_cast<pid_t>(child);
    YADO_TRY(go_until(mapper_, SIGTRAP));
    YADO_TRY(wait_for(runner_));  // it begins stopped
    YADO_TRY(go_until(runner_, SIGTRAP));
    tsc_faults_ = YADO_TRY(faults_at(yado_direct_stub_rdtsc));
    cpuid_faults_ = YADO_TRY(faults_at(yado_direct_stub_cpuid));
    return {};
}

Result<bool> Space::faults_at(const std::byte* instruction) {
    UserState state;
    YADO_TRY(get(state, Vectors::Leave));
    state.regs.rip = kStub + static_cast<uint64_t>(instruction - yado_direct_stub);
    return YADO_TRY(run(state, Vectors::Leave)).why == Stop::Why::General;
}

Space::~Space() {
    for (const pid_t task : {runner_, mapper_}) {
        if (task <= 0) continue;
        ::kill(task, SIGKILL);
        int status = 0;
        while (waitpid(task, &status, __WALL) == task && WIFSTOPPED(status)) {}
    }
    if (shared_) munmap(shared_, kStubBytes);
}

void Space::kick() const { syscall(SYS_tgkill, runner_, runner_, kKickSignal); }

// --- the mirror ----------------------------------------------------------------------------------------------------------

Result<> Space::check(const Change& c) const {
    const bool aligned = c.address % kPage == 0 && c.bytes % kPage == 0 && c.offset % kPage == 0 && c.bytes != 0;
    if (!aligned || c.address >= kStub || c.bytes > kStub - c.address)
        return fail(ErrorKind::OutOfRange, "direct execution: {:#x} bytes at {:#x} cannot be mirrored", c.bytes, c.address);
    return {};
}

Result<> Space::change(std::span<const Change> changes) {
    for (const Change& c : changes) YADO_TRY(check(c));
    for (; !changes.empty(); changes = changes.subspan(std::min(kBatch, changes.size())))
        YADO_TRY(make_batch(changes.first(std::min(kBatch, changes.size()))));
    return {};
}

Result<> Space::make_batch(std::span<const Change> changes) {
    std::byte* at = shared_ + STUB_COMMANDS;
    for (const Change& c : changes) {
        const Command command = command_of(c);
        std::memcpy(at, &command, sizeof command);
        at += sizeof command;
    }
    constexpr int64_t kEnd = STUB_END_OF_LIST;
    std::memcpy(at, &kEnd, sizeof kEnd);
    YADO_TRY(go_until(mapper_, SIGTRAP));
    errno = 0;
    const long answer = ptrace(PTRACE_PEEKUSER, mapper_, offsetof(user_regs_struct, rax), nullptr);
    if (errno != 0) return fail_errno("direct execution: the mapper's answer");
    if (answer != 0) return std::unexpected(errno_error(static_cast<int>(-answer), "direct execution: changing the mirror"));
    return {};
}

// --- running ---------------------------------------------------------------------------------------------------------------

Result<> Space::put(const UserState& state, Vectors vectors) {
    user_regs_struct regs = state.regs;
    regs.orig_rax = ~0ull;  // not in a system call that could be restarted
    regs.cs = kUserCode;    // 64-bit mode, whatever the guest calls its segments
    regs.ss = kUserData;
    regs.ds = regs.es = regs.fs = regs.gs = 0;
    if (ptrace(PTRACE_SETREGS, runner_, nullptr, &regs) != 0 && errno != ESRCH) return fail_errno("direct execution: setting registers");
    if (vectors == Vectors::Leave || state.xsave_bytes == 0) return {};
    iovec area{const_cast<std::byte*>(state.xsave.data()), state.xsave_bytes};
    if (ptrace(PTRACE_SETREGSET, runner_, NT_X86_XSTATE, &area) != 0 && errno != ESRCH) return fail_errno("direct execution: setting vector registers");
    return {};
}

Result<> Space::get(UserState& state, Vectors vectors) {
    if (ptrace(PTRACE_GETREGS, runner_, nullptr, &state.regs) != 0) return fail_errno("direct execution: reading registers");
    return vectors == Vectors::Leave ? Result<>{} : fetch_vectors(state);
}

Result<> Space::fetch_vectors(UserState& state) {
    iovec area{state.xsave.data(), state.xsave.size()};
    if (ptrace(PTRACE_GETREGSET, runner_, NT_X86_XSTATE, &area) != 0) return fail_errno("direct execution: reading vector registers");
    state.xsave_bytes = area.iov_len;
    return {};
}

Result<Stop> Space::run(UserState& state, Vectors vectors) {
    YADO_TRY(put(state, vectors));
    (void)ptrace(PTRACE_SYSEMU, runner_, nullptr, nullptr);  // fails if it is dead: waiting tells
    const int status = YADO_TRY(wait_for(runner_));
    if (!WIFSTOPPED(status)) {
        runner_ = -1;
        return Stop{};
    }
    const Stop stop = why_stopped(runner_, WSTOPSIG(status));
    YADO_TRY(get(state, vectors));
    if (stop.signal == kSyscallStop) state.regs.rax = state.regs.orig_rax;
    if (stop.why == Stop::Why::Syscall && stop.address >> 12 == kVsyscall >> 12) {  // the kernel has returned from it already
        state.regs.rip = stop.address;
        state.regs.rsp -= 8;
    }
    return stop;
}

}  // namespace yado::direct
