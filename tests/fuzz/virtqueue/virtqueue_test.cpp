// The virtqueue walker against rings full of noise: whatever the guest writes, it comes back with valid pieces of RAM, an
// error or nothing, in bounded time and memory. Seeded: a failure names its seed. YADO_FUZZ_ROUNDS runs more.
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>
#include <thread>

#include "virtio/queue/virt_queue.h"

namespace yado::virtio {
namespace {

constexpr uint64_t kRam = 1 << 20, kDesc = 0x1000, kDriver = 0x3000, kDevice = 0x5000, kTables = 0x8000;

struct Quiet final : VirtQueue::Events {
    void signal(unsigned) override { ++signals; }
    void failed(unsigned, const Error&) override { ++failures; }
    void again(unsigned) override {}
    unsigned signals = 0, failures = 0;
};

class Noise {
  public:
    Noise(uint64_t seed, mem::GuestMemory& ram) : random_(seed), ram_(ram) {}
    uint64_t below(uint64_t n) { return random_() % n; }
    bool chance(unsigned percent) { return below(100) < percent; }

    /// An address that is mostly in RAM, sometimes at its edges, sometimes anywhere.
    uint64_t address() {
        switch (below(12)) {
        case 0: return random_();
        case 1: return kRam - below(64);
        case 2: return ~0ull - below(64);
        case 3: return kTables + 16 * below(64);
        default: return 0x20000 + below(kRam - 0x40000);
        }
    }
    uint32_t length() {
        switch (below(10)) {
        case 0: return static_cast<uint32_t>(random_());
        case 1: return 0;
        case 2: return static_cast<uint32_t>(16 * below(80));
        default: return static_cast<uint32_t>(1 + below(4096));
        }
    }
    void descriptor(uint64_t at, uint16_t size, bool packed) {
        uint16_t flags = static_cast<uint16_t>((chance(40) ? VIRTQ_DESC_F_NEXT : 0) | (chance(60) ? VIRTQ_DESC_F_WRITE : 0) | (chance(8) ? VIRTQ_DESC_F_INDIRECT : 0));
        if (packed) flags |= static_cast<uint16_t>(chance(70) ? VIRTQ_DESC_F_AVAIL : chance(50) ? VIRTQ_DESC_F_USED : random_());
        const auto next = static_cast<uint16_t>(chance(95) ? below(size) : random_());
        put(at, flags & VIRTQ_DESC_F_INDIRECT && chance(80) ? kTables : address());
        put(at + 8, length());
        put<uint16_t>(at + 12, packed ? next : flags);
        put<uint16_t>(at + 14, packed ? flags : next);
    }
    void rings(uint16_t size, bool packed) {
        for (uint64_t i = 0; i < size; ++i) descriptor(kDesc + 16 * i, size, packed);
        for (uint64_t i = 0; i < 64; ++i) descriptor(kTables + 16 * i, 64, packed);
        put<uint16_t>(kDriver, static_cast<uint16_t>(random_()));
        put<uint16_t>(kDriver + 2, static_cast<uint16_t>(chance(85) ? below(size + 2u) : random_()));
        for (uint64_t i = 0; i <= size; ++i) put<uint16_t>(kDriver + 4 + 2 * i, static_cast<uint16_t>(chance(95) ? below(size) : random_()));
    }
    void scribble() {
        const uint64_t at = chance(50) ? kDesc + below(0x1000) : chance(50) ? kDriver + below(64) : kTables + below(1024);
        put<uint8_t>(at, static_cast<uint8_t>(random_()));
    }

