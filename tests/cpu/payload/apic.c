// Interrupts: the local APIC's timer, self IPI, TPR and CR8, the PIC and the PIT, STI's shadow, HLT. SDM vol. 3, chapter 11;
// 8259A and 8254 data sheets.
#include "payload.h"

static volatile u64 hits[256];
static bool x2apic;
static volatile u32* const lapic = (volatile u32*)0xfee00000;
enum { ID = 2, TPR = 8, EOI = 0xb, SVR = 0xf, ISR = 0x10, IRR = 0x20, ICR = 0x30, ICR2 = 0x31, TIMER = 0x32, INITIAL = 0x38, CURRENT = 0x39, DIVIDE = 0x3e };

static u32 get(u32 reg) { return x2apic ? (u32)rdmsr(0x800 + reg) : lapic[reg * 4]; }
static void set(u32 reg, u32 value) {
    if (x2apic) wrmsr(0x800 + reg, value);
    else lapic[reg * 4] = value;
}

static bool from_pic[256];
static bool count(struct Frame* frame) {
    if (frame->vector < 0x20) return false;
    ++hits[frame->vector];
    if (from_pic[frame->vector]) outb(0x20, 0x20);
    else set(EOI, 0);
    return true;
}
static bool wait_for(unsigned vector, u64 want) {
    asm volatile("sti");
    for (u64 end = rdtsc() + 4000000000ull; hits[vector] < want && rdtsc() < end;) asm volatile("pause");
    asm volatile("cli");
    return hits[vector] >= want;
}
static void wait_halted(unsigned vector, u64 want) {
    while (hits[vector] < want) asm volatile("sti; hlt; cli");
}

static void self_ipi(u32 vector) {
    if (x2apic) wrmsr(0x830, 0x40000 | vector);
    else set(ICR, 0x40000 | vector);
}

static void ipis(void) {
    hits[0x50] = 0;
    self_ipi(0x50);
    for (volatile int i = 0; i < 100; ++i) {}
    check("a self IPI waits while IF is clear", hits[0x50], 0);
    check("it is in the IRR", get(IRR + 2) >> 16 & 1, 1);
    asm volatile("sti; nop; nop; cli");
    check("it comes with STI", hits[0x50], 1);
    self_ipi(0x51);
    asm volatile("sti; cli");
    check("not in STI's shadow", hits[0x51], 0);
    asm volatile("sti; nop; nop; cli");
    check("but after it", hits[0x51], 1);
    WRITE_CR(8, 5);
    check("CR8 is TPR's upper half", get(TPR), 0x50);
    self_ipi(0x52);
    asm volatile("sti; nop; nop; nop; cli");
    check("TPR holds its own class back", hits[0x52], 0);
    self_ipi(0x63);
    asm volatile("sti; nop; nop; nop; cli");
    check("not the class above", hits[0x63], 1);
    WRITE_CR(8, 0);
    asm volatile("sti; nop; nop; nop; cli");
    check("CR8 lowered lets it come", hits[0x52], 1);
    self_ipi(0x70);
    self_ipi(0x80 + 1);
    asm volatile("sti; nop; nop; nop; nop; cli");
    check("two at once", hits[0x70] + hits[0x81], 2);
}

static void timer(void) {
    set(DIVIDE, 0xb);
    hits[0x60] = 0;
    set(TIMER, 0x60);
    set(INITIAL, 10000);
    check("the timer, one-shot", wait_for(0x60, 1), 1);
    check("one-shot: it stopped", get(CURRENT), 0);
    set(TIMER, 0x20060);
    set(INITIAL, 10000);
    check("the timer, periodic", wait_for(0x60, 5), 1);
    set(TIMER, 0x10060);
    set(INITIAL, 0);
    asm volatile("sti; nop; nop; cli");  // a tick that came before may still wait
    hits[0x60] = 0;
    set(TIMER, 0x60);
    set(INITIAL, 1000000);
    wait_halted(0x60, 1);
    check("the timer wakes HLT", hits[0x60], 1);
    u32 regs[4];
    cpuid(1, 0, regs);
    if (regs[2] & 1 << 24) {
        set(TIMER, 0x40061);
        wrmsr(0x6e0, rdtsc() + 1000000);
        check("TSC deadline", wait_for(0x61, 1), 1);
        check("TSC deadline: the MSR is 0 again", rdmsr(0x6e0), 0);
    }
    set(TIMER, 0x10060);
}

static void pic_and_pit(void) {
    static const u8 kInit[4] = {0x11, 0x20, 0x04, 0x01};
    outb(0x20, kInit[0]);
    for (unsigned i = 1; i < 4; ++i) outb(0x21, kInit[i]);
    outb(0x21, 0xfe);
    outb(0xa1, 0xff);
    from_pic[0x20] = from_pic[0x27] = true;
    set(0x35, 0x700);   // LINT0: ExtINT
    outb(0x43, 0x34);
    outb(0x40, 0xa9);   // 1193 ticks: 1 kHz
    outb(0x40, 0x04);
    check("the PIT through the PIC", wait_for(0x20, 3), 1);
    outb(0x21, 0xff);
    const u64 seen = hits[0x20];
    asm volatile("sti; nop; nop; cli");
    for (u64 end = rdtsc() + 10000000; rdtsc() < end;) asm volatile("sti; nop; cli");
    check("masked in the PIC", hits[0x20] - seen <= 1, 1);
    hits[0x20] = 0;
    outb(0x21, 0xfe);
    wait_halted(0x20, 1);
    check("the PIT wakes HLT", hits[0x20] >= 1, 1);
    outb(0x21, 0xff);
}

static void bad_msr(u64 number) { wrmsr((u32)number, 0); }
void payload_main(void) {
    trap_hook = count;
    outb(0x21, 0xff);
    outb(0xa1, 0xff);
    set(SVR, 0x1ff);
    ipis();
    timer();
    pic_and_pit();
    u32 regs[4];
    cpuid(1, 0, regs);
    if (regs[2] & 1 << 21) {
        wrmsr(0x1b, rdmsr(0x1b) | 0x400);
        x2apic = true;
        print("x2APIC\n");
        for (unsigned i = 0; i < 256; ++i) hits[i] = 0;
        set(SVR, 0x1ff);
        ipis();
        timer();
        check("x2APIC: a register that is not there: #GP", trap_of(bad_msr, 0x80e), 13);
        wrmsr(0x83f, 0x90);
        asm volatile("sti; nop; nop; cli");
        check("x2APIC: SELF IPI", hits[0x90], 1);
    }
}
