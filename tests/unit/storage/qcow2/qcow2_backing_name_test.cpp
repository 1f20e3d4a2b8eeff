// The name of the backing file changes in a closed image: whole, or not at all.
#include "qcow2_fixture.h"

namespace yado::storage::qcow2 {
namespace {

using Parent = CreateOptions::Parent;

class Qcow2BackingName : public Qcow2Test {
  protected:
    Result<> set(fakes::ModelFile& file, const std::optional<Parent>& parent) { return wait(qcow2_format().set_backing(file, parent)); }
    std::optional<BackingClaim> claim(const Contents& contents) {
        fakes::ModelFile file(contents);
        const auto info = wait(qcow2_format().info(file));
        EXPECT_TRUE(info.has_value()) << (info ? "" : info.error().message());
        return info ? info->backing : std::nullopt;
    }
    std::string path_in(const Contents& contents) {
        const auto c = claim(contents);
        return c ? c->path + " as " + c->format : "none";
    }
};

TEST_F(Qcow2BackingName, IsReplacedWithItsFormat) {
    fakes::ModelFile file(made_clone(1 << 20));
    ASSERT_TRUE(set(file, Parent{"other.qcow2", "qcow2", "", 0}));
    EXPECT_EQ(path_in(file.contents()), "other.qcow2 as qcow2");
    EXPECT_EQ(faults(file.contents()), "");
}

TEST_F(Qcow2BackingName, IsTakenAwayAndGiven) {
    fakes::ModelFile file(made_clone(1 << 20));
    ASSERT_TRUE(set(file, std::nullopt));
    EXPECT_EQ(path_in(file.contents()), "none");
    ASSERT_TRUE(set(file, Parent{"again.raw", "raw", "", 0}));
    EXPECT_EQ(path_in(file.contents()), "again.raw as raw");
}

TEST_F(Qcow2BackingName, MayBeLongAndChangeAgain) {
    fakes::ModelFile file(made_clone(1 << 20));
    for (const char letter : {'a', 'b', 'c'}) {
        ASSERT_TRUE(set(file, Parent{std::string(1000, letter), "raw", "", 0}));
        EXPECT_EQ(path_in(file.contents()), std::string(1000, letter) + " as raw");
    }
    EXPECT_EQ(faults(file.contents()), "");
}

TEST_F(Qcow2BackingName, IsRefusedWhereTheHeaderHasNoRoom) {
    fakes::ModelFile file(made_clone(1 << 20, 512));
    const auto r = set(file, Parent{std::string(1000, 'a'), "raw", "", 0});
    ASSERT_FALSE(r.has_value());
    EXPECT_EQ(path_in(file.contents()), "base.raw as raw");
}

TEST_F(Qcow2BackingName, IsTheOldOneOrTheNewOneAfterACrash) {
    const std::string first(700, 'a'), second(900, 'b');
    fakes::ModelFile file(made_clone(1 << 20));
    ASSERT_TRUE(set(file, Parent{first, "raw", "", 0}));
    fakes::ModelFile again(file.contents());
    ASSERT_TRUE(set(again, Parent{second, "qcow2", "", 0}));
    std::mt19937_64 random(1);
    for (unsigned n = 0; n < 200; ++n) {
        const std::string left = path_in(again.after_crash(random() % (again.log().size() + 1), random));
        EXPECT_TRUE(left == first + " as raw" || left == second + " as qcow2") << left;
    }
}

TEST_F(Qcow2BackingName, IsReadByQemuAndReplacesQemus) {
    if (!has_qemu()) GTEST_SKIP() << "no qemu-img";
    ASSERT_EQ(run("qemu-img create -f raw base.raw 1M"), 0) << said_;
    ASSERT_EQ(run("qemu-img create -f raw other.raw 1M"), 0) << said_;
    ASSERT_EQ(run("qemu-img create -f qcow2 -b base.raw -F raw a.qcow2"), 0) << said_;
    fakes::ModelFile file(loaded("a.qcow2"));
    ASSERT_TRUE(set(file, Parent{"other.raw", "raw", "", 0}));
    save("b.qcow2", file.contents());
    ASSERT_EQ(run("qemu-img info b.qcow2"), 0) << said_;
    EXPECT_NE(said_.find("backing file: other.raw"), std::string::npos) << said_;
    EXPECT_NE(said_.find("backing file format: raw"), std::string::npos) << said_;
    EXPECT_EQ(run("qemu-img check b.qcow2"), 0) << said_;
}

}  // namespace
}  // namespace yado::storage::qcow2
