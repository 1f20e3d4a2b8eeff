// An IDT in nowhere: its gates read as all ones, so that no exception can be delivered. Ends the machine as `triple` does.
#include "payload.h"

void payload_main(void) {
    const struct __attribute__((packed)) { u16 limit; u64 base; } nowhere = {0xfff, 0xf0000000};
    print("triple fault: now\n");
    asm volatile("lidt %0; mov %1, %%cr3" ::"m"(nowhere), "r"(0xe00000000ull) : "memory");   // and no page tables either
    print("triple fault: FAIL, still here\n");
}
