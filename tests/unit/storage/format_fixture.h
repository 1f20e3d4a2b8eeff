// What every format's tests stand on: images in memory (fakes/model_file.h) under random operations, against a model, and
// what a crash leaves of them. Files on the disk are for qemu-img, the oracle.
#pragma once

#include <fmt/format.h>

#include <map>
#include <set>

#include "fakes/model_file.h"
#include "storage/format.h"
#include "storage_fixture.h"

namespace yado::storage {

/// One random operation on whole sectors. Each sector is filled with a value of its own.
struct RandomOp {
    enum class Kind : uint8_t { Write, Zero, Discard, Flush } kind = Kind::Flush;
    uint64_t first = 0, count = 0;  ///< sectors
    uint32_t tag = 0;               ///< what a write fills them with; 0 is zeroes

    static RandomOp make(std::mt19937_64& random, uint64_t sectors, uint32_t tag) {
        const uint64_t kind = random() % 10;
        RandomOp op{kind < 6 ? Kind::Write : kind < 7 ? Kind::Zero : kind < 8 ? Kind::Discard : Kind::Flush, 0, 0, tag};
        op.first = random() % sectors;
        op.count = std::min<uint64_t>(sectors - op.first, 1 + random() % (random() % 4 == 0 ? 300 : 16));
        if (op.kind != Kind::Write) op.tag = 0;
        return op;
    }
};

class FormatTest : public StorageTest {
  protected:
    static std::string sector_of(uint32_t tag) {
        std::string s(512, 0);
        for (size_t n = 0; tag && n < 512; n += 4) std::memcpy(s.data() + n, &tag, 4);
        return s;
    }

    Result<> perform(block::DiskImage& disk, const RandomOp& op) {
        const Bytes at(op.first * 512), length(op.count * 512);
        switch (op.kind) {
        case RandomOp::Kind::Write: {
            std::string data;
            for (uint64_t n = 0; n < op.count; ++n) data += sector_of(op.tag);
            return write(disk, at.value(), std::move(data));
        }
        case RandomOp::Kind::Zero: return wait(disk.write_zeroes(at, length, op.first % 2));
        case RandomOp::Kind::Discard: return wait(disk.discard(at, length));
        case RandomOp::Kind::Flush: break;
        }
        return wait(disk.flush());
    }

    /// What each sector may hold. A discard leaves the old contents or zeroes.
    class Model {
      public:
        explicit Model(uint64_t sectors) : may_(sectors, {0}) {}
        void begin(const RandomOp& op) {
            for (uint64_t n = 0; n < op.count && op.kind != RandomOp::Kind::Flush; ++n) may_[op.first + n].insert(op.tag);
        }
        /// The operation has succeeded; `certain` once nothing older may be seen any more (no crash, or flushed).
        void end(const RandomOp& op) {
            for (uint64_t n = 0; n < op.count && op.kind != RandomOp::Kind::Flush && op.kind != RandomOp::Kind::Discard; ++n) may_[op.first + n] = {op.tag};
        }
        /// What the sector shows before anything is written: an image below.
        void start(uint64_t sector, uint32_t tag) { may_[sector] = {tag}; }
        const std::set<uint32_t>& may(uint64_t sector) const { return may_[sector]; }
        uint64_t sectors() const { return may_.size(); }

      private:
        std::vector<std::set<uint32_t>> may_;
    };

    /// The first sector that holds what it must not, as text; empty where all is well.
    std::string difference(block::DiskImage& disk, const Model& model) {
        for (uint64_t at = 0; at < model.sectors(); at += 128) {
            const uint64_t count = std::min<uint64_t>(128, model.sectors() - at);
            const std::string got = read(disk, at * 512, count * 512);
            for (uint64_t n = 0; n < count; ++n) {
                uint32_t tag = 0;
                std::memcpy(&tag, got.data() + n * 512, 4);
                const bool whole = got.compare(n * 512, 512, sector_of(tag)) == 0;
                if (!whole || !model.may(at + n).contains(tag)) return fmt::format("sector {} holds {}{:#x}", at + n, whole ? "" : "a torn ", tag);
            }
        }
        return {};
    }

