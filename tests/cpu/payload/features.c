// CPUID against what works, MSRs, XSAVE, time stamp counter. SDM vol. 1, chapter 13; vol. 2, CPUID; vol. 4.
#include "payload.h"

static u32 leaf[4];
static bool has(u32 number, u32 reg, u32 bit) {
    cpuid(number, 0, leaf);
    return leaf[reg] >> bit & 1;
}

static void cpuid_is_sane(void) {
    cpuid(0, 0, leaf);
    check("basic leaves up to 7 at least", leaf[0] >= 7, 1);
    cpuid(0x80000000, 0, leaf);
    check("extended leaves up to 80000008 at least", leaf[0] >= 0x80000008, 1);
    check("FPU, MMX, SSE, SSE2, FXSR, CX8, CMOV", (cpuid(1, 0, leaf), leaf[3] & 0x07808101), 0x07808101);
    check("SSE3, SSSE3, CX16, SSE4.1, SSE4.2, POPCNT", leaf[2] & 0x00982201, 0x00982201);
    check("long mode, NX, SYSCALL", (cpuid(0x80000001, 0, leaf), leaf[3] & 0x20100800), 0x20100800);
    check("LAHF in 64-bit mode", leaf[2] & 1, 1);
    cpuid(0x80000008, 0, leaf);
    check("physical address bits 36 to 52", (leaf[0] & 0xff) >= 36 && (leaf[0] & 0xff) <= 52, 1);
    check("48 or 57 linear address bits", (leaf[0] >> 8 & 0xff) == 48 || (leaf[0] >> 8 & 0xff) == 57, 1);
    WRITE_CR(4, READ_CR(4) & ~(1ull << 18));
    check("OSXSAVE follows CR4: clear", has(1, 2, 27), 0);
    if (!has(1, 2, 26)) return;
    WRITE_CR(4, READ_CR(4) | 1 << 18);
    check("OSXSAVE follows CR4: set", has(1, 2, 27), 1);
}

static void read_msr(u64 number) { rdmsr((u32)number); }
struct Write { u32 number; u64 value; };
static void write_msr(u64 at) { wrmsr(((struct Write*)at)->number, ((struct Write*)at)->value); }
static u64 msr_trap(u32 number, u64 value) {
    struct Write w = {number, value};
    return trap_of(write_msr, (u64)&w);
}

static void msrs(void) {
    check("RDMSR of nothing: #GP", trap_of(read_msr, 0x12345), 13);
    check("WRMSR of nothing: #GP", msr_trap(0x12345, 0), 13);
    check("EFER has LMA", rdmsr(0xc0000080) >> 10 & 1, 1);
    check("EFER reserved bit: #GP", msr_trap(0xc0000080, rdmsr(0xc0000080) | 1ull << 40), 13);
    check("EFER.LME cleared with paging: #GP", msr_trap(0xc0000080, rdmsr(0xc0000080) & ~0x100ull), 13);
    check("LSTAR, not canonical: #GP", msr_trap(0xc0000082, 1ull << 47), 13);
    check("FS_BASE, not canonical: #GP", msr_trap(0xc0000100, 1ull << 63), 13);
    wrmsr(0xc0000100, 0xffff800000001000);
    check("FS_BASE keeps its value", rdmsr(0xc0000100), 0xffff800000001000);
    static volatile u64 cell = 0x1234567;
    wrmsr(0xc0000101, (u64)&cell - 0x100);
    u64 seen;
    asm volatile("movq %%gs:0x100, %0" : "=r"(seen));
    check("GS_BASE is added", seen, 0x1234567);
    wrmsr(0x277, 0x0007040600070406);
    check("PAT keeps its value", rdmsr(0x277), 0x0007040600070406);
    check("PAT with a reserved type: #GP", msr_trap(0x277, 2), 13);
    const u64 before = rdtsc();
    check("the TSC advances", rdtsc() > before, 1);
    const u64 msr = rdmsr(0x10);
    check("the TSC MSR is the TSC", msr - before < 1ull << 32, 1);
    if (has(0x80000001, 3, 27)) {
        wrmsr(0xc0000103, 0x55);
        u32 aux;
        asm volatile("rdtscp" : "=c"(aux)::"eax", "edx");
        check("RDTSCP gives TSC_AUX", aux, 0x55);
    }
    if (has(1, 2, 30)) {
        u32 tries = 0;
        u64 a = 0, b = 0;
        u8 ok = 0;
        while (!ok && tries++ < 100) asm volatile("rdrand %0; setc %1" : "=r"(a), "=r"(ok));
        ok = 0;
        while (!ok && tries++ < 200) asm volatile("rdrand %0; setc %1" : "=r"(b), "=r"(ok));
        check("RDRAND differs from call to call", a != b, 1);
    }
}

