// A triple fault: a fault whose handler, and the double fault's, cannot be reached. Ends the machine, not by the exit port.
#include "payload.h"

void payload_main(void) {
    const struct __attribute__((packed)) { u16 limit; u64 base; } nothing = {0, 0};
    print("triple fault: now\n");
    asm volatile("lidt %0; ud2" ::"m"(nothing));
    print("triple fault: FAIL, still here\n");
}