    /// Random operations on an open image, checked now and then and at the end.
    void churn(block::DiskImage& disk, Model& model, std::mt19937_64& random, unsigned operations) {
        for (unsigned n = 1; n <= operations; ++n) {
            const RandomOp op = RandomOp::make(random, model.sectors(), next_tag_++);
            model.begin(op);
            const auto done = perform(disk, op);
            ASSERT_TRUE(done.has_value()) << done.error().message();
            model.end(op);
            if (n % 64 == 0) {
                ASSERT_EQ(difference(disk, model), "");
            }
        }
        ASSERT_EQ(difference(disk, model), "");
    }

    /// Opens what is in memory. The file stays reachable as `last_file_` until the image is closed.
    Result<std::unique_ptr<block::DiskImage>> open_memory(const Format& format, fakes::ModelFile::Contents contents) {
        auto file = std::make_unique<fakes::ModelFile>(std::move(contents));
        last_file_ = file.get();
        OpenOptions options = open_options();
        return wait(format.open(std::move(file), std::move(options)));
    }

    /// For images with something below: what to open them with, and what that holds.
    virtual OpenOptions open_options() { return {}; }
    virtual uint32_t tag_below(uint64_t sector) {
        (void)sector;
        return 0;
    }
    Model fresh_model(uint64_t sectors) {
        Model model(sectors);
        for (uint64_t n = 0; n < sectors; ++n) model.start(n, tag_below(n));
        return model;
    }

    fakes::ModelFile::Contents created(const Format& format, const CreateOptions& options) {
        fakes::ModelFile file;
        const auto r = wait(format.create(file, options));
        EXPECT_TRUE(r.has_value()) << r.error().message();
        return file.contents();
    }

    /// Random operations; then for `crashes` points in the log of what the format wrote, opens what a crash there may
    /// leave. Each sector must hold what the last flush made sure of or something written since. `check` looks at the image
    /// that was left, before it is opened: no errors are allowed (leaks are).
    void crash_sweep(const Format& format, const CreateOptions& options, uint64_t seed, unsigned operations, unsigned crashes) {
        std::mt19937_64 random(seed);
        auto disk = open_memory(format, created(format, options));
        ASSERT_TRUE(disk.has_value()) << disk.error().message();
        const uint64_t sectors = (*disk)->size().value() / 512;
        struct Step {
            RandomOp op;
            size_t log_begin, log_end;
        };
        std::vector<Step> steps;
        for (unsigned n = 0; n < operations; ++n) {
            const RandomOp op = RandomOp::make(random, sectors, next_tag_++);
            const size_t before = last_file_->log().size();
            ASSERT_TRUE(perform(**disk, op));
            steps.push_back({op, before, last_file_->log().size()});
        }
        for (unsigned n = 0; n < crashes; ++n) {
            const size_t at = random() % (last_file_->log().size() + 1);
            ASSERT_NO_FATAL_FAILURE(check_crash(format, at, random, sectors, steps)) << fmt::format("seed {}, crash at entry {} of the log", seed, at);
        }
        EXPECT_TRUE(wait((*disk)->close()));
    }

    template <typename Steps>
    void check_crash(const Format& format, size_t at, std::mt19937_64& random, uint64_t sectors, const Steps& steps) {
        size_t flushed = 0;  // steps in front of it are durable
        for (size_t n = 0; n < steps.size(); ++n)
            if (steps[n].op.kind == RandomOp::Kind::Flush && steps[n].log_end <= at) flushed = n;
        Model model = fresh_model(sectors);
        for (size_t n = 0; n < steps.size() && steps[n].log_begin < at; ++n) {
            model.begin(steps[n].op);
            if (n < flushed) model.end(steps[n].op);
        }
        auto left = last_file_->after_crash(at, random);
        fakes::ModelFile file(left);
        const auto report = wait(format.check(file, Repair::No));
        ASSERT_TRUE(report.has_value()) << report.error().message();
        ASSERT_EQ(report->errors, 0u) << (report->findings.empty() ? "" : report->findings.front());
        fakes::ModelFile* const running = last_file_;
        auto again = open_memory(format, std::move(left));
        ASSERT_TRUE(again.has_value()) << again.error().message();
        ASSERT_EQ(difference(**again, model), "");
        ASSERT_TRUE(wait((*again)->close()));
        last_file_ = running;
    }

    fakes::ModelFile* last_file_ = nullptr;
    uint32_t next_tag_ = 1;
};

}  // namespace yado::storage
