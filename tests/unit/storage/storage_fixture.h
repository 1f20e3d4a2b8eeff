// A folder of its own and an executor driven by the test: what every storage test stands on.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <vector>

#include "block/disk_image.h"
#include "io/call_on.h"
#include "io/executor.h"
#include "storage/disk.h"
#include "storage/file/host_file.h"
#include "storage/raw/raw_image.h"

namespace yado::storage {

class StorageTest : public testing::Test {
  protected:
    StorageTest() {
        char name[] = "/tmp/yado-storage-XXXXXX";
        folder_ = mkdtemp(name);
    }
    ~StorageTest() override { std::filesystem::remove_all(folder_); }

    std::string file(const std::string& name, uint64_t size, char fill = 0) {
        const std::string path = folder_ + "/" + name;
        std::ofstream(path) << std::string(size, fill);
        return path;
    }
    std::string contents(const std::string& path) {
        std::ifstream in(path);
        return {std::istreambuf_iterator<char>(in), {}};
    }
    template <typename T>
    T wait(io::Task<T> task) {
        return io::run_until_done(executor_, std::move(task));
    }
    Result<std::unique_ptr<block::DiskImage>> try_open(DiskConfig config) { return wait(open_disk(executor_, std::move(config))); }
    Result<std::unique_ptr<block::DiskImage>> open_as_raw(const HostFileConfig& config) {
        return open_raw(YADO_TRY(open_host_file(executor_, config)));
    }
    Result<> write(block::DiskImage& disk, uint64_t at, std::string data) {
        const iovec v{data.data(), data.size()};
        return wait(disk.writev(Bytes(at), {&v, 1}));
    }
    std::string read(block::DiskImage& disk, uint64_t at, size_t n) {
        std::string data(n, '?');
        const iovec v{data.data(), n};
        const auto r = wait(disk.readv(Bytes(at), {&v, 1}));
        EXPECT_TRUE(r.has_value()) << r.error().message();
        return data;
    }
    /// Random operations, several in flight, against a copy in memory. Overlapping ones are never in flight together.
    void torture(block::DiskImage& disk, std::string model, unsigned rounds);

    std::string folder_;
    io::Executor executor_;
};

inline void StorageTest::torture(block::DiskImage& disk, std::string model, unsigned rounds) {
    std::mt19937 random(7);
    for (unsigned round = 0; round < rounds; ++round) {
        const uint64_t stripe = model.size() / 8;
        size_t pending = 8;
        std::vector<std::string> buffers(8);
        std::vector<std::vector<iovec>> pieces(8);
        for (size_t i = 0; i < 8; ++i) {  // one operation in each eighth: in flight together, next to each other
            const uint64_t at = i * stripe + random() % (stripe / 512) * 512;
            const uint64_t n = std::min<uint64_t>(((i + 1) * stripe - at) / 512, 1 + random() % 40) * 512;
            const unsigned kind = random() % 4;
            auto done = [&pending](Result<> r) {
                EXPECT_TRUE(r.has_value());
                --pending;
            };
            if (kind == 3) {
                std::fill_n(model.begin() + static_cast<ptrdiff_t>(at), n, 0);
                io::spawn(disk.write_zeroes(Bytes(at), Bytes(n), random() % 2), done);
                continue;
            }
            buffers[i].assign(n, static_cast<char>(random()));
            const size_t cut = random() % n;
            pieces[i] = {{buffers[i].data(), cut}, {buffers[i].data() + cut, n - cut}};
            if (kind == 0) {
                const std::string expected = model.substr(at, n);
                io::spawn(disk.readv(Bytes(at), pieces[i]), [&, i, expected, done](Result<> r) {
                    EXPECT_EQ(buffers[i], expected);
                    done(r);
                });
            } else {
                std::ranges::copy(buffers[i], model.begin() + static_cast<ptrdiff_t>(at));
                io::spawn(disk.writev(Bytes(at), pieces[i]), done);
            }
        }
        while (pending > 0) executor_.run_once(std::chrono::seconds(1));
    }
    EXPECT_EQ(read(disk, 0, model.size()), model);
}

}  // namespace yado::storage
