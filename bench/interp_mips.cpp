// Speed of the reference interpreter on ordinary compiled integer code, beside the same code run natively.
// The kernels below are compiled once; their bytes are copied into a guest and run there until HLT.
// Usage: interp_mips [seconds per kernel]
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>

#include "cpu/cpu_model.h"
#include "cpu_interp/interp.h"

// Position-independent, self-contained: no jump tables, no vectors, no calls out of the section.
#define KERNEL extern "C" __attribute__((section("guest_code"), noinline, optimize("no-tree-vectorize", "no-jump-tables", "no-stack-protector")))

namespace {
struct Work {
    uint64_t rounds;
    uint32_t table[4096];
    uint32_t data[65536];
};
}  // namespace

KERNEL uint64_t kernel_sort(Work* w) {
    uint64_t sum = 0;
    for (uint64_t round = 0; round < w->rounds; ++round) {
        uint32_t x = 12345 + static_cast<uint32_t>(round);
        for (unsigned i = 0; i < 2048; ++i) w->data[i] = x = x * 1664525 + 1013904223;
        for (unsigned gap : {701u, 301u, 132u, 57u, 23u, 10u, 4u, 1u})
            for (unsigned i = gap; i < 2048; ++i) {
                const uint32_t v = w->data[i];
                unsigned j = i;
                for (; j >= gap && w->data[j - gap] > v; j -= gap) w->data[j] = w->data[j - gap];
                w->data[j] = v;
            }
        sum += w->data[17];
    }
    return sum;
}

KERNEL uint64_t kernel_hash(Work* w) {
    uint64_t found = 0;
    for (uint64_t round = 0; round < w->rounds; ++round)
        for (uint32_t key = 1; key < 20000; ++key) {
            uint32_t h = key * 2654435761u;
            h ^= h >> 15;
            unsigned at = h & 65535;
            for (unsigned probe = 0; probe < 8 && w->data[at] != key; ++probe) {
                if (w->data[at] == 0) w->data[at] = key;
                at = (at + 1) & 65535;
            }
            found += w->data[at] == key;
        }
    return found;
}

KERNEL uint64_t kernel_crc(Work* w) {
    uint32_t crc = ~0u;
    for (unsigned n = 0; n < 256; ++n) {
        uint32_t c = n;
        for (int k = 0; k < 8; ++k) c = c & 1 ? 0xedb88320 ^ c >> 1 : c >> 1;
        w->table[n] = c;
    }
    const auto* bytes = reinterpret_cast<const uint8_t*>(w->data);
    for (uint64_t round = 0; round < w->rounds; ++round)
        for (unsigned i = 0; i < 65536; ++i) crc = w->table[(crc ^ bytes[i]) & 0xff] ^ crc >> 8;
    return crc;
}

KERNEL uint64_t fibonacci(uint64_t n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }
KERNEL uint64_t kernel_calls(Work* w) {
    uint64_t sum = 0;
    for (uint64_t round = 0; round < w->rounds; ++round) sum += fibonacci(18);
    return sum;
}

extern "C" const std::byte __start_guest_code[], __stop_guest_code[];

