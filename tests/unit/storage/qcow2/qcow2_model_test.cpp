// qcow2 images under random operations and crashes.
#include "qcow2_fixture.h"

namespace yado::storage::qcow2 {
namespace {

struct Shape {
    uint64_t size, cluster;
    const char* name;
};

class Qcow2Model : public Qcow2Test, public testing::WithParamInterface<Shape> {};
INSTANTIATE_TEST_SUITE_P(Clusters, Qcow2Model,
                         testing::Values(Shape{1 << 20, 512, "Of512"}, Shape{2 << 20, 4096, "Of4K"}, Shape{4 << 20, 65536, "Of64K"},
                                         Shape{9 << 20, 2 << 20, "Of2M"}),
                         [](const auto& p) { return p.param.name; });

TEST_P(Qcow2Model, AgreesWithAModelAndIsClean) {
    std::mt19937_64 random(1);
    auto disk = open(made(GetParam().size, GetParam().cluster));
    ASSERT_TRUE(disk.has_value()) << disk.error().message();
    Model model(GetParam().size / 512);
    ASSERT_NO_FATAL_FAILURE(churn(**disk, model, random, 600));
    keep_contents_of(**disk);
    EXPECT_EQ(faults(kept_), "");
}

TEST_P(Qcow2Model, KeepsWhatWasFlushedThroughACrash) {
    const bool large = GetParam().cluster > (64 << 10);  // a crash image of many MiB: a few have to do
    for (uint64_t seed = 1; seed <= (large ? 1 : 3); ++seed)
        ASSERT_NO_FATAL_FAILURE(crash_sweep(qcow2_format(), sized(GetParam().size, GetParam().cluster), seed, 150, large ? 20 : 60));
}

TEST_P(Qcow2Model, AgreesWithAModelUnderRequestsInFlightTogether) {
    auto disk = open(made(GetParam().size, GetParam().cluster));
    ASSERT_TRUE(disk.has_value());
    torture(**disk, std::string(GetParam().size, 0), 60);
    keep_contents_of(**disk);
    EXPECT_EQ(faults(kept_), "");
}

/// An image below that fills every sector with its own number, and ends before the image over it does.
class Qcow2Clone : public Qcow2Test, public testing::WithParamInterface<Shape> {
  protected:
    static constexpr uint32_t kBase = 0x8000'0000;
    std::unique_ptr<block::DiskImage> base() {
        const uint64_t sectors = GetParam().size / 512 * 3 / 4;
        auto disk = std::make_unique<fakes::MemoryDisk>(Bytes(sectors * 512), true);
        for (uint64_t n = 0; n < sectors; ++n) std::memcpy(disk->data.data() + n * 512, sector_of(kBase + static_cast<uint32_t>(n)).data(), 512);
        return disk;
    }
    class CloneModel : public Model {
      public:
        explicit CloneModel(uint64_t sectors) : Model(sectors) {
            for (uint64_t n = 0; n < sectors * 3 / 4; ++n) {
                const RandomOp op{RandomOp::Kind::Write, n, 1, kBase + static_cast<uint32_t>(n)};
                begin(op);
                end(op);
            }
        }
    };
};
INSTANTIATE_TEST_SUITE_P(Clusters, Qcow2Clone, testing::Values(Shape{1 << 20, 512, "Of512"}, Shape{4 << 20, 65536, "Of64K"}),
                         [](const auto& p) { return p.param.name; });

TEST_P(Qcow2Clone, ShowsWhatIsBelowUntilItIsOverwritten) {
    std::mt19937_64 random(4);
    auto disk = open(made_clone(GetParam().size, GetParam().cluster), base());
    ASSERT_TRUE(disk.has_value()) << disk.error().message();
    CloneModel model(GetParam().size / 512);
    ASSERT_EQ(difference(**disk, model), "");
    ASSERT_NO_FATAL_FAILURE(churn(**disk, model, random, 400));
    keep_contents_of(**disk);
    EXPECT_EQ(faults(kept_), "");
}

TEST_P(Qcow2Clone, KeepsWhatWasFlushedThroughACrash) {
    std::mt19937_64 random(5);
    auto disk = open(made_clone(GetParam().size, GetParam().cluster), base());
    ASSERT_TRUE(disk.has_value());
    fakes::ModelFile* const file = last_file_;
    const uint64_t sectors = GetParam().size / 512;
    std::vector<std::pair<RandomOp, size_t>> steps;  // with the log's length before
    for (unsigned n = 0; n < 150; ++n) {
        const RandomOp op = RandomOp::make(random, sectors, next_tag_++);
        steps.emplace_back(op, file->log().size());
        ASSERT_TRUE(perform(**disk, op));
    }
    for (unsigned n = 0; n < 60; ++n) {
        const size_t at = random() % (file->log().size() + 1);
        CloneModel model(sectors);
        size_t flushed = 0;
        for (size_t s = 0; s + 1 < steps.size(); ++s)
            if (steps[s].first.kind == RandomOp::Kind::Flush && steps[s + 1].second <= at) flushed = s;
        for (size_t s = 0; s < steps.size() && steps[s].second < at; ++s) {
            model.begin(steps[s].first);
            if (s < flushed) model.end(steps[s].first);
        }
        Contents left = file->after_crash(at, random);
        const CheckReport report = checked(left);
        ASSERT_EQ(report.errors, 0u) << at << ": " << report.findings.front();
        auto again = open(std::move(left), base());
        ASSERT_TRUE(again.has_value()) << again.error().message();
        ASSERT_EQ(difference(**again, model), "") << "crash at " << at;
        ASSERT_TRUE(wait((*again)->close()));
    }
    EXPECT_TRUE(wait((*disk)->close()));
}

class Qcow2Snapshots : public Qcow2Test {};

TEST_F(Qcow2Snapshots, KeepsASnapshotThroughRandomWritesAndCrashes) {
    std::mt19937_64 random(6);
    const uint64_t sectors = (1 << 20) / 512;
    Model model(sectors);
    const Contents before = after(made(1 << 20, 4096), [&](block::DiskImage& disk) { churn(disk, model, random, 100); });
    fakes::ModelFile file(before);
    ASSERT_TRUE(wait(create_snapshot(file, "s", 1000)).has_value());
    auto disk = open(file.contents());
    ASSERT_TRUE(disk.has_value()) << disk.error().message();
    Model now = model;
    ASSERT_NO_FATAL_FAILURE(churn(**disk, now, random, 100));
    fakes::ModelFile* const running = last_file_;
    for (unsigned n = 0; n < 60; ++n) {
        fakes::ModelFile left(running->after_crash(random() % (running->log().size() + 1), random));
        const auto report = wait(check(left, Repair::No));
        ASSERT_EQ(report->errors, 0u) << report->findings.front();
        ASSERT_TRUE(wait(rollback_snapshot(left, "s")));
        auto old = open(left.contents());
        ASSERT_TRUE(old.has_value()) << old.error().message();
        ASSERT_EQ(difference(**old, model), "");
        ASSERT_TRUE(wait((*old)->close()));
    }
    EXPECT_TRUE(wait((*disk)->close()));
}

TEST_F(Qcow2Snapshots, SurviveACrashInEachOperation) {
    std::mt19937_64 random(7);
    const uint64_t sectors = (1 << 20) / 512;
    Model model(sectors);
    const Contents before = after(made(1 << 20, 4096), [&](block::DiskImage& disk) { churn(disk, model, random, 100); });
    fakes::ModelFile one(before);
    ASSERT_TRUE(wait(create_snapshot(one, "a", 1)).has_value());
    Model changed = model;
    const Contents two = after(one.contents(), [&](block::DiskImage& disk) { churn(disk, changed, random, 100); });

    const auto sweep = [&](const Contents& start, auto operation, std::vector<const Model*> may_be) {
        fakes::ModelFile file(start);
        ASSERT_TRUE(operation(file));
        ASSERT_EQ(faults(file.contents()), "");
        for (size_t at = 0; at <= file.log().size(); ++at) {
            const Contents left = file.after_crash(at, random);
            const CheckReport report = checked(left);
            ASSERT_EQ(report.errors, 0u) << "crash at " << at << ": " << report.findings.front();
            auto disk = open(left);
            ASSERT_TRUE(disk.has_value()) << disk.error().message();
            bool good = false;
            for (const Model* m : may_be) good |= difference(**disk, *m).empty();
            ASSERT_TRUE(good) << "crash at " << at;
            ASSERT_TRUE(wait((*disk)->close()));
        }
    };
    sweep(two, [&](fakes::ModelFile& f) { return wait(create_snapshot(f, "b", 2)).has_value(); }, {&changed});
    sweep(two, [&](fakes::ModelFile& f) { return wait(delete_snapshot(f, "a")).has_value(); }, {&changed});
    sweep(two, [&](fakes::ModelFile& f) { return wait(rollback_snapshot(f, "a")).has_value(); }, {&changed, &model});
}

TEST_F(Qcow2Snapshots, AreListedWithWhatTheyAre) {
    fakes::ModelFile file(made(1 << 20));
    ASSERT_TRUE(wait(create_snapshot(file, "first", 1234)).has_value());
    ASSERT_TRUE(wait(create_snapshot(file, "second", 1235)).has_value());
    EXPECT_EQ(wait(create_snapshot(file, "first", 1)).error().kind(), ErrorKind::Conflict);
    const auto list = wait(list_snapshots(file));
    ASSERT_EQ(list->size(), 2u);
    EXPECT_EQ((*list)[0].name, "first");
    EXPECT_EQ((*list)[1].id, "2");
    EXPECT_EQ((*list)[0].seconds, 1234);
    EXPECT_EQ((*list)[0].disk_size, Bytes(1 << 20));
    EXPECT_EQ(wait(delete_snapshot(file, "third")).error().kind(), ErrorKind::NotFound);
    EXPECT_EQ(wait(qcow2_format().info(file))->snapshots.size(), 2u);
}

}  // namespace
}  // namespace yado::storage::qcow2
