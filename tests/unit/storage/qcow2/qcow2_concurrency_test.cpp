// Many requests in flight at once, in a file that completes them in any order, over caches of a few slices: what they
// leave agrees with a model, whenever the power fails.
#include "qcow2_fixture.h"
#include "storage/qcow2/qcow2_image.h"

namespace yado::storage::qcow2 {
namespace {

/// Holds every request, before it is done or after, until let_go() picks it.
class DelayedFile final : public ImageFile {
  public:
    DelayedFile(fakes::ModelFile& file, std::mt19937_64& random) : file_(file), random_(random) {}

    const std::string& name() const override { return file_.name(); }
    bool readonly() const override { return file_.readonly(); }
    Bytes size() const override { return file_.size(); }
    const char* carrier() const override { return "delayed"; }
    io::Task<Result<>> readv(Bytes offset, std::span<const iovec> into) override { return held(file_.readv(offset, into)); }
    io::Task<Result<>> writev(Bytes offset, std::span<const iovec> from) override {
        return offset.value() == hold_write_at ? held_write(file_.writev(offset, from)) : held(file_.writev(offset, from));
    }
    io::Task<Result<>> sync() override { return held_before(file_.sync()); }
    io::Task<Result<>> write_zeroes(Bytes offset, Bytes length, ZeroMode mode) override { return held(file_.write_zeroes(offset, length, mode)); }
    io::Task<Result<>> discard(Bytes offset, Bytes length) override { return held(file_.discard(offset, length)); }
    io::Task<Result<>> resize(Bytes size) override { return file_.resize(size); }
    io::Task<Result<block::Extent>> map(Bytes offset, Bytes length) override { return file_.map(offset, length); }
    io::Task<Result<>> close() override { return file_.close(); }

    bool delays = true;             ///< hold requests at random
    uint64_t hold_write_at = ~0ull;  ///< hold writes to that place in any case

    bool idle() const { return waiting_.empty(); }
    void let_go() {
        const size_t n = random_() % waiting_.size();
        const auto h = waiting_[n];
        waiting_.erase(waiting_.begin() + static_cast<ptrdiff_t>(n));
        h.resume();
    }

  private:
    struct Turn {
        DelayedFile& file;
        bool await_ready() const { return false; }
        void await_suspend(std::coroutine_handle<> h) { file.waiting_.push_back(h); }
        void await_resume() const {}
    };
    io::Task<Result<>> held(io::Task<Result<>> task) {
        if (delays && random_() % 2) co_await Turn{*this};
        auto result = co_await std::move(task);
        if (delays && random_() % 2) co_await Turn{*this};
        co_return result;
    }
    /// What was done before a sync began is durable, and nothing else need be: it is over at once.
    io::Task<Result<>> held_before(io::Task<Result<>> task) {
        if (delays) co_await Turn{*this};
        co_return co_await std::move(task);
    }
    io::Task<Result<>> held_write(io::Task<Result<>> task) {
        co_await Turn{*this};
        co_return co_await std::move(task);
    }
    fakes::ModelFile& file_;
    std::mt19937_64& random_;
    std::vector<std::coroutine_handle<>> waiting_;
};

struct Flying {
    RandomOp op;
    uint64_t started = 0, ended = 0;  ///< by a clock that ticks at each event
    size_t log_started = 0, log_ended = 0;
    std::string data;
    iovec piece{};
};

class Qcow2Concurrency : public Qcow2Test, public testing::WithParamInterface<std::pair<uint64_t, uint64_t>> {
  protected:
    void start(block::DiskImage& disk, Flying& f) {
        const auto done = [this, &f](Result<> r) {
            EXPECT_TRUE(r.has_value()) << r.error().message();
            f.ended = ++clock_;
            f.log_ended = file_->log().size();
            --in_flight_;
            if (f.op.kind != RandomOp::Kind::Flush) busy_.erase(std::ranges::find(busy_, std::pair(f.op.first, f.op.first + f.op.count)));
        };
        ++in_flight_;
        f.started = ++clock_;
        f.log_started = file_->log().size();
        const Bytes at(f.op.first * 512), length(f.op.count * 512);
        switch (f.op.kind) {
        case RandomOp::Kind::Write:
            for (uint64_t n = 0; n < f.op.count; ++n) f.data += sector_of(f.op.tag);
            f.piece = {f.data.data(), f.data.size()};
            return (void)io::spawn(disk.writev(at, {&f.piece, 1}), done);
        case RandomOp::Kind::Zero: return (void)io::spawn(disk.write_zeroes(at, length, f.op.first % 2), done);
        case RandomOp::Kind::Discard: return (void)io::spawn(disk.discard(at, length), done);
        case RandomOp::Kind::Flush: break;
        }
        io::spawn(disk.flush(), done);
    }
    bool is_busy(const RandomOp& op) const {
        return std::ranges::any_of(busy_, [&](const auto& b) { return op.first < b.second && b.first < op.first + op.count; });
    }
    /// What may be seen after a crash at that place of the log.
    Model after(const std::deque<Flying>& all, size_t at, uint64_t sectors) const {
        uint64_t durable = 0;  // what had ended by this time is
        for (const Flying& f : all)
            if (f.op.kind == RandomOp::Kind::Flush && f.log_ended <= at) durable = std::max(durable, f.started);
        Model model(sectors);
        for (const Flying& f : all) {
            if (f.log_started >= at && at < file_->log().size()) continue;
            model.begin(f.op);
            if (f.ended < durable) model.end(f.op);
        }
        return model;
    }

