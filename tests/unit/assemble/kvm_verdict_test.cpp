#include "assemble/kvm_verdict.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace yado::assemble {
namespace {

struct VerdictFile : testing::Test {
    VerdictFile() {
        char pattern[] = "/tmp/yado-test-XXXXXX";
        folder = mkdtemp(pattern);
        path = folder + "/.kvm-verdict";
    }
    ~VerdictFile() override { std::filesystem::remove_all(folder); }

    void put(std::string_view text) const {
        std::ofstream(path) << text;
        chmod(path.c_str(), 0600);
    }
    std::string text() const {
        std::ostringstream all;
        all << std::ifstream(path).rdbuf();
        return all.str();
    }
    bool known() const { return KvmVerdictFile(path, "here").recall().has_value(); }

    std::string folder, path;
};

TEST_F(VerdictFile, WhatIsKeptIsRecalled) {
    for (const bool usable : {true, false}) {
        KvmVerdictFile(path, "here").keep({usable, "because"});
        const auto verdict = KvmVerdictFile(path, "here").recall();
        ASSERT_TRUE(verdict);
        EXPECT_EQ(verdict->usable, usable);
        EXPECT_EQ(verdict->reason, "because");
    }
}

TEST_F(VerdictFile, OnlyTheFileItselfStaysAndIsOurs) {
    KvmVerdictFile(path, "here").keep({true, "because"});
    const auto files = std::filesystem::directory_iterator(folder);
    EXPECT_EQ(std::distance(begin(files), end(files)), 1);
    EXPECT_EQ(std::filesystem::status(path).permissions(), std::filesystem::perms(0600));
}

TEST_F(VerdictFile, AVerdictOnAnotherHostBootOrBuildIsNone) {
    KvmVerdictFile(path, "here").keep({true, "because"});
    EXPECT_FALSE(KvmVerdictFile(path, "here, later").recall());
}

TEST_F(VerdictFile, AMalformedFileIsNone) {
    put("here\nusable\nbecause\n");
    ASSERT_TRUE(known());
    for (const std::string text : {"", "here", "here\n", "here\nusable\n", "here\nusable\nbecause", "here\nusable\n\n", "here\nperhaps\nbecause\n",
                                   "here\nusable\nbecause\nmore\n", "here\nusable\nbe\033cause\n", "\nusable\nbecause\n"}) {
        put(text);
        EXPECT_FALSE(known()) << text;
    }
    put("here\nusable\n" + std::string(5000, 'x') + "\n");
    EXPECT_FALSE(known());
}

TEST_F(VerdictFile, AFileThatOthersMayTouchIsNone) {
    put("here\nusable\nbecause\n");
    for (const mode_t mode : {0620u, 0602u, 0640u, 0604u}) {
        chmod(path.c_str(), mode);
        EXPECT_FALSE(known()) << mode;
    }
}

TEST_F(VerdictFile, ALinkOrAFifoIsNone) {
    put("here\nusable\nbecause\n");
    std::filesystem::rename(path, folder + "/elsewhere");
    std::filesystem::create_symlink(folder + "/elsewhere", path);
    EXPECT_FALSE(known());
    std::filesystem::remove(path);
    ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
    EXPECT_FALSE(known());
}

TEST_F(VerdictFile, WhatIsForgottenIsGone) {
    KvmVerdictFile(path, "here").keep({true, "because"});
    KvmVerdictFile(path, "here").forget();
    EXPECT_FALSE(known());
}

TEST_F(VerdictFile, WithoutAPathOrASubjectNothingIsRemembered) {
    KvmVerdictFile(path, "").keep({true, "because"});
    EXPECT_FALSE(std::filesystem::exists(path));
    put("\nusable\nbecause\n");
    EXPECT_FALSE(KvmVerdictFile(path, "").recall());
    KvmVerdictFile("", "here").keep({true, "because"});
    EXPECT_FALSE(KvmVerdictFile("", "here").recall());
}

TEST_F(VerdictFile, AFolderThatIsNotThereIsNoError) {
    const KvmVerdictFile file(folder + "/gone/verdict", "here");
    file.keep({true, "because"});
    EXPECT_FALSE(file.recall());
}

TEST(KvmVerdict, ThisHostIsNamedInOneLineThatStaysTheSame) {
    const std::string host = KvmVerdictFile::this_host();
    if (host.empty()) GTEST_SKIP() << "no /dev/kvm";
    EXPECT_EQ(host, KvmVerdictFile::this_host());
    EXPECT_EQ(host.find('\n'), host.npos);
    std::ifstream boot("/proc/sys/kernel/random/boot_id");
    std::string id;
    ASSERT_TRUE(std::getline(boot, id));
    EXPECT_NE(host.find(id), host.npos);
}

TEST(KvmVerdict, OnlyASpeedNearTheLimitOrNoneLeavesADoubt) {
    EXPECT_TRUE(leaves_no_doubt({.usable = true, .ring0_mips = cpu_kvm::kUsableMips}));
    EXPECT_TRUE(leaves_no_doubt({.usable = false, .ring0_mips = 2}));
    EXPECT_FALSE(leaves_no_doubt({.usable = false, .ring0_mips = cpu_kvm::kUsableMips / 2}));
    EXPECT_FALSE(leaves_no_doubt({.usable = false, .ring0_mips = 2000, .missing = {"INT3"}}));
    EXPECT_FALSE(leaves_no_doubt({.usable = false, .ring0_mips = 0}));
}

TEST_F(VerdictFile, AProbeIsKeptUnlessItLeavesADoubt) {
    put("here\nusable\nfrom before\n");
    const KvmVerdictFile file(path, "here");
    const KvmVerdict found = probe_anew(file);
    EXPECT_EQ(text().find("from before"), std::string::npos);
    EXPECT_EQ(file.recall().value_or(found).reason, found.reason);
}

}  // namespace
}  // namespace yado::assemble
