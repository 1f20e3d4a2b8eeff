// `yado disk`, spawned: verbs, exit statuses, one clear line for bad input. Parents are in the fakes' toy format.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/core.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

using testing::HasSubstr;
using testing::StartsWith;

namespace {

struct Outcome {
    int status;
    std::string out, err;
};

class DiskVerbs : public testing::Test {
  protected:
    DiskVerbs() {
        char pattern[] = "/tmp/yado-disk-XXXXXX";
        folder_ = mkdtemp(pattern);
    }
    ~DiskVerbs() override { std::filesystem::remove_all(folder_); }

    /// Runs in the folder, so that names are short.
    Outcome disk(const std::string& arguments) const {
        const int status = system(fmt::format("cd {} && {} disk {} >.out 2>.err", folder_, YADO_FAKE, arguments).c_str());
        return {WEXITSTATUS(status), slurp(".out"), slurp(".err")};
    }
    void good(const std::string& arguments) const {
        const Outcome o = disk(arguments);
        EXPECT_EQ(o.status, 0) << arguments << ": " << o.err;
        EXPECT_EQ(o.err, "") << arguments;
    }
    std::string slurp(const std::string& name) const {
        std::ostringstream text;
        text << std::ifstream(folder_ + "/" + name).rdbuf();
        return text.str();
    }
    void file(const std::string& name, size_t size, char fill) const { std::ofstream(folder_ + "/" + name) << std::string(size, fill); }
    bool exists(const std::string& name) const { return std::filesystem::exists(folder_ + "/" + name); }

