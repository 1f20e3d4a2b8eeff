// What gdb steps through: integers, strings, vectors, x87, calls; no library, so that every processor goes the same way.
typedef unsigned long u64;
static volatile u64 watched;
static unsigned char from[96], to[96];

static __attribute__((noinline)) u64 integers(u64 n) {
    u64 sum = 1;
    for (u64 i = 1; i < n; ++i) sum = (sum << 5 | sum >> 59) * (i | 1) / (i + 3) + (sum ^ i);
    return sum;
}
static __attribute__((noinline)) double floats(int n) {
    double sum = 0.5;
    long double longer = 1.0L;
    for (int i = 1; i < n; ++i) sum = sum * 1.25 + 1.0 / i, longer = longer / 3.0L + sum;
    return sum + (double)longer;
}
static __attribute__((noinline)) void strings(void) {
    for (int i = 0; i < 96; ++i) from[i] = (unsigned char)(i * 37);
    void *d = to, *s = from;
    u64 n = 11;
    __asm__ volatile("cld; rep movsq" : "+D"(d), "+S"(s), "+c"(n)::"memory");
    __asm__ volatile("movdqu %0, %%xmm3; pxor %%xmm3, %%xmm0; paddb %%xmm3, %%xmm0; pmuludq %%xmm3, %%xmm0" ::"m"(to) : "xmm0", "xmm3");
}
__attribute__((noinline)) void stepped(void) {
    watched = integers(12);
    watched += (u64)floats(9);
    strings();
    watched ^= to[40];
}
void _start(void) {
    __asm__ volatile("pxor %%xmm0, %%xmm0; pxor %%xmm1, %%xmm1; pxor %%xmm2, %%xmm2; pxor %%xmm3, %%xmm3" ::: "xmm0", "xmm1", "xmm2", "xmm3");
    stepped();
    __asm__ volatile("syscall" ::"a"(60), "D"(0));
}
