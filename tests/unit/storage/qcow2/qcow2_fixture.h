// What the qcow2 tests stand on: images in memory, images on the disk for qemu-img, and bytes to spoil.
#pragma once

#include <stdlib.h>
#include <sys/wait.h>

#include "../format_fixture.h"
#include "base/bytes.h"
#include "fakes/disk_image.h"
#include "storage/qcow2/check.h"
#include "storage/qcow2/qcow2_format.h"
#include "storage/qcow2/snapshots.h"
#include "storage/qcow2/spec.h"

namespace yado::storage::qcow2 {

class Qcow2Test : public FormatTest {
  protected:
    using Contents = fakes::ModelFile::Contents;

    static CreateOptions sized(uint64_t size, uint64_t cluster = 65536) {
        CreateOptions options;
        options.size = Bytes(size);
        options.cluster_size = Bytes(cluster);
        return options;
    }
    Contents made(uint64_t size, uint64_t cluster = 65536) { return created(qcow2_format(), sized(size, cluster)); }
    Contents made_clone(uint64_t size, uint64_t cluster = 65536) {
        CreateOptions options = sized(size, cluster);
        options.parent = CreateOptions::Parent{"base.raw", "raw", "", 0};
        return created(qcow2_format(), options);
    }

    Result<std::unique_ptr<block::DiskImage>> open(Contents contents, std::unique_ptr<block::DiskImage> backing = nullptr, bool readonly = false) {
        auto file = std::make_unique<fakes::ModelFile>(std::move(contents), readonly);
        last_file_ = file.get();
        OpenOptions options;
        options.backing = std::move(backing);
        return wait(qcow2_format().open(std::move(file), std::move(options)));
    }
    /// Opens, does something, closes; gives the file's bytes.
    template <typename F>
    Contents after(Contents contents, F f) {
        auto disk = open(std::move(contents));
        EXPECT_TRUE(disk.has_value()) << (disk ? "" : disk.error().message());
        if (!disk) return {};
        f(**disk);
        keep_contents_of(**disk);
        return kept_;
    }
    /// Closes; the file is destroyed with the image, so its bytes are copied when the last sync is over.
    void keep_contents_of(block::DiskImage& disk) {
        const auto closed = wait(disk.close());
        EXPECT_TRUE(closed.has_value()) << (closed ? "" : closed.error().message());
        kept_ = last_file_->contents();
    }
    CheckReport checked(const Contents& contents, Repair repair = Repair::No, Contents* out = nullptr) {
        fakes::ModelFile file(contents);
        auto report = wait(check(file, repair));
        EXPECT_TRUE(report.has_value()) << (report ? "" : report.error().message());
        if (out) *out = file.contents();
        return report ? *report : CheckReport{};
    }
    /// The errors and leaks of an image, as text; "" where there are none.
    std::string faults(const Contents& contents) {
        const CheckReport r = checked(contents);
        if (r.errors == 0 && r.leaks == 0) return {};
        return fmt::format("{} errors, {} leaks: {}", r.errors, r.leaks, r.findings.empty() ? "" : r.findings.front());
    }

    static uint64_t get64(const Contents& c, uint64_t at) { return load_be<uint64_t>(c.data() + at); }
    static uint32_t get32(const Contents& c, uint64_t at) { return load_be<uint32_t>(c.data() + at); }
    static void put64(Contents& c, uint64_t at, uint64_t value) { store_be(c.data() + at, value); }
    static void put32(Contents& c, uint64_t at, uint32_t value) { store_be(c.data() + at, value); }
    static uint64_t l1_at(const Contents& c) { return get64(c, kL1OffsetAt); }
    static uint64_t l2_at(const Contents& c, uint64_t index = 0) { return get64(c, l1_at(c) + index * 8) & kOffsetMask; }

    // --- files on the disk, for qemu-img
    std::string path(const std::string& name) const { return folder_ + "/" + name; }
    void save(const std::string& name, const Contents& contents) {
        std::ofstream out(path(name), std::ios::binary);
        out.write(reinterpret_cast<const char*>(contents.data()), static_cast<std::streamsize>(contents.size()));
    }
    Contents loaded(const std::string& name) {
        const std::string text = contents(path(name));
        const auto bytes = std::as_bytes(std::span(text));
        return {bytes.begin(), bytes.end()};
    }
    static bool has_qemu() { return system("command -v qemu-img qemu-io >/dev/null 2>&1") == 0; }
    /// Runs a command in the test's folder: its status, and what it said in `said_`.
    int run(const std::string& command) {
        const int status = system(fmt::format("cd {} && ({}) >said 2>&1", folder_, command).c_str());
        said_ = contents(path("said"));
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    }
    std::string read_all(block::DiskImage& disk) { return read(disk, 0, disk.size().value()); }

    Contents kept_;
    std::string said_;
};

}  // namespace yado::storage::qcow2