  private:
    template <typename T>
    void put(uint64_t at, T value) {
        ASSERT_TRUE(ram_.store(GuestPhysAddr(at), value));
    }
    std::mt19937_64 random_;
    mem::GuestMemory& ram_;
};

struct Arena {
    mem::GuestMemory ram;
    io::Gate gate;
    Quiet events;
    Arena() { EXPECT_TRUE(ram.add_ram(GuestPhysAddr(0), Bytes(kRam))); }
};

void check_pieces(const Chain& chain) {
    uint64_t sum = 0;
    for (const auto side : {chain.readable(), chain.writable()})
        for (const mem::GuestRange& piece : side) {
            ASSERT_GT(piece.size().value(), 0u);
            ASSERT_LE(piece.start().value() + piece.size().value(), kRam);
            sum += piece.size().value();
        }
    ASSERT_EQ(sum, chain.readable_size() + chain.writable_size());
    ASSERT_LE(chain.readable().size() + chain.writable().size(), kMaxPieces);
}

/// Takes, gives back, puts back and keeps at random until the queue is dry or broken; returns how many were taken.
unsigned drain(VirtQueue& queue, Noise& noise, bool touch) {
    unsigned taken = 0;
    std::vector<Chain> kept;
    for (; taken < 4096; ++taken) {
        std::optional<Chain> chain = queue.pop();
        if (!chain) break;
        check_pieces(*chain);
        if (touch) {
            std::byte buffer[256]{};
            ChainCursor(queue.memory(), chain->readable()).read(buffer);
            ChainCursor(queue.memory(), chain->writable()).write(buffer);
        }
        if (noise.chance(5)) {
            queue.put_back(std::move(*chain));
        } else if (noise.chance(30)) {
            kept.push_back(std::move(*chain));
        } else {
            queue.complete(std::move(*chain), static_cast<uint32_t>(noise.below(5000)));
        }
        if (noise.chance(20)) noise.scribble();
    }
    for (Chain& chain : kept) queue.complete(std::move(chain), 1);
    return taken;
}

unsigned rounds() {
    const char* more = std::getenv("YADO_FUZZ_ROUNDS");
    return more ? static_cast<unsigned>(std::strtoul(more, nullptr, 10)) : 20'000;
}

void fuzz(bool packed) {
    unsigned taken = 0, failures = 0;
    for (uint64_t seed = 1; seed <= rounds(); ++seed) {
        SCOPED_TRACE(seed);
        static Arena arena;
        arena.events = {};
        Noise noise(seed * 2 + packed, arena.ram);
        const auto size = static_cast<uint16_t>(packed ? 1 + noise.below(64) : 1u << noise.below(7));
        noise.rings(size, packed);
        const RingConfig config{size, GuestPhysAddr(kDesc), GuestPhysAddr(kDriver), GuestPhysAddr(kDevice), packed, noise.chance(50), noise.chance(70)};
        auto queue = VirtQueue::create(0, config, {}, arena.ram, arena.gate, arena.events);
        ASSERT_TRUE(queue);
        taken += drain(**queue, noise, noise.chance(30));
        failures += arena.events.failures;
        ASSERT_EQ(arena.gate.inside(), 0u) << "every chain has gone";
        if (testing::Test::HasFatalFailure()) return;
    }
    // The noise must reach both sides, or it tests nothing.
    EXPECT_GT(taken, rounds() / 4);
    EXPECT_GT(failures, rounds() / 10);
}

TEST(VirtqueueFuzz, SplitRingsOfNoise) { fuzz(false); }
TEST(VirtqueueFuzz, PackedRingsOfNoise) { fuzz(true); }

TEST(VirtqueueFuzz, RegistersOfNoiseMakeNoQueueOutsideOfRam) {
    Arena arena;
    std::mt19937_64 random(7);
    for (unsigned i = 0; i < 20'000; ++i) {
        const auto address = [&] { return GuestPhysAddr(random() % 3 ? random() % (2 * kRam) & ~15ull : random()); };
        const RingConfig config{static_cast<uint16_t>(random()), address(), address(), address(), random() % 2 == 0, true, true};
        if (auto queue = VirtQueue::create(0, config, {}, arena.ram, arena.gate, arena.events)) (*queue)->pop();
    }
}

TEST(VirtqueueFuzz, AGuestThatRacesWithTheWalkerSeesNoHarm) {
    Arena arena;
    std::atomic<bool> stop{false};
    std::jthread racer([&] {
        // Plain stores next to the device's reads, as another vCPU would make them.
        auto bytes = arena.ram.bytes(*arena.ram.range(GuestPhysAddr(0), Bytes(0x10000), mem::GuestMemory::Intent::Write));
        std::mt19937_64 random(3);
        while (!stop.load(std::memory_order_relaxed)) bytes[kDesc + random() % 0x800] = static_cast<std::byte>(random());
    });
    for (uint64_t seed = 1; seed <= 2000; ++seed) {
        Noise noise(seed, arena.ram);
        noise.rings(16, seed % 2);
        const RingConfig config{16, GuestPhysAddr(kDesc), GuestPhysAddr(kDriver), GuestPhysAddr(kDevice), seed % 2 == 1, true, true};
        auto queue = VirtQueue::create(0, config, {}, arena.ram, arena.gate, arena.events);
        ASSERT_TRUE(queue);
        drain(**queue, noise, true);
    }
    stop = true;
}

}  // namespace
}  // namespace yado::virtio
