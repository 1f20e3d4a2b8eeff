// What a checked guest memory access costs by the design of the check (docs/adr/0006-memory-check-compared.md), as code sequences on
// the host alone, without a translator: nanoseconds of processor time of one load, in a chain (each address is what the last load
// gave) and in a row (a sum). Then a miss that comes as SIGSEGV, and mapping and unmapping pages.
//
//   g++ -O2 -std=c++20 bench/access_cost.cpp -o access_cost && ./access_cost
#include <asm/prctl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <numeric>
#include <random>
#include <vector>

namespace {

constexpr uint64_t kPage = 4096, kSlots = 4096;
constexpr int kBatches = 9;

struct Entry {
    uint64_t read, write, host, meta;
};
alignas(64) Entry g_tlb[kSlots];
uint64_t* g_flat;        // deltas by page number from 0 on; GS points at it
uint64_t* g_upper[512];  // two levels: GiB, then page
uint64_t g_scratch;

double nanoseconds() {
    timespec t{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
}

// Each leaves the loaded value in v. rax, rcx are what a translator has to spare; the two-level walk needs more than that.
#define FINISH : "=r"(v) : "r"(a), "r"(g_tlb), "r"(g_upper) : "rax", "rcx", "memory", "cc"
struct Native {
    static uint64_t load(uint64_t a) { uint64_t v; asm volatile("mov (%1), %0" FINISH); return v; }
};
struct Compare {  // what is merged: one compare for page, rights, size, crossing
    static uint64_t load(uint64_t a) {
        uint64_t v;
        asm volatile("mov %1, %%rax; mov %%eax, %%ecx; shr $7, %%ecx; and $0x1ffe0, %%ecx; xor (%2, %%rcx), %%rax; cmp $4088, %%rax; ja 9f\n"
                     "mov 16(%2, %%rcx), %%rcx; mov (%%rax, %%rcx), %0; 9:" FINISH);
        return v;
    }
};
struct Flat {  // table of deltas; absent pages fault; accesses that cross a page are wrong
    static uint64_t load(uint64_t a) {
        uint64_t v;
        asm volatile("mov %1, %%rax; mov %%rax, %%rcx; sar $12, %%rcx; mov %%gs:(, %%rcx, 8), %%rcx; mov (%%rax, %%rcx), %0" FINISH);
        return v;
    }
};
struct FlatCrossing {  // the same, and crossing is seen
    static uint64_t load(uint64_t a) {
        uint64_t v;
        asm volatile("mov %1, %%rax; mov %%eax, %%ecx; and $4095, %%ecx; cmp $4088, %%ecx; ja 9f\n"
                     "mov %%rax, %%rcx; sar $12, %%rcx; mov %%gs:(, %%rcx, 8), %%rcx; mov (%%rax, %%rcx), %0; 9:" FINISH);
        return v;
    }
};
struct TwoLevels {  // two loads; a register more, here by way of memory
    static uint64_t load(uint64_t a) {
        uint64_t v;
        asm volatile("mov %1, %%rax; mov %%rax, %%rcx; shr $30, %%rcx; mov (%3, %%rcx, 8), %%rcx; mov %%rax, %4; shr $12, %%rax; and $0x3ffff, %%eax\n"
                     "mov (%%rcx, %%rax, 8), %%rcx; mov %4, %%rax; mov (%%rax, %%rcx), %0"
                     : "=r"(v) : "r"(a), "r"(g_tlb), "r"(g_upper), "m"(g_scratch) : "rax", "rcx", "memory", "cc");
        return v;
    }
};

/// The guest's memory at `guest`, a chain of 64-byte nodes through it in random order.
uint64_t make_chain(uint64_t guest, uint64_t host, size_t bytes) {
    std::vector<uint32_t> order(bytes / 64);
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin() + 1, order.end(), std::mt19937_64(1));
    for (size_t n = 0; n < order.size(); ++n)
        *reinterpret_cast<uint64_t*>(host + uint64_t{order[n]} * 64) = guest + uint64_t{order[(n + 1) % order.size()]} * 64;
    return guest;
}

void enter_page(uint64_t guest, uint64_t host) {
    g_tlb[guest >> 12 & (kSlots - 1)] = {guest, guest, host, 0};
    g_flat[guest >> 12] = host - guest;
    uint64_t*& lower = g_upper[guest >> 30];
    if (!lower) lower = static_cast<uint64_t*>(calloc(1 << 18, 8));
    lower[guest >> 12 & 0x3ffff] = host - guest;
}

template <typename F>
double median(F f, double count) {
    std::vector<double> each;
    for (int n = 0; n < kBatches; ++n) {
        const double from = nanoseconds();
        f();
        each.push_back((nanoseconds() - from) / count);
    }
    std::nth_element(each.begin(), each.begin() + kBatches / 2, each.end());
    return each[kBatches / 2];
}

template <typename Design>
void measure(const char* name, uint64_t start, size_t bytes) {
    const unsigned kLoads = bytes > 1 << 20 ? 1 << 17 : 1 << 20;
    uint64_t at = start, sum = 0;
    const auto chain = [&] {
        for (unsigned n = 0; n < kLoads; ++n) at = Design::load(at);
    };
    const auto row = [&] {
        for (unsigned n = 0; n < kLoads; ++n) sum += Design::load(start + (uint64_t{n} * 64 & (bytes - 1)));
    };
    const double chained = median(chain, kLoads), summed = median(row, kLoads);
    std::printf("%-28s %6zu KiB %8.2f %8.2f\n", name, bytes >> 10, chained, summed);
    if (at + sum == 1) std::puts("");  // both are wanted
}

void on_fault(int, siginfo_t*, void* context) { static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP] += 3; }