    std::unique_ptr<fakes::ModelFile> file_;
    uint64_t clock_ = 0;
    size_t in_flight_ = 0;
    std::vector<std::pair<uint64_t, uint64_t>> busy_;
};
INSTANTIATE_TEST_SUITE_P(Clusters, Qcow2Concurrency, testing::Values(std::pair{512, 1 << 19}, std::pair{4096, 2 << 20}, std::pair{65536, 4 << 20}),
                         [](const auto& p) { return fmt::format("Of{}", p.param.first); });

TEST_P(Qcow2Concurrency, AgreesWithAModelAlsoAfterACrash) {
    const auto [cluster, size] = GetParam();
    for (uint64_t seed = 1; seed <= 6; ++seed) {
        SCOPED_TRACE(seed);
        std::mt19937_64 random(seed);
        file_ = std::make_unique<fakes::ModelFile>(made(size, cluster));
        const auto header = wait(read_header(*file_));
        ASSERT_TRUE(header.has_value());
        auto delayed = std::make_unique<DelayedFile>(*file_, random);
        DelayedFile& gate = *delayed;
        Metadata::Options tables;
        tables.l2_cache_bytes = tables.refcount_cache_bytes = 0;  // the least there can be
        storage::OpenOptions options;
        qcow2::Qcow2Image disk(std::move(delayed), *header, std::move(options), tables);
        bool loaded = false;
        io::spawn(disk.load(), [&](Result<> r) { loaded = r.has_value(); });
        while (!gate.idle()) gate.let_go();
        ASSERT_TRUE(loaded);

        std::deque<Flying> all;
        while (all.size() < 300) {
            if (in_flight_ < 12 && random() % 2) {
                const RandomOp op = RandomOp::make(random, size / 512, next_tag_++);
                if (op.kind != RandomOp::Kind::Flush) {
                    if (is_busy(op)) continue;
                    busy_.emplace_back(op.first, op.first + op.count);
                }
                Flying f;
                f.op = op;
                all.push_back(std::move(f));
                start(disk, all.back());
            } else if (!gate.idle()) {
                gate.let_go();
            }
        }
        while (!gate.idle()) gate.let_go();
        ASSERT_EQ(in_flight_, 0u);
        for (unsigned n = 0; n < 40; ++n) {
            const size_t at = random() % (file_->log().size() + 1);
            Contents left = file_->after_crash(at, random);
            const CheckReport report = checked(left);
            ASSERT_EQ(report.errors, 0u) << at << ": " << report.findings.front();
            auto again = open(std::move(left));
            ASSERT_TRUE(again.has_value()) << again.error().message();
            ASSERT_EQ(difference(**again, after(all, at, size / 512)), "") << "crash at " << at;
            ASSERT_TRUE(wait((*again)->close()));
        }
        bool closed = false;
        io::spawn(disk.close(), [&](Result<> r) { closed = r.has_value(); });
        while (!gate.idle()) gate.let_go();
        ASSERT_TRUE(closed);
        ASSERT_EQ(faults(file_->contents()), "");
        auto again = open(file_->contents());
        Model model(size / 512);
        for (Flying& f : all) {
            model.begin(f.op);
            model.end(f.op);
        }
        ASSERT_EQ(difference(**again, model), "");
        ASSERT_TRUE(wait((*again)->close()));
    }
}

TEST_F(Qcow2Test, AClusterThatAWriteInFlightMayStillReachIsNotUsedAgain) {
    fakes::ModelFile file(made(4 << 20));
    std::mt19937_64 random(1);
    const auto header = wait(read_header(file));
    auto delayed = std::make_unique<DelayedFile>(file, random);
    DelayedFile& gate = *delayed;
    gate.delays = false;
    storage::OpenOptions options;
    qcow2::Qcow2Image disk(std::move(delayed), *header, std::move(options), Metadata::Options());
    ASSERT_TRUE(wait(disk.load()));
    ASSERT_TRUE(write(disk, 0, std::string(65536, 'x')));
    ASSERT_TRUE(wait(disk.flush()));
    gate.hold_write_at = get64(file.contents(), l2_at(file.contents())) & kOffsetMask;
    std::string late(512, 'w');
    const iovec v{late.data(), late.size()};
    bool done = false;
    io::spawn(disk.writev(Bytes(0), {&v, 1}), [&](Result<> r) { done = r.has_value(); });
    gate.hold_write_at = ~0ull;
    ASSERT_TRUE(wait(disk.discard(Bytes(0), Bytes(65536))));
    ASSERT_TRUE(wait(disk.flush()));
    ASSERT_TRUE(write(disk, 1 << 20, std::string(2 * 65536, 'y')));
    ASSERT_FALSE(gate.idle());
    gate.let_go();
    EXPECT_TRUE(done);
    EXPECT_TRUE(read(disk, 1 << 20, 2 * 65536) == std::string(2 * 65536, 'y'));
    ASSERT_TRUE(wait(disk.close()));
    EXPECT_EQ(faults(file.contents()), "");
}

TEST_F(Qcow2Test, AgreesWithAModelUnderRequestsToAFileOfTheHost) {
    for (const uint64_t cluster : {512, 65536}) {
        save("a.qcow2", made(8 << 20, cluster));
        auto disk = try_open({.path = path("a.qcow2"), .format = "qcow2"});
        ASSERT_TRUE(disk.has_value()) << disk.error().message();
        torture(**disk, std::string(8 << 20, 0), 200);
        ASSERT_TRUE(wait((*disk)->close()));
        EXPECT_EQ(faults(loaded("a.qcow2")), "");
    }
}

}  // namespace
}  // namespace yado::storage::qcow2
