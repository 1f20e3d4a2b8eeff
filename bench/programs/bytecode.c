/* A stack machine's interpreter loop, running a sieve of primes written in its bytecode. */
#include "bench.h"

#include <string.h>

enum op { kPush, kLoad, kStore, kLoadAt, kStoreAt, kAdd, kMultiply, kLess, kJump, kJumpIfZero, kEnd };
enum variable { kI, kJ, kCount, kSum, kFlags = 16 }; /* kFlags: one word a number, set if it is composite */
enum label { kLoop = 4, kPrime = 21, kMark = 42, kNext = 65, kDone = 74 };
enum { kLimit = 8000 };

static const int kCode[] = {
    kPush, 2, kStore, kI,                                                 /* i = 2 */
    kLoad, kI, kPush, kLimit, kLess, kJumpIfZero, kDone,                  /* kLoop: while i < limit */
    kLoad, kI, kPush, kFlags, kAdd, kLoadAt, kJumpIfZero, kPrime,         /*   if not flags[i] */
    kJump, kNext,                                                         /*   { */
    kLoad, kCount, kPush, 1, kAdd, kStore, kCount,                        /* kPrime: count += 1 */
    kLoad, kSum, kLoad, kI, kLoad, kI, kMultiply, kAdd, kStore, kSum,     /*     sum += i * i */
    kLoad, kI, kStore, kJ,                                                /*     j = i */
    kLoad, kJ, kLoad, kI, kAdd, kStore, kJ,                               /* kMark: j += i */
    kLoad, kJ, kPush, kLimit, kLess, kJumpIfZero, kNext,                  /*     while j < limit */
    kPush, 1, kLoad, kJ, kPush, kFlags, kStoreAt,                         /*       flags[j] = 1 */
    kJump, kMark,                                                         /*   } */
    kLoad, kI, kPush, 1, kAdd, kStore, kI,                                /* kNext: i += 1 */
    kJump, kLoop,
    kEnd,                                                                 /* kDone */
};
_Static_assert(sizeof kCode / sizeof *kCode == kDone + 1, "the labels are positions in the code");

static void interpret(const int* code, int64_t* memory) {
    int64_t stack[16], *top = stack;
    for (const int* at = code;;) {
        switch ((enum op)*at++) {
        case kPush: *top++ = *at++; break;
        case kLoad: *top++ = memory[*at++]; break;
        case kStore: memory[*at++] = *--top; break;
        case kLoadAt: top[-1] = memory[top[-1]]; break;
        case kStoreAt: top -= 3; memory[top[1] + top[2]] = top[0]; break;
        case kAdd: top--; top[-1] += top[0]; break;
        case kMultiply: top--; top[-1] *= top[0]; break;
        case kLess: top--; top[-1] = top[-1] < top[0]; break;
        case kJump: at = code + *at; break;
        case kJumpIfZero: at = *--top ? at + 1 : code + *at; break;
        case kEnd: return;
        }
    }
}

uint64_t run_bytecode(int64_t* memory) {
    uint64_t sum = 0;
    for (int i = 0; i < 20; i++) {
        memset(memory, 0, kBytecodeMemory * sizeof *memory);
        interpret(kCode, memory);
        sum = mix(sum, (uint64_t)(memory[kSum] + memory[kCount]));
    }
    return sum;
}
