#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "control/runtime_dir.h"

using namespace yado;
using namespace yado::control;

namespace {

class RuntimeFolder : public testing::Test {
  protected:
    RuntimeFolder() {
        char pattern[] = "/tmp/yado-test-XXXXXX";
        folder_ = mkdtemp(pattern);
    }
    ~RuntimeFolder() override { std::filesystem::remove_all(folder_); }
    RuntimeDir dir() { return std::move(*RuntimeDir::open_at(folder_ + "/run")); }
    std::string folder_;
};

TEST_F(RuntimeFolder, FoldersAreTheUsersAlone) {
    const auto claim = dir().claim("web1");
    ASSERT_TRUE(claim);
    struct stat st {};
    ASSERT_EQ(stat(claim->folder().c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 0777, 0700u);
}

TEST_F(RuntimeFolder, AFolderOpenToOthersIsRefused) {
    mkdir((folder_ + "/run").c_str(), 0755);
    chmod((folder_ + "/run").c_str(), 0755);
    const auto dir = RuntimeDir::open_at(folder_ + "/run");
    ASSERT_FALSE(dir);
    EXPECT_EQ(dir.error().kind(), ErrorKind::Denied);
}

TEST_F(RuntimeFolder, ANameIsHeldOnce) {
    const auto first = dir().claim("web1");
    const auto second = dir().claim("web1");
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().kind(), ErrorKind::Conflict);
}

TEST_F(RuntimeFolder, AHeldNameIsAliveWithItsPid) {
    const auto claim = dir().claim("web1");
    const auto found = dir().find("web1");
    ASSERT_TRUE(found);
    EXPECT_TRUE(found->alive);
    EXPECT_EQ(found->pid, getpid());
}

TEST_F(RuntimeFolder, ADeadGuestTellsHowItEndedAndItsNameIsFree) {
    {
        auto claim = dir().claim("web1");
        ASSERT_TRUE(claim->put("exit.json", api::to_json(api::ExitReport{api::StopReason::Crashed, "triple fault", 0})));
    }
    const auto found = dir().find("web1");
    EXPECT_FALSE(found->alive);
    ASSERT_TRUE(found->ended);
    EXPECT_EQ(found->ended->detail, "triple fault");
    const auto again = dir().claim("web1");
    ASSERT_TRUE(again);
    EXPECT_FALSE(std::filesystem::exists(again->file("exit.json")));
}

TEST_F(RuntimeFolder, RemoveLeavesNothing) {
    auto claim = dir().claim("web1");
    claim->remove();
    EXPECT_EQ(dir().find("web1").error().kind(), ErrorKind::NotFound);
    EXPECT_TRUE(dir().list().empty());
}

TEST_F(RuntimeFolder, GuestsAreListedByName) {
    const auto b = dir().claim("b"), a = dir().claim("a");
    const auto all = dir().list();
    ASSERT_EQ(all.size(), 2u);
    EXPECT_EQ(all[0].name, "a");
}

TEST_F(RuntimeFolder, NamesCannotLeaveTheFolder) {
    EXPECT_EQ(dir().claim("../x").error().kind(), ErrorKind::Usage);
    EXPECT_EQ(dir().find("..").error().kind(), ErrorKind::Usage);
}

}  // namespace
