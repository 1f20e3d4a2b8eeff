// A live disk with a guest that never stops writing to it, and a copy in memory of what it has written.
#pragma once

#include <gmock/gmock.h>

#include <random>

#include "../storage_fixture.h"
#include "storage/live/live_disk.h"
#include "storage/operations/new_image.h"
#include "storage/operations/operations.h"

namespace yado::storage {

/// Several requests in flight, each in a part of the disk of its own, until stop().
class BusyGuest {
  public:
    BusyGuest(block::DiskImage& disk, std::string shown, unsigned seed = 1) : disk_(disk), shown_(std::move(shown)), random_(seed) {
        for (size_t n = 0; n < kStreams; ++n) io::spawn(stream(n));
    }
    /// What has completed.
    const std::string& shown() const { return shown_; }
    uint64_t writes() const { return writes_; }
    void stop() { stopping_ = true; }
    bool stopped() const { return running_ == 0; }
    const std::vector<std::string>& errors() const { return errors_; }

  private:
    static constexpr size_t kStreams = 4;

    io::Task<> stream(size_t n) {
        ++running_;
        const size_t part = shown_.size() / kStreams;
        std::string data;
        while (!stopping_) {
            const size_t length = 512 * (1 + random_() % 64);
            const size_t at = n * part + random_() % ((part - length) / 512) * 512;
            data.assign(length, static_cast<char>(random_()));
            const iovec piece{data.data(), length};
            const unsigned kind = random_() % 16;
            Result<> done;
            if (kind == 0) done = co_await disk_.flush();
            else if (kind == 1) done = co_await disk_.write_zeroes(Bytes(at), Bytes(length), true);
            else done = co_await disk_.writev(Bytes(at), {&piece, 1});
            if (!done) errors_.push_back(done.error().message());
            if (kind == 1) shown_.replace(at, length, length, '\0');
            else if (kind > 1) shown_.replace(at, length, data);
            ++writes_;
        }
        --running_;
    }

    block::DiskImage& disk_;
    std::string shown_;
    std::mt19937 random_;
    uint64_t writes_ = 0;
    size_t running_ = 0;
    bool stopping_ = false;
    std::vector<std::string> errors_;
};

class LiveTest : public StorageTest {
  protected:
    static constexpr uint64_t kSize = 4 << 20;

    std::string at(const std::string& name) const { return folder_ + "/" + name; }
    bool there(const std::string& name) const { return std::filesystem::exists(at(name)); }
    size_t files() const {
        return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(folder_), std::filesystem::directory_iterator()));
    }
    void create(const std::string& name, const std::string& format, uint64_t size = kSize) {
        CreateOptions options;
        options.size = Bytes(size);
        const auto made = wait(create_image(executor_, at(name), **find_format(format), std::move(options)));
        ASSERT_TRUE(made.has_value()) << made.error().message();
    }
    void clone_of(const std::string& base, const std::string& base_format, const std::string& name, const std::string& format = "qcow2") {
        ChainConfig below{.path = at(base), .format = base_format, .backing = BackingPolicy::Folder};
        CloneTarget target{.path = at(name), .format = format};
        const auto made = wait(clone(executor_, std::move(below), std::move(target)));
        ASSERT_TRUE(made.has_value()) << made.error().message();
    }
    std::unique_ptr<LiveDisk> open(const std::string& name, const std::string& format) {
        LiveConfig config{.disk = {.path = at(name), .format = format, .backing = BackingPolicy::Folder}, .kept_back = [](const Error&) {}};
        auto opened = wait(LiveDisk::open(executor_, std::move(config)));
        EXPECT_TRUE(opened.has_value()) << opened.error().message();
        if (!opened) return nullptr;
        (*opened)->attached([](size_t) {});
        return std::move(*opened);
    }
    Result<> close(LiveDisk& disk) {
        disk.detached();
        return wait(disk.close());
    }
    /// What an image and all below it show now, for who opens it anew.
    std::string shown(const std::string& name, const std::string& format) {
        DiskConfig config{.path = at(name), .format = format, .readonly = true, .backing = BackingPolicy::Folder};
        auto disk = wait(open_disk(executor_, std::move(config)));
        if (!disk) return disk.error().message();
        std::string all = read(**disk, 0, (*disk)->size().value());
        EXPECT_TRUE(wait((*disk)->close()));
        return all;
    }
    /// Neither errors nor leaks, also for qemu-img where it is there.
    void expect_clean(const std::string& name, const std::string& format) {
        const auto report = wait(check_image(executor_, at(name), format, Repair::No));
        ASSERT_TRUE(report.has_value()) << report.error().message();
        EXPECT_EQ(report->errors + report->leaks, 0u) << testing::PrintToString(report->findings);
        if (format != "qcow2" || std::system("qemu-img --version > /dev/null 2>&1") != 0) return;
        EXPECT_EQ(std::system(fmt::format("qemu-img check -q {}", at(name)).c_str()), 0) << name;
    }
    void run_until(const std::function<bool()>& done) {
        while (!done()) executor_.run_once(std::chrono::seconds(1));
    }
    void let_write(BusyGuest& guest, uint64_t writes) {
        const uint64_t end = guest.writes() + writes;
        run_until([&] { return guest.writes() >= end; });
    }
    void finish(BusyGuest& guest) {
        guest.stop();
        run_until([&] { return guest.stopped(); });
        EXPECT_THAT(guest.errors(), testing::IsEmpty());
    }
};

}  // namespace yado::storage
