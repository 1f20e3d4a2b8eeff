// Live commits: the base gets what the image held, the guest notices nothing, and whatever cuts them off loses nothing.
#include "live_fixture.h"

namespace yado::storage {
namespace {

using testing::HasSubstr;

class LiveCommit : public LiveTest {
  protected:
    /// Starts one, and returns when it has ended.
    Result<> commit(LiveDisk& disk, std::function<bool()> cancelled = {}) {
        Control control;
        control.cancelled = std::move(cancelled);
        return wait(disk.commit(std::move(control)));
    }
    void chain(const std::string& base_format = "raw") {
        const std::string name = base();
        if (base_format == "raw") file(name, kSize, 'b');
        else create(name, base_format);
        clone_of(name, base_format, "a.qcow2");
    }
    static std::string base() { return "base.img"; }
    std::string base_shown(const std::string& format) const { return std::string(kSize, format == "raw" ? 'b' : '\0'); }
};

class LiveCommitInto : public LiveCommit, public testing::WithParamInterface<const char*> {};

TEST_P(LiveCommitInto, TheBaseHasAllAndTheGuestWritesOn) {
    chain(GetParam());
    auto disk = open("a.qcow2", "qcow2");
    BusyGuest guest(*disk, base_shown(GetParam()));
    let_write(guest, 400);
    const auto done = commit(*disk);
    ASSERT_TRUE(done.has_value()) << done.error().message();
    let_write(guest, 400);
    EXPECT_FALSE(there("a.commit.qcow2"));
    ASSERT_EQ(disk->layers().size(), 2u);
    EXPECT_EQ(disk->layers()[1].path, at(base()));
    finish(guest);
    EXPECT_EQ(read(*disk, 0, kSize), guest.shown());
    EXPECT_TRUE(close(*disk));
    EXPECT_EQ(shown("a.qcow2", "qcow2"), guest.shown());
    expect_clean("a.qcow2", "qcow2");
    expect_clean(base(), GetParam());
    EXPECT_EQ(files(), 2u);
}

INSTANTIATE_TEST_SUITE_P(, LiveCommitInto, testing::Values("raw", "qcow2", "vhd", "vhdx"));

TEST_F(LiveCommit, WithoutWritesMeanwhileTheBaseShowsWhatTheGuestSees) {
    chain();
    auto disk = open("a.qcow2", "qcow2");
    BusyGuest guest(*disk, base_shown("raw"));
    let_write(guest, 200);
    finish(guest);
    ASSERT_TRUE(commit(*disk));
    EXPECT_TRUE(close(*disk));
    EXPECT_EQ(contents(at(base())), guest.shown());
    EXPECT_EQ(shown("a.qcow2", "qcow2"), guest.shown());
}

TEST_F(LiveCommit, AgainAndAgainAndBetweenSnapshots) {
    chain("qcow2");
    auto disk = open("a.qcow2", "qcow2");
    BusyGuest guest(*disk, base_shown("qcow2"));
    for (unsigned n = 0; n < 4; ++n) {
        let_write(guest, 100);
        const auto done = commit(*disk);
        ASSERT_TRUE(done.has_value()) << done.error().message();
    }
    finish(guest);
    EXPECT_TRUE(close(*disk));
    EXPECT_EQ(shown("a.qcow2", "qcow2"), guest.shown());
    expect_clean(base(), "qcow2");
}

TEST_F(LiveCommit, OneThatIsCutOffLeavesALongerChainAndTheNextOneGoesOn) {
    chain();
    auto disk = open("a.qcow2", "qcow2");
    BusyGuest guest(*disk, base_shown("raw"));
    let_write(guest, 300);
    const auto cut_off = commit(*disk, [] { return true; });
    EXPECT_FALSE(cut_off);
    EXPECT_EQ(disk->layers().size(), 3u);
    let_write(guest, 100);
    finish(guest);
    EXPECT_EQ(read(*disk, 0, kSize), guest.shown());
    EXPECT_TRUE(close(*disk));
    EXPECT_EQ(shown("a.qcow2", "qcow2"), guest.shown());

    disk = open("a.qcow2", "qcow2");
    BusyGuest again(*disk, guest.shown(), 2);
    const auto done = commit(*disk);
    ASSERT_TRUE(done.has_value()) << done.error().message();
    EXPECT_EQ(disk->layers().size(), 2u);
    finish(again);
    EXPECT_TRUE(close(*disk));
    EXPECT_EQ(shown("a.qcow2", "qcow2"), again.shown());
    EXPECT_EQ(files(), 2u);
}

TEST_F(LiveCommit, TheGuestsEndCutsItOff) {
    chain();
    auto disk = open("a.qcow2", "qcow2");
    BusyGuest guest(*disk, base_shown("raw"));
    let_write(guest, 300);
    finish(guest);
    std::optional<Result<>> committed;
    const auto committing = [](LiveDisk* d) -> io::Task<Result<>> {
        Control control;
        co_return co_await d->commit(std::move(control));
    };
    io::spawn(committing(disk.get()), [&](Result<> r) { committed = std::move(r); });
    EXPECT_TRUE(close(*disk));
    EXPECT_TRUE(committed);
    EXPECT_EQ(shown("a.qcow2", "qcow2"), guest.shown());
}

TEST_F(LiveCommit, ABaseThatSomebodyElseReadsIsLeftAlone) {
    chain();
    clone_of(base(), "raw", "other.qcow2");
    auto other = open("other.qcow2", "qcow2");
    auto disk = open("a.qcow2", "qcow2");
    ASSERT_TRUE(write(*disk, 0, std::string(4096, 'x')));
    EXPECT_EQ(commit(*disk).error().kind(), ErrorKind::Conflict);
    EXPECT_EQ(files(), 3u) << "no image is left on top for nothing";
    EXPECT_EQ(contents(at(base())), base_shown("raw"));
    EXPECT_EQ(read(*disk, 0, 4096), std::string(4096, 'x'));
    EXPECT_TRUE(close(*other));
    DiskConfig writer{.path = at(base())};
    EXPECT_EQ(wait(open_disk(executor_, std::move(writer))).error().kind(), ErrorKind::Conflict) << "it is locked as before";
    EXPECT_TRUE(commit(*disk));
    EXPECT_TRUE(close(*disk));
    EXPECT_EQ(contents(at(base())).substr(0, 4096), std::string(4096, 'x'));
}

TEST_F(LiveCommit, AnotherFileOfTheBasesNameIsNotWrittenTo) {
    chain();
    auto disk = open("a.qcow2", "qcow2");
    ASSERT_TRUE(write(*disk, 0, std::string(4096, 'x')));
    std::filesystem::rename(at(base()), at("moved.img"));
    file(base(), kSize, 'o');
    EXPECT_THAT(commit(*disk).error().message(), HasSubstr("not the file any more"));
    EXPECT_TRUE(close(*disk));
    EXPECT_EQ(contents(at(base())), std::string(kSize, 'o'));
}

TEST_F(LiveCommit, OneWhoseTopCannotBeCoveredLeavesTheBaseAsItWas) {
    chain();
    file("a.commit.qcow2", 512);
    auto disk = open("a.qcow2", "qcow2");
    ASSERT_TRUE(write(*disk, 0, std::string(4096, 'x')));
    EXPECT_EQ(commit(*disk).error().kind(), ErrorKind::Conflict);
    EXPECT_EQ(disk->layers().size(), 2u);
    EXPECT_EQ(contents(at(base())), base_shown("raw"));
    clone_of(base(), "raw", "other.qcow2");
    auto other = open("other.qcow2", "qcow2");
    EXPECT_TRUE(other) << "others may read the base again";
    if (other) {
        EXPECT_TRUE(close(*other));
    }
    EXPECT_TRUE(close(*disk));
}

TEST_F(LiveCommit, IntoABaseThatHasOneItself) {
    file("root.img", kSize, 'r');
    clone_of("root.img", "raw", base(), "qcow2");
    clone_of(base(), "qcow2", "a.qcow2");
    auto disk = open("a.qcow2", "qcow2");
    BusyGuest guest(*disk, std::string(kSize, 'r'));
    let_write(guest, 200);
    const auto done = commit(*disk);
    ASSERT_TRUE(done.has_value()) << done.error().message();
    let_write(guest, 100);
    finish(guest);
    EXPECT_TRUE(close(*disk));
    EXPECT_EQ(shown("a.qcow2", "qcow2"), guest.shown());
    EXPECT_EQ(contents(at("root.img")), std::string(kSize, 'r'));
}

TEST_F(LiveCommit, WhatCannotBeCommittedIsRefused) {
    file("base.img", kSize, 'b');
    auto alone = open("base.img", "raw");
    EXPECT_THAT(commit(*alone).error().message(), HasSubstr("has no base"));
    EXPECT_TRUE(close(*alone));
    create("base.vhd", "vhd");
    clone_of("base.vhd", "vhd", "a.vhd", "vhd");
    auto vhd = open("a.vhd", "vhd");
    EXPECT_THAT(commit(*vhd).error().message(), HasSubstr("yado disk commit"));
    EXPECT_TRUE(close(*vhd));
}

}  // namespace
}  // namespace yado::storage
