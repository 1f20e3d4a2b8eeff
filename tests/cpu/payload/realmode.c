// Real mode: segments, wrap-around, interrupts through the vector table, limits, BCD, a 16-bit stack, "unreal" limits.
// SDM vol. 3, chapter 20.
#include "payload32.h"

u32 real_call(u32 offset);
extern u8 real_code[], real_code_end[];
#define CALL(name) ({ extern u8 off_##name[]; real_call((u32)off_##name); })

void payload_main(void) {
    for (u32 i = 0; real_code + i != real_code_end; ++i) ((volatile u8*)0x8000)[i] = real_code[i];
    gdt[0x70 >> 3] = segment(0, 0xffff, 0x9b, 0);
    gdt[0x78 >> 3] = segment(0, 0xffff, 0x93, 0);
    *(volatile u32*)0x9000 = 0xcafe0001;
    *(volatile u32*)0x9004 = 0xcafe0002;
    check("a segment is 16 times its selector", CALL(segments), 0xcafe0001);
    check("offsets wrap at 64 KiB", CALL(wrap), 0xcafe0002);
    check("INT through the vector table and IRET", CALL(soft_int), 0x3333);
    check("#DE through the vector table", CALL(divide), 0xdead);
    check("beyond FFFF: #GP, without an error code", CALL(limit), 0x800);
    *(volatile u32*)0xa000 = 0x5678;
    check("REP MOVSW with SS: override", CALL(strings), 0x01105678);
    check("PUSHA, POPA, ENTER, LEAVE", CALL(stack), 0x1234);
    check("ADD and DAA", CALL(bcd), 0x42);
    check("SMSW: PE is clear", CALL(smsw) & 1, 0);
    check("unreal: a limit outlives protected mode", CALL(unreal), *(volatile u32*)0x100000);
}