    std::string folder_;
};

TEST_F(DiskVerbs, CreateTakesTheFormatFromTheNameAndTheSizeAsText) {
    good("create a.img --size 20G");
    EXPECT_EQ(std::filesystem::file_size(folder_ + "/a.img"), 20ull << 30);
    good("create b.bin --format raw --size 1M");
    EXPECT_EQ(disk("create c.bin --size 1M").status, 2);
    EXPECT_EQ(disk("create a.img --size 1M").status, 4);
    EXPECT_EQ(disk("create d.img --size many").status, 2);
    EXPECT_EQ(disk("create d.img --size 1000").status, 2);
    EXPECT_FALSE(exists("d.img"));
}

TEST_F(DiskVerbs, InfoShowsWhatIsThereAsTextAndAsJson) {
    good("create a.img --size 3M");
    EXPECT_THAT(disk("info a.img -f raw").out, HasSubstr("3M"));
    const auto json = nlohmann::json::parse(disk("info a.img -f auto --json").out);
    EXPECT_EQ(json["format"], "raw");
    EXPECT_EQ(json["size"], 3 << 20);
    EXPECT_EQ(json["allocated"], 0);
}

TEST_F(DiskVerbs, InfoFollowsNothing) {
    file("base.img", 1 << 20, 'b');
    good("clone base.img -f raw top.toy --to toy");
    std::filesystem::remove(folder_ + "/base.img");
    EXPECT_EQ(nlohmann::json::parse(disk("info top.toy -f toy --json").out)["backing"]["path"], "base.img");
    EXPECT_EQ(disk("convert top.toy -f toy out.img --backing folder").status, 3);
    EXPECT_FALSE(exists("out.img"));
}

TEST_F(DiskVerbs, AnImagesFormatIsToBeNamed) {
    file("a.img", 4096, 'a');
    for (const char* verb : {"info a.img", "check a.img", "convert a.img b.img", "resize a.img 8K", "compact a.img", "clone a.img b.toy --to toy"}) {
        const Outcome o = disk(verb);
        EXPECT_EQ(o.status, 2) << verb;
        EXPECT_THAT(o.err, HasSubstr("--format")) << verb;
        EXPECT_EQ(std::ranges::count(o.err, '\n'), 1) << verb;
    }
}

TEST_F(DiskVerbs, AGuessIsForReadingOnly) {
    file("a.img", 4096, 'a');
    good("check a.img -f auto");
    good("convert a.img -f auto b.img");
    for (const char* verb : {"resize a.img -f auto 8K", "compact a.img -f auto", "commit a.img -f auto", "check a.img -f auto --repair all",
                             "clone a.img -f auto b.toy --to toy", "convert a.img -f auto c.img --backing any", "snapshot create a.img -f auto s"}) {
        EXPECT_EQ(disk(verb).status, 2) << verb;
    }
    EXPECT_EQ(std::filesystem::file_size(folder_ + "/a.img"), 4096u);
}

TEST_F(DiskVerbs, ConvertAndCompareAgree) {
    file("a.img", 3 << 20, 'a');
    good("convert a.img -f raw b.raw");
    EXPECT_EQ(slurp("a.img"), slurp("b.raw"));
    EXPECT_EQ(disk("compare a.img -f raw b.raw --other-format raw").out, "the images are alike\n");
    std::fstream(folder_ + "/b.raw", std::ios::in | std::ios::out).seekp(5000).put('x');
    const Outcome o = disk("compare a.img -f raw b.raw --other-format raw --json");
    EXPECT_EQ(o.status, 1);
    EXPECT_EQ(nlohmann::json::parse(o.out)["difference"], 5000);
}

TEST_F(DiskVerbs, AClonesLifeFromCreationToCommit) {
    file("base.img", 1 << 20, 'b');
    file("other.img", 1 << 20, 'o');
    good("clone base.img -f raw top.toy --to toy");
    EXPECT_EQ(disk("commit top.toy -f toy").status, 5);
    EXPECT_THAT(disk("commit top.toy -f toy").err, HasSubstr("backing=folder follows it"));
    good("rebase top.toy -f toy --backing folder --onto other.img --onto-format raw");
    good("commit top.toy -f toy --backing folder");
    EXPECT_EQ(slurp("other.img"), std::string(1 << 20, 'b'));
    good("compact top.toy -f toy --backing folder");
    good("rebase top.toy -f toy --backing folder --onto none");
    good("convert top.toy -f toy flat.img");
    EXPECT_EQ(slurp("flat.img"), std::string(1 << 20, 'b'));
}

TEST_F(DiskVerbs, ResizeGrowsByAnAmountAndShrinksWhenAsked) {
    file("a.img", 1 << 20, 'a');
    good("resize a.img -f raw +1M");
    EXPECT_EQ(std::filesystem::file_size(folder_ + "/a.img"), 2u << 20);
    EXPECT_EQ(disk("resize a.img -f raw 1M").status, 2);
    good("resize a.img -f raw 1M --shrink");
    EXPECT_EQ(disk("resize a.img -f raw 512K --shrink").status, 1);
    good("resize a.img -f raw 512K --shrink --force");
    EXPECT_EQ(slurp("a.img"), std::string(512 << 10, 'a'));
}

TEST_F(DiskVerbs, SnapshotsOfAFormatThatHasNoneAreRefused) {
    file("a.img", 4096, 'a');
    for (const char* verb : {"create", "delete", "rollback"}) {
        const Outcome o = disk(fmt::format("snapshot {} a.img -f raw s1", verb));
        EXPECT_EQ(o.status, 1);
        EXPECT_THAT(o.err, HasSubstr("raw has no snapshots; use qcow2"));
    }
    EXPECT_EQ(disk("snapshot list a.img -f raw --json").out, "[]\n");
}

TEST_F(DiskVerbs, BadInputIsOneLineAndTheRightStatus) {
    file("odd.img", 1000, 'a');
    file("junk.toy", 2 << 20, 'a');
    for (const auto& [arguments, status] : {std::pair{"info nothing.img -f raw", 3}, {"info . -f raw", 1}, {"info odd.img -f raw", 1}, {"check junk.toy -f toy", 1},
                                            {"info odd.img -f vdi", 2}, {"convert odd.img -f raw x.iso", 2}, {"convert junk.toy -f toy x.img", 1},
                                            {"rebase junk.toy -f toy --onto odd.img", 2}, {"bogus", 2}, {"", 2}}) {
        const Outcome o = disk(arguments);
        EXPECT_EQ(o.status, status) << arguments << ": " << o.err;
        EXPECT_EQ(std::ranges::count(o.err, '\n'), 1) << arguments << ": " << o.err;
        EXPECT_THAT(o.err, StartsWith("yado: "));
    }
    EXPECT_FALSE(exists("x.img"));
}

TEST_F(DiskVerbs, AnInterruptedConvertRemovesWhatItHadWritten) {
    ASSERT_EQ(mkdir((folder_ + "/out").c_str(), 0700), 0);
    file("a.img", 64 << 20, 'a');
    const pid_t pid = fork();
    if (pid == 0) {
        const int quiet = open("/dev/null", O_WRONLY);
        dup2(quiet, 2);
        execl(YADO_FAKE, "yado", "disk", "convert", (folder_ + "/a.img").c_str(), "-f", "raw", (folder_ + "/out/b.img").c_str(), nullptr);
        _exit(127);
    }
    while (!exists("out/b.img") && waitpid(pid, nullptr, WNOHANG) == 0) sched_yield();
    kill(pid, SIGINT);
    int status = 0;
    waitpid(pid, &status, 0);
    EXPECT_TRUE(WIFEXITED(status));
    const bool finished = WEXITSTATUS(status) == 0;  // it was faster than the signal
    EXPECT_EQ(exists("out/b.img"), finished);
    EXPECT_EQ(std::filesystem::file_size(folder_ + "/a.img"), 64u << 20);
}

TEST_F(DiskVerbs, HelpIsThereForEveryVerb) {
    for (const char* verb : {"", "create", "info", "check", "resize", "convert", "compact", "clone", "snapshot", "snapshot create", "snapshot list", "snapshot delete",
                             "snapshot rollback", "commit", "rebase", "compare"}) {
        const Outcome o = disk(std::string(verb) + " --help");
        EXPECT_EQ(o.status, 0) << verb;
        EXPECT_THAT(o.out, HasSubstr("Usage")) << verb;
    }
}

TEST_F(DiskVerbs, BashCompletesFormatsAndFiles) {
    file("some.img", 512, 'a');
    const auto complete = [&](const std::string& words, int at) {
        std::ofstream(folder_ + "/try.sh") << fmt::format("source <({} completion bash); COMP_WORDS=(yado {}); COMP_CWORD={}; _yado; echo \"${{COMPREPLY[@]}}\"",
                                                          YADO_FAKE, words, at);
        EXPECT_EQ(system(fmt::format("cd {} && bash try.sh >.out", folder_).c_str()), 0);
        return slurp(".out");
    };
    EXPECT_EQ(complete("disk clone --format v", 4), "vhd vhdx vmdk\n");
    EXPECT_EQ(complete("disk info so", 3), "some.img\n");
    EXPECT_EQ(complete("disk snapshot roll", 3), "rollback\n");
}

}  // namespace
