#include "native.h"

#include <asm/ldt.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

// The trampoline. All it needs lies in these variables, reached relative to RIP, so no register is lost: native_enter
// loads the whole state and jumps; native_exit stores it and returns to the caller of native_enter. A signal comes in
// at native_signal with the tested FS base and flags: it restores both before any C++ runs.
extern "C" {
struct YadoNative {
    uint64_t in_gpr[16], out_gpr[16];
    alignas(16) uint8_t in_fx[512];
    alignas(16) uint8_t out_fx[512];
    uint64_t in_rflags, out_rflags, entry, host_rsp, host_fs, host_gs;
    struct [[gnu::packed]] { uint32_t eip; uint16_t cs; } far_entry;
    uint16_t compat;
    uint16_t out_selectors[6];
    uint16_t in_data;
    uint16_t has_avx;
    alignas(16) uint8_t in_high[256];
    alignas(16) uint8_t out_high[256];
};
alignas(64) YadoNative yado_native;
void yado_native_enter();
void yado_native_exit();
void yado_native_signal(int, siginfo_t*, void*);
void yado_native_signal_body(int number, siginfo_t* info, void* context);
}

#define OFFSET(name, member) static_assert(offsetof(YadoNative, member) == name)
OFFSET(0, in_gpr); OFFSET(128, out_gpr); OFFSET(256, in_fx); OFFSET(768, out_fx); OFFSET(1280, in_rflags);
OFFSET(1288, out_rflags); OFFSET(1296, entry); OFFSET(1304, host_rsp); OFFSET(1312, host_fs); OFFSET(1320, host_gs);
OFFSET(1328, far_entry); OFFSET(1334, compat); OFFSET(1336, out_selectors); OFFSET(1348, in_data);
OFFSET(1350, has_avx); OFFSET(1360, in_high); OFFSET(1616, out_high);

asm(R"(
.text
.macro all_gprs op, base
  \op 0, rax, \base ; \op 1, rcx, \base ; \op 2, rdx, \base ; \op 3, rbx, \base
  \op 5, rbp, \base ; \op 6, rsi, \base ; \op 7, rdi, \base ; \op 8, r8, \base ; \op 9, r9, \base
  \op 10, r10, \base ; \op 11, r11, \base ; \op 12, r12, \base ; \op 13, r13, \base ; \op 14, r14, \base
  \op 15, r15, \base ; \op 4, rsp, \base
.endm
.macro load_gpr n, reg, base
  mov yado_native+\base+8*\n(%rip), %\reg
.endm
.macro save_gpr n, reg, base
  mov %\reg, yado_native+\base+8*\n(%rip)
.endm
.macro all_highs op
  .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
    \op \n
  .endr
.endm
.macro load_high n
  vinsertf128 $1, yado_native+1360+16*\n(%rip), %ymm\n, %ymm\n
.endm
.macro save_high n
  vextractf128 $1, %ymm\n, yado_native+1616+16*\n(%rip)
.endm
.globl yado_native_enter
yado_native_enter:
  push %rbx ; push %rbp ; push %r12 ; push %r13 ; push %r14 ; push %r15 ; push %rax
  mov %rsp, yado_native+1304(%rip)
  mov yado_native+1348(%rip), %ds ; mov yado_native+1348(%rip), %es
  rdfsbase %rax ; mov %rax, yado_native+1312(%rip)
  rdgsbase %rax ; mov %rax, yado_native+1320(%rip)
  xor %eax, %eax ; mov %eax, %fs ; mov %eax, %gs
  mov $0x01234560, %eax ; wrfsbase %rax
  mov $0x00765430, %eax ; wrgsbase %rax
  fxrstor64 yado_native+256(%rip)
  cmpw $0, yado_native+1350(%rip)
  je 2f
  all_highs load_high
2:
  cmpw $0, yado_native+1334(%rip)
  jne 1f
  push yado_native+1280(%rip) ; popfq
  all_gprs load_gpr, 0
  jmp *yado_native+1296(%rip)
1:
  mov yado_native+1348(%rip), %ss
  push yado_native+1280(%rip) ; popfq
  all_gprs load_gpr, 0
  ljmpl *yado_native+1328(%rip)

.globl yado_native_exit
yado_native_exit:
  all_gprs save_gpr, 128
  mov yado_native+1304(%rip), %rsp
  pushfq ; pop yado_native+1288(%rip)
  push $0x202 ; popfq
  mov %es, yado_native+1336(%rip) ; mov %cs, yado_native+1338(%rip) ; mov %ss, yado_native+1340(%rip)
  mov %ds, yado_native+1342(%rip) ; mov %fs, yado_native+1344(%rip) ; mov %gs, yado_native+1346(%rip)
  mov $0x2b, %eax ; mov %eax, %ss
  mov yado_native+1312(%rip), %rax ; wrfsbase %rax
  mov yado_native+1320(%rip), %rax ; wrgsbase %rax
  fxsave64 yado_native+768(%rip)
  cmpw $0, yado_native+1350(%rip)
  je 1f
  all_highs save_high
  vzeroupper
1:
  fninit
  movl $0x1f80, (%rsp) ; ldmxcsr (%rsp)
  pop %rax ; pop %r15 ; pop %r14 ; pop %r13 ; pop %r12 ; pop %rbp ; pop %rbx
  ret

.globl yado_native_signal
yado_native_signal:
  push $0x202 ; popfq
  mov yado_native+1312(%rip), %rax ; wrfsbase %rax
  mov yado_native+1320(%rip), %rax ; wrgsbase %rax
  jmp yado_native_signal_body
)");

