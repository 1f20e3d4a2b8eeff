// Live snapshots: what each file holds, under a guest that writes all the time; and that nothing is left of one that fails.
#include <fcntl.h>

#include "base/failpoint.h"
#include "live_fixture.h"

namespace yado::storage {
namespace {

using testing::HasSubstr;

class LiveSnapshot : public LiveTest {
  protected:
    ~LiveSnapshot() override { failpoint::disarm_all(); }

    Result<> prepare(LiveDisk& disk, const std::string& name) { return wait(disk.prepare_snapshot(name)); }
    /// Returns what the disk showed at the moment of the snapshot.
    std::string take(LiveDisk& disk, BusyGuest& guest, const std::string& name, SnapshotMade* made = nullptr) {
        const auto prepared = prepare(disk, name);
        EXPECT_TRUE(prepared.has_value()) << prepared.error().message();
        if (!prepared) return "";
        let_write(guest, 20);
        halt(disk);
        std::string then = guest.shown();
        disk.switch_over();
        disk.go();
        const auto finished = wait(disk.finish_snapshot());
        EXPECT_TRUE(finished.has_value()) << finished.error().message();
        if (finished && made) *made = *finished;
        return then;
    }
    void halt(LiveDisk& disk) {
        bool halted = false;
        const auto halting = [](LiveDisk* d, bool* done) -> io::Task<> {
            co_await d->halt();
            *done = true;
        };
        io::spawn(halting(&disk, &halted));
        run_until([&] { return halted; });
    }
};

struct Shape {
    const char *name, *format, *base, *active, *active_format;
};

class LiveSnapshotOf : public LiveSnapshot, public testing::WithParamInterface<Shape> {};

TEST_P(LiveSnapshotOf, TheOldFileKeepsTheMomentAndTheNewOneWhatCameAfter) {
    const Shape& shape = GetParam();
    create(shape.name, shape.format);
    auto disk = open(shape.name, shape.format);
    ASSERT_TRUE(disk);
    BusyGuest guest(*disk, std::string(kSize, '\0'));
    let_write(guest, 300);
    SnapshotMade made;
    const std::string then = take(*disk, guest, "before", &made);
    EXPECT_EQ(made.base, at(shape.base));
    EXPECT_EQ(made.active, at(shape.active));
    EXPECT_EQ(made.format, shape.active_format);
    let_write(guest, 300);
    EXPECT_EQ(shown(shape.base, shape.format), then) << "also for others, while the guest runs";
    finish(guest);
    EXPECT_EQ(read(*disk, 0, kSize), guest.shown());
    EXPECT_TRUE(close(*disk));
    EXPECT_EQ(shown(shape.base, shape.format), then);
    EXPECT_EQ(shown(shape.active, shape.active_format), guest.shown());
    expect_clean(shape.base, shape.format);
    expect_clean(shape.active, shape.active_format);
    EXPECT_EQ(files(), 2u);
}

INSTANTIATE_TEST_SUITE_P(, LiveSnapshotOf,
                         testing::Values(Shape{"a.qcow2", "qcow2", "a.before.qcow2", "a.qcow2", "qcow2"}, Shape{"a.img", "raw", "a.before.img", "a.qcow2", "qcow2"},
                                         Shape{"disk", "raw", "disk.before", "disk.qcow2", "qcow2"}, Shape{"a.vhd", "vhd", "a.before.vhd", "a.vhd", "vhd"},
                                         Shape{"a.vhdx", "vhdx", "a.before.vhdx", "a.qcow2", "qcow2"}),
                         [](const auto& info) { return std::string(info.param.format) + std::to_string(info.index); });

TEST_F(LiveSnapshot, MayBeTakenAgainAndAgain) {
    create("a.qcow2", "qcow2");
    auto disk = open("a.qcow2", "qcow2");
    BusyGuest guest(*disk, std::string(kSize, '\0'));
    std::vector<std::string> moments;
    for (const char* name : {"one", "two", "three", "four"}) {
        let_write(guest, 100);
        moments.push_back(take(*disk, guest, name));
    }
    finish(guest);
    EXPECT_TRUE(close(*disk));
    for (const auto& [n, name] : {std::pair{0, "a.one.qcow2"}, {1, "a.two.qcow2"}, {2, "a.three.qcow2"}, {3, "a.four.qcow2"}}) {
        EXPECT_EQ(shown(name, "qcow2"), moments[static_cast<size_t>(n)]) << name;
        expect_clean(name, "qcow2");
    }
    EXPECT_EQ(shown("a.qcow2", "qcow2"), guest.shown());
}

TEST_F(LiveSnapshot, ACrashAtAnyStepLosesNothingThatWasFlushed) {
    create("a.qcow2", "qcow2");
    auto disk = open("a.qcow2", "qcow2");
    const auto copy = [&](const char* name) {  // what the disk would hold if the process were killed now
        std::filesystem::create_directory(folder_ + "-" + name);
        for (const auto& entry : std::filesystem::directory_iterator(folder_))
            std::filesystem::copy_file(entry.path(), folder_ + "-" + name + "/" + entry.path().filename().string());
    };
    const auto shows = [&](const char* name) {
        DiskConfig config{.path = folder_ + "-" + name + "/a.qcow2", .format = "qcow2", .backing = BackingPolicy::Folder};
        auto image = wait(open_disk(executor_, std::move(config)));
        std::string all = image ? read(**image, 0, kSize) : image.error().message();
        if (image) {
            EXPECT_TRUE(wait((*image)->close()));
        }
        std::filesystem::remove_all(folder_ + "-" + name);
        return all;
    };
    std::string model(kSize, '\0');
    const auto put = [&](uint64_t offset, char fill) {
        ASSERT_TRUE(write(*disk, offset, std::string(100'000, fill)));
        model.replace(offset, 100'000, 100'000, fill);
    };
    put(0, 'a');
    ASSERT_TRUE(prepare(*disk, "before"));
    put(200'000 / 512 * 512, 'b');
    ASSERT_TRUE(wait(disk->flush()));
    copy("prepared");
    const std::string at_prepared = model;
    put(50'176, 'c');
    halt(*disk);
    disk->switch_over();
    disk->go();
    put(150'016, 'd');
    ASSERT_TRUE(wait(disk->flush()));
    copy("switched");
    EXPECT_EQ(shows("prepared"), at_prepared);
    EXPECT_EQ(shows("switched"), model);
    EXPECT_TRUE(wait(disk->finish_snapshot()));
    EXPECT_TRUE(close(*disk));
}

TEST_F(LiveSnapshot, AFlushIsNotAnsweredBeforeTheOldFileIsDurable) {
    create("a.qcow2", "qcow2");
    auto disk = open("a.qcow2", "qcow2");
    ASSERT_TRUE(write(*disk, 0, std::string(4096, 'x')));
    ASSERT_TRUE(prepare(*disk, "before"));
    halt(*disk);
    disk->switch_over();
    disk->go();
    failpoint::arm("storage.flush", errno_error(EIO, "disk a: flush"));  // the first sync: of the old file
    std::optional<Result<>> flushed;
    io::spawn(disk->flush(), [&](Result<> r) { flushed = std::move(r); });
    run_until([&] {
        disk->resumed();  // it is kept back once, as every failed request
        return flushed.has_value();
    });
    EXPECT_FALSE(flushed->has_value());
    EXPECT_FALSE(wait(disk->finish_snapshot()));
    EXPECT_FALSE(close(*disk));
}

TEST_F(LiveSnapshot, WhileAFlushTakesItsTimeTheSwitchDoesNotWaitForIt) {
    create("a.qcow2", "qcow2");
    auto disk = open("a.qcow2", "qcow2");
    ASSERT_TRUE(write(*disk, 0, std::string(1 << 20, 'x')));
    ASSERT_TRUE(prepare(*disk, "before"));
    bool flushed = false;
    io::spawn(disk->flush(), [&](Result<> r) { flushed = r.has_value(); });
    const bool was_flushed = flushed;
    bool halted = false;
    const auto halting = [](LiveDisk* d, bool* done) -> io::Task<> {
        co_await d->halt();
        *done = true;
    };
    io::spawn(halting(disk.get(), &halted));
    EXPECT_TRUE(halted || was_flushed);
    disk->switch_over();
    disk->go();
    run_until([&] { return flushed; });
    EXPECT_TRUE(wait(disk->finish_snapshot()));
    EXPECT_TRUE(close(*disk));
}

TEST_F(LiveSnapshot, NothingIsLeftOfOneThatIsRefusedOrAbandoned) {
    create("a.img", "raw");
    file("a.qcow2", 512);
    auto disk = open("a.img", "raw");
    EXPECT_THAT(prepare(*disk, "x").error().message(), HasSubstr("a.qcow2: exists already"));
    EXPECT_EQ(files(), 2u);
    std::filesystem::remove(at("a.qcow2"));
    file("a.y.img", 512);
    EXPECT_EQ(prepare(*disk, "y").error().kind(), ErrorKind::Conflict);
    EXPECT_EQ(files(), 2u);
    for (const char* name : {"", "../up", "a/b", ".hidden", "new\nline"}) EXPECT_EQ(prepare(*disk, name).error().kind(), ErrorKind::Usage);
    EXPECT_EQ(prepare(*disk, std::string(65, 'n')).error().kind(), ErrorKind::Usage);
    ASSERT_TRUE(prepare(*disk, "z"));
    EXPECT_TRUE(there("a.qcow2") && there("a.z.img") && !there("a.img"));
    EXPECT_EQ(prepare(*disk, "again").error().kind(), ErrorKind::Conflict);
    const auto abandon = [](LiveDisk* d) -> io::Task<Result<>> {
        co_await d->abandon_snapshot();
        co_return Result<>{};
    };
    EXPECT_TRUE(wait(abandon(disk.get())));
    EXPECT_TRUE(there("a.img") && !there("a.qcow2") && !there("a.z.img"));
    EXPECT_TRUE(write(*disk, 0, std::string(512, 'w')));
    EXPECT_TRUE(close(*disk));
    EXPECT_EQ(shown("a.img", "raw")[0], 'w');
}

TEST_F(LiveSnapshot, AbandoningGivesTheNameBackToTheFileThatHadIt) {
    create("a.qcow2", "qcow2");
    auto disk = open("a.qcow2", "qcow2");
    ASSERT_TRUE(write(*disk, 0, std::string(512, 'w')));
    ASSERT_TRUE(prepare(*disk, "z"));
    const auto abandon = [](LiveDisk* d) -> io::Task<Result<>> {
        co_await d->abandon_snapshot();
        co_return Result<>{};
    };
    EXPECT_TRUE(wait(abandon(disk.get())));
    EXPECT_TRUE(close(*disk));
    EXPECT_EQ(files(), 1u);
    EXPECT_EQ(shown("a.qcow2", "qcow2")[0], 'w');
}

TEST_F(LiveSnapshot, DisksThatKeepNothingHaveNone) {
    create("a.qcow2", "qcow2");
    for (const bool readonly : {false, true}) {
        LiveConfig config{.disk = {.path = at("a.qcow2"), .format = "qcow2", .readonly = readonly, .snapshot = !readonly}};
        auto disk = wait(LiveDisk::open(executor_, std::move(config)));
        ASSERT_TRUE(disk);
        EXPECT_EQ(prepare(**disk, "x").error().kind(), ErrorKind::Usage);
        EXPECT_TRUE(close(**disk));
    }
}

TEST_F(LiveSnapshot, TheOldFileCanBeClonedButNotWrittenWhileTheGuestRuns) {
    create("a.qcow2", "qcow2");
    auto disk = open("a.qcow2", "qcow2");
    BusyGuest guest(*disk, std::string(kSize, '\0'));
    let_write(guest, 100);
    const std::string then = take(*disk, guest, "before");
    clone_of("a.before.qcow2", "qcow2", "clone.qcow2");
    auto other = open("clone.qcow2", "qcow2");
    ASSERT_TRUE(other);
    EXPECT_TRUE(write(*other, 0, std::string(4096, 'c')));
    EXPECT_TRUE(close(*other));
    DiskConfig writer{.path = at("a.before.qcow2"), .format = "qcow2"};
    EXPECT_EQ(wait(open_disk(executor_, std::move(writer))).error().kind(), ErrorKind::Conflict);
    finish(guest);
    EXPECT_TRUE(close(*disk));
    EXPECT_EQ(shown("clone.qcow2", "qcow2").substr(4096), then.substr(4096));
    EXPECT_EQ(shown("a.before.qcow2", "qcow2"), then);
}

TEST_F(LiveSnapshot, WithoutThePageCacheToo) {
    create("a.qcow2", "qcow2");
    LiveConfig config{.disk = {.path = at("a.qcow2"), .format = "qcow2", .cache = CacheMode::None}};
    auto opened = wait(LiveDisk::open(executor_, std::move(config)));
    if (!opened) GTEST_SKIP() << opened.error().message();
    auto& disk = **opened;
    disk.attached([](size_t) {});
    BusyGuest guest(disk, std::string(kSize, '\0'));
    let_write(guest, 50);
    const std::string then = take(disk, guest, "before");
    finish(guest);
    EXPECT_TRUE(close(disk));
    EXPECT_EQ(shown("a.before.qcow2", "qcow2"), then);
    EXPECT_EQ(shown("a.qcow2", "qcow2"), guest.shown());
}

}  // namespace
}  // namespace yado::storage