void misses() {
    struct sigaction action = {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &action, nullptr);
    constexpr unsigned kCount = 1000;
    const auto touch = [](uint64_t at) {
        return [at] {
            for (unsigned n = 0; n < kCount; ++n) asm volatile("mov (%0), %%rax" : : "D"(at) : "rax", "memory");
        };
    };
    std::printf("%-46s %8.0f\n", "a miss as SIGSEGV, page missing, ns", median(touch(64), kCount));
    std::printf("%-46s %8.0f\n", "the same, address not canonical, ns", median(touch(uint64_t{1} << 62), kCount));
}

void mappings(int memory) {
    constexpr unsigned kPages = 1000;
    char* window = static_cast<char*>(mmap(nullptr, 64 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    double unmapping = 0;
    const auto both = [&] {
        for (uint64_t n = 0; n < kPages; ++n)
            mmap(window + 2 * n * kPage, kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_POPULATE, memory,
                 static_cast<off_t>(n * 7 % kPages * kPage));
        const double from = nanoseconds();
        for (uint64_t n = 0; n < kPages; ++n) munmap(window + 2 * n * kPage, kPage);
        unmapping += nanoseconds() - from;
    };
    std::printf("%-46s %8.0f\n", "map and unmap a page, ns", median(both, kPages));
    std::printf("%-46s %8.0f\n", "of that unmap, mean, ns", unmapping / kPages / kBatches);
}

}  // namespace

int main() {
    constexpr size_t kMost = 8 << 20;
    const int memory = memfd_create("memory", 0);
    if (ftruncate(memory, kMost) != 0) return 1;
    const auto map = [&](uint64_t at, int fixed) {
        return reinterpret_cast<uint64_t>(mmap(reinterpret_cast<void*>(at), kMost, PROT_READ | PROT_WRITE, MAP_SHARED | fixed, memory, 0));
    };
    const uint64_t host = map(0, 0), guest = map(0x1'4000'0000, MAP_FIXED_NOREPLACE);  // the guest's own address, too, for design c
    g_flat = static_cast<uint64_t*>(mmap(nullptr, uint64_t{1} << 36, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (syscall(SYS_arch_prctl, ARCH_SET_GS, g_flat) != 0) return 1;
    for (uint64_t at = 0; at < kMost; at += kPage) enter_page(guest + at, host + at);
    std::printf("%-28s %10s %8s %8s  (ns a load)\n", "design", "memory", "chain", "row");
    for (const size_t bytes : {size_t{16} << 10, size_t{512} << 10, kMost}) {
        const uint64_t start = make_chain(guest, host, bytes);
        measure<Native>("c: at the guest's address", start, bytes);
        measure<Compare>("a: one compare", start, bytes);
        measure<Flat>("b: flat table", start, bytes);
        measure<FlatCrossing>("b: flat table, crossing seen", start, bytes);
        measure<TwoLevels>("b: two levels", start, bytes);
    }
    misses();
    mappings(memory);
}