namespace yado::oracle {

namespace {

struct Caught {
    bool any;
    uint64_t rip, rflags, rsp;
    uint16_t ss;
    Trap trap;
};
Caught g_caught;
bool g_running;
constexpr int kSignals[] = {SIGSEGV, SIGILL, SIGFPE, SIGBUS, SIGTRAP};
constexpr size_t kSignalStack = 256 * 1024;

}  // namespace

}  // namespace yado::oracle

extern "C" void yado_native_signal_body(int number, siginfo_t*, void* context) {
    using namespace yado::oracle;
    auto* regs = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
    if (!g_running) {  // a crash of the test itself
        signal(number, SIG_DFL);
        return;
    }
    const auto vector = static_cast<uint8_t>(regs[REG_TRAPNO]);
    g_caught = {true, static_cast<uint64_t>(regs[REG_RIP]), static_cast<uint64_t>(regs[REG_EFL]),
                static_cast<uint64_t>(regs[REG_RSP]), static_cast<uint16_t>(regs[REG_CSGSFS] >> 48),
                {vector, static_cast<uint32_t>(regs[REG_ERR]), vector == 14 ? static_cast<uint64_t>(regs[REG_CR2]) : 0}};
    regs[REG_RIP] = reinterpret_cast<greg_t>(&yado_native_exit);
    regs[REG_RSP] = reinterpret_cast<greg_t>(&g_caught);   // any canonical address: some processors' IRET refuses others
    regs[REG_EFL] &= ~0x100ll;   // TF that the case has set would trap on the way out
    regs[REG_CSGSFS] = (regs[REG_CSGSFS] & 0x0000'ffff'ffff'0000) | 0x002b'0000'0000'0033;
}

namespace yado::oracle {

namespace {

void* map_at(uint64_t address, size_t size, int rights, int fd = -1, off_t offset = 0) {
    const int flags = MAP_FIXED_NOREPLACE | MAP_POPULATE | (fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED);
    void* p = mmap(reinterpret_cast<void*>(address), size, rights, flags, fd, offset);
    if (p == MAP_FAILED) throw std::runtime_error("cannot map the test's pages");
    return p;
}

/// The way out, reached from 64-bit code by a relative and from other code by a far jump: jmp *[rip+2], the pointer aligned
/// lest RFLAGS.AC object.
void put_exit() {
    auto* at = static_cast<uint8_t*>(map_at(kExit, kPage, PROT_READ | PROT_WRITE | PROT_EXEC));
    static const uint8_t kJump[6] = {0xff, 0x25, 2, 0, 0, 0};
    const auto target = reinterpret_cast<uint64_t>(&yado_native_exit);
    std::memcpy(at, kJump, 6);
    std::memcpy(at + 8, &target, 8);
}

/// Where a case goes on after its last byte. Without room: a fault at that place, which means the same.
void put_end(uint8_t* at, size_t room, Mode mode) {
    static const uint8_t kFar[8] = {0x66, 0xea, kExit & 0xff, kExit >> 8 & 0xff, kExit >> 16 & 0xff, kExit >> 24, kLongCode, 0};
    if (mode == Mode::Long && room >= 5) {
        const auto relative = static_cast<uint32_t>(kExit - reinterpret_cast<uint64_t>(at) - 5);
        at[0] = 0xe9;
        std::memcpy(at + 1, &relative, 4);
    }
    if (mode == Mode::Flat32 && room >= 7) std::memcpy(at, kFar + 1, 7);
    if (mode == Mode::Segmented16 && room >= 8) std::memcpy(at, kFar, 8);
}

void set_ldt(unsigned entry, uint64_t base, uint64_t limit, unsigned contents) {
    struct user_desc descriptor{};
    descriptor.entry_number = entry;
    descriptor.base_addr = static_cast<unsigned>(base);
    descriptor.limit = static_cast<unsigned>(limit);
    descriptor.contents = contents;   // 0: data, 2: code
    if (syscall(SYS_modify_ldt, 1, &descriptor, sizeof descriptor) != 0) throw std::runtime_error("modify_ldt is refused");
}

}  // namespace

Native::Native() {
    set_ldt(kCode16 >> 3, kCode, kPage - 1, 2);
    set_ldt(kData16 >> 3, kWindow, kWindowSize - 1, 0);
    map_at(kCode, kPage, PROT_READ | PROT_WRITE | PROT_EXEC);
    put_exit();
    const int fd = memfd_create("window", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, kWindowSize) != 0) throw std::runtime_error("no memory for the window");
    map_at(kWindow, kWindowWritable, PROT_READ | PROT_WRITE, fd);
    map_at(kWindow + kWindowWritable, kPage, PROT_READ, fd, kWindowWritable);
    window_alias_ = static_cast<uint8_t*>(mmap(nullptr, kWindowSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    close(fd);
    std::memset(window_alias_, 0, kWindowSize);
    for (uint64_t at = kWindow; at < kWindow + kWindowSize; at += kPage) (void)*reinterpret_cast<volatile uint8_t*>(at);   // present, so that error codes are
    std::memset(code(), 0xf4, kPage);  // HLT: #GP wherever control lands

    static uint8_t stack[kSignalStack];
    const stack_t alternate{stack, 0, sizeof stack};
    sigaltstack(&alternate, nullptr);
    struct sigaction action{};
    action.sa_sigaction = yado_native_signal;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    for (const int number : kSignals) sigaction(number, &action, nullptr);
}

Native::~Native() {
    for (const int number : kSignals) signal(number, SIG_DFL);
    munmap(reinterpret_cast<void*>(kCode), kPage);
    munmap(reinterpret_cast<void*>(kExit), kPage);
    munmap(reinterpret_cast<void*>(kWindow), kWindowSize);
    munmap(window_alias_, kWindowSize);
}

Outcome Native::run(const Case& test) {
    uint8_t* start = code() + (test.at - kCode);
    const size_t fits = std::min<size_t>(test.code.size(), kCode + kPage - test.at);
    const size_t tail = std::min<size_t>(14, kPage - (test.at - kCode) - fits);
    std::memcpy(start, test.code.data(), fits);
    put_end(start + fits, tail, test.mode);

    YadoNative& n = yado_native;
    std::memcpy(n.in_gpr, test.in.gpr.data(), sizeof n.in_gpr);
    std::memcpy(n.in_fx, test.in.fx.data(), sizeof n.in_fx);
    std::memcpy(n.in_high, test.in.high.data(), sizeof n.in_high);
    n.has_avx = has_avx();
    n.in_rflags = test.in.rflags;
    n.entry = test.at;
    const bool segmented = test.mode == Mode::Segmented16;
    n.far_entry = {static_cast<uint32_t>(segmented ? test.at - kCode : test.at), segmented ? kCode16 : kFlat32Code};
    n.in_data = segmented ? kData16 : kFlatData;
    n.compat = test.mode != Mode::Long;
    g_caught = {};
    g_running = true;
    yado_native_enter();
    g_running = false;
    std::memset(start, 0xf4, fits + tail);

    Outcome result;
    std::memcpy(result.out.gpr.data(), n.out_gpr, sizeof n.out_gpr);
    std::memcpy(result.out.fx.data(), n.out_fx, sizeof n.out_fx);
    std::memcpy(result.out.high.data(), n.out_high, sizeof n.out_high);
    std::memcpy(result.out.selectors.data(), n.out_selectors, sizeof n.out_selectors);
    result.out.selectors[1] = test.mode == Mode::Long ? kLongCode : n.far_entry.cs;   // the way out changed it
    if (g_caught.any) {
        result.out.selectors[2] = g_caught.ss;
        result.out.gpr[4] = g_caught.rsp;
    }
    result.out.rip = g_caught.any ? g_caught.rip : n.compat ? n.far_entry.eip + test.code.size() : test.at + test.code.size();
    result.out.rflags = g_caught.any ? g_caught.rflags : n.out_rflags;
    result.trapped = g_caught.any;
    result.trap = g_caught.trap;
    return result;
}

}  // namespace yado::oracle
