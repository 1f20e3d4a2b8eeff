// Spoilt qcow2 images: whatever the bytes are, each of open, info, check, repair, snapshots, reads and writes comes back, in
// bounded time and memory. Seeded: a failure names its seed. YADO_FUZZ_ROUNDS runs more.
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>

#include "base/bytes.h"
#include "fakes/model_file.h"
#include "storage/qcow2/check.h"
#include "storage/qcow2/qcow2_format.h"
#include "storage/qcow2/snapshots.h"
#include "storage/qcow2/spec.h"

namespace yado::storage::qcow2 {
namespace {

using Contents = fakes::ModelFile::Contents;

uint64_t environment(const char* name, uint64_t fallback) {
    const char* text = std::getenv(name);
    return text && *text ? std::strtoull(text, nullptr, 0) : fallback;
}

/// A file in memory never waits.
template <typename T>
T now(io::Task<T> task) {
    std::optional<T> result;
    io::spawn(std::move(task), [&](T value) { result.emplace(std::move(value)); });
    YADO_CHECK(result.has_value());
    return std::move(*result);
}

Result<std::unique_ptr<block::DiskImage>> opened(std::span<const std::byte> bytes, bool readonly) {
    OpenOptions options;
    return now(qcow2_format().open(std::make_unique<fakes::ModelFile>(Contents(bytes.begin(), bytes.end()), readonly), std::move(options)));
}

constexpr uint64_t kMostRead = 4 << 20;

void read_some(block::DiskImage& disk) {
    std::vector<std::byte> buffer(64 << 10);
    const uint64_t size = std::min(disk.size().value(), kMostRead);
    for (uint64_t at = 0; at < size; at += buffer.size()) {
        const iovec v{buffer.data(), std::min<uint64_t>(buffer.size(), size - at)};
        (void)now(disk.readv(Bytes(at), {&v, 1}));
        const auto extent = now(disk.map(Bytes(at), Bytes(v.iov_len)));
        ASSERT_TRUE(!extent || (extent->length.value() > 0 && extent->length.value() <= v.iov_len));
    }
}

void write_some(block::DiskImage& disk) {
    std::vector<std::byte> buffer(8 << 10, std::byte{7});
    const uint64_t size = std::min(disk.size().value(), kMostRead);
    for (uint64_t at = 0; at + buffer.size() <= size; at += size / 16 / 512 * 512 + 512) {
        const iovec v{buffer.data(), buffer.size()};
        (void)now(disk.writev(Bytes(at), {&v, 1}));
        (void)now(disk.write_zeroes(Bytes(at / 2 / 512 * 512), Bytes(4096), at % 1024));
        (void)now(disk.discard(Bytes(at), Bytes(8 << 10)));
    }
    (void)now(disk.flush());
    (void)now(disk.resize(Bytes(size / 2 / 512 * 512)));
    (void)now(disk.resize(Bytes(size + (1 << 20))));
}

int fuzz_one_input(std::span<const std::byte> bytes) {
    const Contents contents(bytes.begin(), bytes.end());
    {
        fakes::ModelFile file(contents);
        (void)now(qcow2_format().info(file));
        (void)now(check(file, Repair::No));
        (void)now(list_snapshots(file));
    }
    for (const bool readonly : {true, false}) {
        auto disk = opened(bytes, readonly);
        if (!disk) continue;
        read_some(**disk);
        if (!readonly) write_some(**disk);
        (void)now((*disk)->close());
    }
    {
        fakes::ModelFile file(contents);
        (void)now(rollback_snapshot(file, "1"));
        (void)now(create_snapshot(file, "fuzz", 1));
        (void)now(delete_snapshot(file, "1"));
    }
    fakes::ModelFile file(contents);
    (void)now(check(file, Repair::Leaks));
    const auto repaired = now(check(file, Repair::All));
    if (repaired && repaired->errors == 0 && now(qcow2_format().info(file)))
        if (auto disk = opened(file.contents(), false)) (void)now((*disk)->close());
    return 0;
}

/// A valid image with data, zeroes, holes and a snapshot.
Contents seed_image(std::mt19937_64& random) {
    CreateOptions options;
    options.size = Bytes(1 << 20);
    options.cluster_size = Bytes(512ull << random() % 4);
    fakes::ModelFile file;
    YADO_CHECK(now(qcow2_format().create(file, options)).has_value());
    for (int part = 0; part < 2; ++part) {
        auto owned = std::make_unique<fakes::ModelFile>(file.contents());
        fakes::ModelFile& inner = *owned;
        OpenOptions none;
        auto disk = now(qcow2_format().open(std::move(owned), std::move(none)));
        YADO_CHECK(disk.has_value());
        for (int n = 0; n < 12; ++n) {
            std::vector<std::byte> data(512 * (1 + random() % 20), static_cast<std::byte>(random()));
            const iovec v{data.data(), data.size()};
            YADO_CHECK(now((*disk)->writev(Bytes(random() % 2000 * 512), {&v, 1})).has_value());
            YADO_CHECK(now((*disk)->write_zeroes(Bytes(random() % 2000 * 512), Bytes(8192), true)).has_value());
        }
        YADO_CHECK(now((*disk)->close()).has_value());
        fakes::ModelFile next(inner.contents());
        if (part == 0) YADO_CHECK(now(create_snapshot(next, "seed", 1)).has_value());
        fakes::ModelFile copy(next.contents());
        (void)now(file.resize(Bytes(0)));
        const iovec all{const_cast<std::byte*>(next.contents().data()), next.contents().size()};
        (void)now(file.writev(Bytes(0), {&all, 1}));
    }
    return file.contents();
}

/// Spoils what matters: header fields, table entries, sometimes anything.
void mutate(Contents& c, std::mt19937_64& random) {
    const auto u64 = [&](uint64_t at) { return at + 8 <= c.size() ? load_be<uint64_t>(c.data() + at) : 0; };
    const uint64_t cluster = 512;
    const auto value = [&]() -> uint64_t {
        switch (random() % 8) {
        case 0: return random();
        case 1: return ~0ull >> random() % 64;
        case 2: return 1ull << random() % 64;
        case 3: return random() % c.size();
        case 4: return (random() % (c.size() / cluster + 1) * cluster) | COPIED;
        case 5: return (random() % (c.size() / cluster + 1) * cluster) | (random() % 2 ? COMPRESSED | (random() % 8 << 60) : ZERO);
        case 6: return u64(random() % 14 * 8);
        default: return random() % 8;
        }
    };
    for (uint64_t n = 1 + random() % 4; n > 0; --n) {
        const uint64_t table[] = {random() % 112, u64(kL1OffsetAt) + random() % 64 * 8, u64(kRefcountOffsetAt) + random() % 8 * 8, u64(kSnapshotOffsetAt) + random() % 80,
                                  (u64(u64(kL1OffsetAt) + random() % 16 * 8) & kOffsetMask) + random() % 64 * 8, u64(u64(kRefcountOffsetAt)) + random() % 512, random()};
        const uint64_t at = table[random() % std::size(table)] % c.size();
        switch (random() % 4) {
        case 0: c[at] = static_cast<std::byte>(random()); break;
        case 1:
            if (at + 4 <= c.size()) store_be(c.data() + at, static_cast<uint32_t>(value()));
            break;
        default:
            if (at + 8 <= c.size()) store_be(c.data() + at / 8 * 8, value());
        }
    }
    if (random() % 20 == 0) c.resize(random() % c.size());
    if (c.empty()) c.resize(1);
}

TEST(Qcow2Fuzz, SpoiltImagesNeverDoHarm) {
    const uint64_t rounds = environment("YADO_FUZZ_ROUNDS", 400), first = environment("YADO_FUZZ_SEED", 1);
    for (uint64_t seed = first; seed < first + rounds; ++seed) {
        SCOPED_TRACE(seed);
        std::mt19937_64 random(seed);
        Contents image = seed_image(random);
        for (int n = 0; n < 4; ++n) {
            Contents spoilt = image;
            mutate(spoilt, random);
            fuzz_one_input(spoilt);
            if (testing::Test::HasFatalFailure()) return;
        }
    }
}

}  // namespace
}  // namespace yado::storage::qcow2
