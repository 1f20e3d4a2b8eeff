// Signals in the middle of vector and x87 code: a timer and a second thread interrupt loops that keep their sums in registers only;
// the handlers use every one of these registers for something else. signals SECONDS; says how often it was interrupted.
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t interrupted;
static volatile int over;
static int avx;
static pthread_t main_thread;

static void handler(int number) {
    ++interrupted;
    unsigned char noise[32];
    memset(noise, (int)interrupted | 0x80, sizeof noise);
    if (avx) __asm__ volatile("vmovdqu %0, %%ymm0; vmovdqu %0, %%ymm1; vmovdqu %0, %%ymm2; vmovdqu %0, %%ymm7; vmovdqu %0, %%ymm8; vmovdqu %0, %%ymm15" ::"m"(noise) : "memory");
    else __asm__ volatile("movdqu %0, %%xmm0; movdqu %0, %%xmm1; movdqu %0, %%xmm2; movdqu %0, %%xmm7; movdqu %0, %%xmm8; movdqu %0, %%xmm15" ::"m"(noise) : "memory");
    const unsigned mxcsr = 0x7fc0;
    __asm__ volatile("ldmxcsr %0; fninit; fldpi; fldl2e; fmulp; fstp %%st(0); cld" ::"m"(mxcsr));
    __asm__ volatile("mov %0, %%rax; imul %%rax, %%rax; bswap %%rax" ::"r"((long)number) : "rax", "cc");
}

/// Adds 1 to each of 4 or 8 lanes of six registers, `n` times, all in one stretch of code; the sum of all lanes.
static long sums(long n) {
    unsigned one[8] = {1, 1, 1, 1, 1, 1, 1, 1}, out[6][8];
    memset(out, 0, sizeof out);
    long count = n;
    if (avx)
        __asm__ volatile("vmovdqu %2, %%ymm15; vpxor %%ymm0, %%ymm0, %%ymm0; vpxor %%ymm1, %%ymm1, %%ymm1; vpxor %%ymm2, %%ymm2, %%ymm2; vpxor %%ymm7, %%ymm7, %%ymm7; vpxor %%ymm8, %%ymm8, %%ymm8\n"
                         "1: vpaddd %%ymm15, %%ymm0, %%ymm0; vpaddd %%ymm15, %%ymm1, %%ymm1; vpaddd %%ymm15, %%ymm2, %%ymm2; vpaddd %%ymm15, %%ymm7, %%ymm7; vpaddd %%ymm15, %%ymm8, %%ymm8; dec %0; jnz 1b\n"
                         "vmovdqu %%ymm0, (%1); vmovdqu %%ymm1, 32(%1); vmovdqu %%ymm2, 64(%1); vmovdqu %%ymm7, 96(%1); vmovdqu %%ymm8, 128(%1); vzeroupper"
                         : "+r"(count) : "r"(out), "m"(one) : "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm7", "xmm8", "xmm15");
    else
        __asm__ volatile("movdqu %2, %%xmm15; pxor %%xmm0, %%xmm0; pxor %%xmm1, %%xmm1; pxor %%xmm2, %%xmm2; pxor %%xmm7, %%xmm7; pxor %%xmm8, %%xmm8\n"
                         "1: paddd %%xmm15, %%xmm0; paddd %%xmm15, %%xmm1; paddd %%xmm15, %%xmm2; paddd %%xmm15, %%xmm7; paddd %%xmm15, %%xmm8; dec %0; jnz 1b\n"
                         "movdqu %%xmm0, (%1); movdqu %%xmm1, 32(%1); movdqu %%xmm2, 64(%1); movdqu %%xmm7, 96(%1); movdqu %%xmm8, 128(%1)"
                         : "+r"(count) : "r"(out), "m"(one) : "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm7", "xmm8", "xmm15");
    long sum = 0;
    for (int r = 0; r < 5; ++r)
        for (int lane = 0; lane < (avx ? 8 : 4); ++lane) sum += out[r][lane];
    return sum / (avx ? 8 : 4) / 5;
}

/// Flags and registers over a long stretch, and x87 with its stack full.
static int others(long n) {
    long carry = 0, count = n;
    __asm__ volatile("xor %%eax, %%eax\n1: stc; adc $0, %%rax; clc; adc $0, %%rax; dec %0; jnz 1b; mov %%rax, %1" : "+r"(count), "=r"(carry)::"rax", "cc");
    long double sum = 0;
    count = n;
    __asm__ volatile("fldz; fld1; fld1; fld1\n1: fadd %%st, %%st(3); fxch %%st(2); fchs; fchs; fxch %%st(1); dec %1; jnz 1b; fstp %%st(0); fstp %%st(0); fstp %%st(0)" : "=t"(sum), "+r"(count)::"cc");
    unsigned mxcsr;
    __asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
    return carry == n && sum == (long double)n && (mxcsr & ~0x3fu) == 0x1f80;
}

static void* second(void* unused) {
    const struct timespec wait = {0, 700000};
    while (!over) pthread_kill(main_thread, SIGUSR1), nanosleep(&wait, 0);
    return unused;
}

int main(int count, char** arguments) {
    const time_t end = time(0) + (count > 1 ? atoi(arguments[1]) : 5);
    avx = __builtin_cpu_supports("avx2");
    struct sigaction action = {.sa_handler = handler};
    sigaction(SIGALRM, &action, 0);
    sigaction(SIGUSR1, &action, 0);
    main_thread = pthread_self();
    pthread_t thread;
    pthread_create(&thread, 0, second, 0);
    const struct itimerval timer = {{0, 1000}, {0, 1000}};
    setitimer(ITIMER_REAL, &timer, 0);
    long wrong = 0, rounds = 0;
    for (; time(0) < end; ++rounds) {
        const long n = 100000 + rounds % 1000 * 317;
        wrong += sums(n) != n;
        wrong += !others(n);
    }
    over = 1;
    pthread_join(thread, 0);
    printf("%s, wrong %ld, interrupted %s\n", avx ? "ymm" : "xmm", wrong, interrupted > 20 ? "often" : "hardly");
    fprintf(stderr, "rounds %ld, interrupted %d\n", rounds, (int)interrupted);
    return wrong != 0;
}