static u8 area[4096] __attribute__((aligned(64)));
static void xsave_at(u64 at) { asm volatile("xsave64 (%0)" ::"r"(at), "a"(~0u), "d"(~0u) : "memory"); }
static void xrstor_at(u64 at) { asm volatile("xrstor64 (%0)" ::"r"(at), "a"(~0u), "d"(~0u) : "memory"); }
static void xsetbv(u64 value) { asm volatile("xsetbv" ::"c"(0), "a"((u32)value), "d"((u32)(value >> 32))); }
static void fxsave_at(u64 at) { asm volatile("fxsave64 (%0)" ::"r"(at) : "memory"); }
static void fxrstor_at(u64 at) { asm volatile("fxrstor64 (%0)" ::"r"(at) : "memory"); }
static void pause_sse(u64 unused) { (void)unused; asm volatile("xorps %xmm0, %xmm0"); }

static void fxsave(void) {
    asm volatile("fninit; fld1");
    fxsave_at((u64)area);
    check("FXSAVE: FCW", *(u16*)area, 0x37f);
    check("FXSAVE: tag byte, one register used", area[4], 0x80);
    check("FXSAVE: ST0 is 1.0", *(u64*)(area + 32), 1ull << 63);
    check("FXSAVE, misaligned: #GP", trap_of(fxsave_at, (u64)area + 8), 13);
    *(u32*)(area + 24) = 0xffffffff;
    check("FXRSTOR with reserved MXCSR bits: #GP", trap_of(fxrstor_at, (u64)area), 13);
    WRITE_CR(4, READ_CR(4) & ~0x200ull);
    check("SSE without CR4.OSFXSR: #UD", trap_of(pause_sse, 0), 6);
    WRITE_CR(4, READ_CR(4) | 0x200);
    WRITE_CR(0, READ_CR(0) | 8);
    check("SSE with CR0.TS: #NM", trap_of(pause_sse, 0), 7);
    asm volatile("clts");
    asm volatile("fninit");
}

static void xsave(void) {
    if (!has(1, 2, 26)) return;
    WRITE_CR(4, READ_CR(4) & ~(1ull << 18));
    check("XSAVE without CR4.OSXSAVE: #UD", trap_of(xsave_at, (u64)area), 6);
    check("XSETBV without CR4.OSXSAVE: #UD", trap_of(xsetbv, 3), 6);
    WRITE_CR(4, READ_CR(4) | 1 << 18);
    check("XCR0 without x87: #GP", trap_of(xsetbv, 2), 13);
    check("XCR0 with a bit that is not there: #GP", trap_of(xsetbv, 1ull << 40 | 3), 13);
    check("XCR0 with AVX but not SSE: #GP", trap_of(xsetbv, 5), 13);
    xsetbv(3);
    cpuid(0xd, 0, leaf);
    check("leaf D: the size of x87 and SSE", leaf[1], 576);
    const u64 pattern = 0x0123456789abcdef;
    asm volatile("movq %0, %%xmm9" ::"r"(pattern));
    for (unsigned i = 0; i < 576; ++i) area[i] = 0;
    xsave_at((u64)area);
    check("XSAVE: XMM9", *(u64*)(area + 160 + 9 * 16), pattern);
    check("XSAVE: XSTATE_BV has SSE", area[512] >> 1 & 1, 1);
    check("XSAVE, misaligned: #GP", trap_of(xsave_at, (u64)area + 16), 13);
    asm volatile("pxor %xmm9, %xmm9");
    xrstor_at((u64)area);
    u64 seen;
    asm volatile("movq %%xmm9, %0" : "=r"(seen));
    check("XRSTOR: XMM9", seen, pattern);
    area[512] = 0;
    xrstor_at((u64)area);
    asm volatile("movq %%xmm9, %0" : "=r"(seen));
    check("XRSTOR without the SSE bit: initial state", seen, 0);
    area[512] = 4;
    check("XRSTOR of a component that XCR0 lacks: #GP", trap_of(xrstor_at, (u64)area), 13);
    area[512] = 0;
    area[520] = 1;
    check("XRSTOR, XCOMP_BV not zero: #GP", trap_of(xrstor_at, (u64)area), 13);
    area[520] = 0;
}

void payload_main(void) {
    cpuid_is_sane();
    msrs();
    fxsave();
    xsave();
}
