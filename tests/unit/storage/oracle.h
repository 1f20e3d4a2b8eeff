// qemu-img and qemu-io, another implementation of the formats, and images that lie in files for them.
#pragma once

#include <stdio.h>

#include <fstream>
#include <memory>
#include <string>

#include "format_fixture.h"
#include "storage/file/host_file.h"

namespace yado::storage {

class OracleTest : public FormatTest {
  protected:
    void SetUp() override {
        if (std::system("qemu-img --version > /dev/null 2>&1") != 0) GTEST_SKIP() << "qemu-img is not installed";
    }
    std::string path(const std::string& name) const { return folder_ + "/" + name; }

    /// Runs a command; fails the test if it fails. What it said.
    static std::string run(const std::string& command) {
        FILE* const pipe = popen((command + " 2>&1").c_str(), "r");
        std::string said;
        char buffer[4096];
        for (size_t n = 0; (n = fread(buffer, 1, sizeof buffer, pipe)) > 0;) said.append(buffer, n);
        const int status = pclose(pipe);
        EXPECT_EQ(status, 0) << command << "\n" << said;
        return said;
    }
    std::string qemu_img(const std::string& arguments) const { return run("cd " + folder_ + " && qemu-img " + arguments); }

    std::unique_ptr<ImageFile> open_host(const std::string& name) {
        HostFileConfig config;
        config.path = path(name);
        auto file = open_host_file(executor_, config);
        EXPECT_TRUE(file.has_value()) << file.error().message();
        return std::move(*file);
    }
    std::unique_ptr<block::DiskImage> open_image(const Format& format, const std::string& name, OpenOptions options = {}) {
        auto disk = wait(format.open(open_host(name), std::move(options)));
        EXPECT_TRUE(disk.has_value()) << disk.error().message();
        return disk ? std::move(*disk) : nullptr;
    }
    void create(const Format& format, const std::string& name, const CreateOptions& options) {
        std::ofstream(path(name)).close();
        auto file = open_host(name);
        const auto made = wait(format.create(*file, options));
        EXPECT_TRUE(made.has_value()) << made.error().message();
        EXPECT_TRUE(wait(file->close()));
    }
    ImageInfo info(const Format& format, const std::string& name) {
        auto file = open_host(name);
        auto info = wait(format.info(*file));
        EXPECT_TRUE(info.has_value()) << info.error().message();
        EXPECT_TRUE(wait(file->close()));
        return info.value_or(ImageInfo{});
    }
    void expect_sound(const Format& format, const std::string& name) {
        auto file = open_host(name);
        const auto report = wait(format.check(*file, Repair::No));
        ASSERT_TRUE(report.has_value()) << report.error().message();
        EXPECT_EQ(report->errors, 0u) << report->findings.front();
        EXPECT_EQ(report->leaks, 0u) << report->findings.front();
        EXPECT_TRUE(wait(file->close()));
    }

    /// A raw file of random bytes with long runs of zeroes in it.
    std::string random_raw(const std::string& name, uint64_t size, uint64_t seed) {
        std::mt19937_64 random(seed);
        std::string data(size, 0);
        for (unsigned n = 0; n < 40; ++n) {
            const uint64_t at = random() % (size / 512) * 512, end = std::min<uint64_t>(size, at + (1 + random() % 200) * 512);
            for (uint64_t b = at; b < end; ++b) data[b] = static_cast<char>(random());
        }
        std::ofstream(path(name)) << data;
        return data;
    }
    /// Random writes and zeroes into the disk and the copy.
    void scribble(block::DiskImage& disk, std::string& model, uint64_t seed, unsigned count = 60) {
        std::mt19937_64 random(seed);
        for (unsigned n = 0; n < count; ++n) {
            const uint64_t at = random() % (model.size() / 512) * 512, length = std::min<uint64_t>(model.size() - at, (1 + random() % 300) * 512);
            const bool zero = random() % 4 == 0;
            std::string data(length, zero ? 0 : static_cast<char>(random() | 1));
            model.replace(at, length, data);
            const auto done = zero ? wait(disk.write_zeroes(Bytes(at), Bytes(length), random() % 2)) : write(disk, at, std::move(data));
            ASSERT_TRUE(done.has_value()) << done.error().message();
            if (n % 16 == 0) { ASSERT_TRUE(wait(disk.flush())); }
        }
    }
    void save(const std::string& name, const std::string& data) { std::ofstream(path(name)) << data; }
};

}  // namespace yado::storage