namespace {

using namespace yado;
using Kernel = uint64_t (*)(Work*);
constexpr uint64_t kCode = 0x200000, kWork = 0x400000, kStack = 0x180000, kStub = 0x1ff000, kTables = 0x1000;

struct NoDevices final : cpu::DeviceAccess {
    uint64_t port_read(Port, unsigned) override { return 0; }
    void port_write(Port, unsigned, uint64_t) override {}
    uint64_t mmio_read(GuestPhysAddr, unsigned) override { return 0; }
    void mmio_write(GuestPhysAddr, unsigned, uint64_t) override {}
};

cpu::CpuState start(uint64_t entry) {
    cpu::CpuState s = cpu::reset_state();
    for (cpu::Segment& g : s.seg) g = {0x10, 0xc093, 0xffffffff, 0};
    s.seg[cpu::CS] = {0x08, 0xa09b, 0xffffffff, 0};
    s.cr0 = cpu::cr0::PE | cpu::cr0::PG | cpu::cr0::ET | cpu::cr0::NE;
    s.cr3 = kTables;
    s.cr4 = cpu::cr4::PAE | cpu::cr4::OSFXSR;
    s.efer = cpu::efer::LME | cpu::efer::LMA;
    s.gpr = {};
    s.gpr[cpu::RSP] = kStack;
    s.gpr[cpu::RDI] = kWork;
    s.gpr[cpu::RAX] = entry;
    s.rip = kStub;
    return s;
}

struct Bench {
    mem::GuestMemory memory;
    NoDevices devices;
    cpu::CpuModel model = *cpu::make_model("x86-64-v2", cpu_interp::supported_features(), 1, 1'000'000'000);
    std::shared_ptr<cpu_interp::Shared> shared;
    std::unique_ptr<cpu::Vcpu> vcpu;

    Bench() {
        (void)memory.add_ram(GuestPhysAddr(0), 16_MiB);
        shared = cpu_interp::make_shared_state(memory);
        (void)memory.store(GuestPhysAddr(kTables), uint64_t{kTables + 0x1000} | 7);
        (void)memory.store(GuestPhysAddr(kTables + 0x1000), uint64_t{kTables + 0x2000} | 7);
        for (uint64_t n = 0; n < 8; ++n) (void)memory.store(GuestPhysAddr(kTables + 0x2000 + 8 * n), n << 21 | 0x87);
        (void)memory.write(GuestPhysAddr(kCode), std::span(__start_guest_code, __stop_guest_code));
        const uint8_t stub[] = {0xff, 0xd0, 0xf4};  // call *%rax; hlt
        (void)memory.write(GuestPhysAddr(kStub), std::as_bytes(std::span(stub)));
        vcpu = std::move(*cpu_interp::make_vcpu({0, model, memory, devices, nullptr, nullptr, 1'000'000'000}, shared));
    }

    /// Returns the kernel's result, instructions and seconds.
    struct Run {
        uint64_t result, instructions;
        double seconds;
    };
    Run run(Kernel kernel, uint64_t rounds) {
        (void)memory.store(GuestPhysAddr(kWork), rounds);
        const auto offset = reinterpret_cast<const std::byte*>(kernel) - __start_guest_code;
        (void)vcpu->set_state(start(kCode + static_cast<uint64_t>(offset)));
        const uint64_t before = vcpu->instructions();
        const auto t0 = std::chrono::steady_clock::now();
        (void)vcpu->run();
        const std::chrono::duration<double> took = std::chrono::steady_clock::now() - t0;
        return {vcpu->get_state()->gpr[cpu::RAX], vcpu->instructions() - before, took.count()};
    }
};

void measure(const char* name, Kernel kernel, double seconds) {
    Bench bench;
    uint64_t rounds = 1;
    Bench::Run r = bench.run(kernel, rounds);
    while (r.seconds < seconds) {
        rounds *= r.seconds < seconds / 8 ? 4 : 2;
        r = bench.run(kernel, rounds);
    }
    static Work work;
    std::memset(&work, 0, sizeof work);
    work.rounds = rounds;
    const auto t0 = std::chrono::steady_clock::now();
    const uint64_t native = kernel(&work);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - t0;
    std::printf("%-8s %7.1f M instructions/s, %5.1f x native%s\n", name, static_cast<double>(r.instructions) / r.seconds / 1e6,
                r.seconds / took.count(), native == r.result || kernel == kernel_hash ? "" : "  WRONG RESULT");
}

}  // namespace

int main(int argc, char** argv) {
    const double seconds = argc > 1 ? std::atof(argv[1]) : 0.5;
    measure("sort", kernel_sort, seconds);
    measure("hash", kernel_hash, seconds);
    measure("crc", kernel_crc, seconds);
    measure("calls", kernel_calls, seconds);
}
