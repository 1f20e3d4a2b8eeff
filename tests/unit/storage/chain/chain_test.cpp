// Which files a header's claim makes us open, and which not.
#include "../toy_fixture.h"

#include <sys/stat.h>

namespace yado::storage {
namespace {

using testing::HasSubstr;

class ChainTest : public ToyTest {};

TEST_F(ChainTest, ShowsTheBaseWhereTheImageHoldsNothing) {
    const std::string base = file("base.img", kSize, 'b');
    toy("top.toy", "base.img", "raw");
    put(chain_of("top.toy"), 4096, 4096, 't');
    const std::string all = shown(chain_of("top.toy"));
    EXPECT_EQ(all.substr(0, 4096), std::string(4096, 'b'));
    EXPECT_EQ(all.substr(4096, 4096), std::string(4096, 't'));
    EXPECT_EQ(contents(base), std::string(kSize, 'b'));
}

TEST_F(ChainTest, WithoutLeaveABackingFileIsRefusedAndNamed) {
    file("base.img", kSize);
    toy("top.toy", "base.img", "raw");
    const std::string line = refusal(chain_of("top.toy", "toy", BackingPolicy::None));
    EXPECT_THAT(line, HasSubstr("names a backing file, \"base.img\", format raw; backing=folder follows it"));
    EXPECT_EQ(try_open({.path = at("top.toy"), .format = "toy"}).error().kind(), ErrorKind::Denied);
}

TEST_F(ChainTest, ANameThatLeavesTheFolderIsRefused) {
    std::filesystem::create_directory(at("sub"));
    file("base.img", kSize, 'b');
    toy("sub/top.toy", "../base.img", "raw");
    EXPECT_THAT(refusal(chain_of("sub/top.toy")), HasSubstr("lies outside the image's folder; use backing=any"));
    EXPECT_EQ(refusal(chain_of("sub/top.toy", "toy", BackingPolicy::Any)), "");
}

TEST_F(ChainTest, AnAbsoluteNameIsRefused) {
    const std::string base = file("base.img", kSize, 'b');
    toy("top.toy", base, "raw");
    EXPECT_THAT(refusal(chain_of("top.toy")), HasSubstr("lies outside the image's folder"));
    EXPECT_EQ(refusal(chain_of("top.toy", "toy", BackingPolicy::Any)), "");
}

TEST_F(ChainTest, ASymbolicLinkIsRefused) {
    file("real.img", kSize);
    std::filesystem::create_symlink("real.img", at("link.img"));
    std::filesystem::create_directory(at("sub"));
    file("sub/base.img", kSize);
    std::filesystem::create_directory_symlink("sub", at("way"));
    toy("a.toy", "link.img", "raw");
    toy("b.toy", "way/base.img", "raw");
    for (const char* name : {"a.toy", "b.toy"}) {
        EXPECT_THAT(refusal(chain_of(name)), HasSubstr("symbolic link; use backing=any")) << name;
        EXPECT_EQ(refusal(chain_of(name, "toy", BackingPolicy::Any)), "") << name;
    }
}

TEST_F(ChainTest, AFolderBelowIsFollowedAndItsOwnNamesStartThere) {
    std::filesystem::create_directory(at("sub"));
    file("sub/base.img", kSize, 'b');
    toy("sub/middle.toy", "base.img", "raw");
    toy("top.toy", "sub/middle.toy");
    EXPECT_EQ(shown(chain_of("top.toy")), std::string(kSize, 'b'));
}

TEST_F(ChainTest, AProtocolIsRefusedEvenWhereAllIsFollowed) {
    for (const char* name : {"json:{\"driver\":\"file\"}", "nbd:localhost:10809", "file:base.img"}) {
        toy("top.toy", name, "raw");
        EXPECT_THAT(refusal(chain_of("top.toy", "toy", BackingPolicy::Any)), HasSubstr("named with a protocol")) << name;
        std::filesystem::remove(at("top.toy"));
    }
}

TEST_F(ChainTest, AFormatThatIsNotNamedIsNotGuessed) {
    file("base.img", kSize);
    toy("top.toy", "base.img", "");
    EXPECT_THAT(refusal(chain_of("top.toy")), HasSubstr("does not say which format"));
    EXPECT_THAT(refusal(chain_of("top.toy", "toy", BackingPolicy::Any)), HasSubstr("not guessed"));
}

TEST_F(ChainTest, AFormatThatIsUnknownIsRefused) {
    file("base.img", kSize);
    toy("top.toy", "base.img", "qed");
    EXPECT_THAT(refusal(chain_of("top.toy")), HasSubstr("has the format \"qed\", which is not known"));
}

TEST_F(ChainTest, AMissingParentIsNamed) {
    toy("top.toy", "gone.img", "raw");
    EXPECT_THAT(refusal(chain_of("top.toy")), HasSubstr("its backing file \"gone.img\": no such file"));
    EXPECT_EQ(wait(open_chain(executor_, chain_of("top.toy"))).error().kind(), ErrorKind::NotFound);
}

TEST_F(ChainTest, ALoopIsRefused) {
    toy("a.toy", "b.toy");
    toy("b.toy", "a.toy");
    toy("self.toy", "self.toy");
    EXPECT_THAT(refusal(chain_of("a.toy")), HasSubstr("lies below itself"));
    EXPECT_THAT(refusal(chain_of("self.toy")), HasSubstr("lies below itself"));
}

TEST_F(ChainTest, ALoopThroughAnotherNameOfTheFileIsRefused) {
    toy("a.toy", "b.toy");
    std::filesystem::create_hard_link(at("a.toy"), at("b.toy"));
    EXPECT_THAT(refusal(chain_of("a.toy")), HasSubstr("lies below itself"));
}

TEST_F(ChainTest, AsManyImagesAsStatedAreOpenedAndNoMore) {
    toy("0.toy", {}, "toy", 4096);
    for (size_t n = 1; n <= kMaxChain; ++n) toy(fmt::format("{}.toy", n), fmt::format("{}.toy", n - 1), "toy", 4096);
    EXPECT_EQ(refusal(chain_of(fmt::format("{}.toy", kMaxChain - 1))), "");
    EXPECT_THAT(refusal(chain_of(fmt::format("{}.toy", kMaxChain))), HasSubstr("more than 64 images lie one on the other"));
}

TEST_F(ChainTest, AParentThatIsNoFileIsRefusedWithoutWaitingForIt) {
    ASSERT_EQ(mkfifo(at("pipe").c_str(), 0600), 0);
    std::filesystem::create_directory(at("sub"));
    toy("a.toy", "pipe", "raw");
    toy("b.toy", "sub", "raw");
    EXPECT_THAT(refusal(chain_of("a.toy")), HasSubstr("neither a file nor a block device"));
    EXPECT_THAT(refusal(chain_of("b.toy")), HasSubstr("is a directory"));
}

TEST_F(ChainTest, TheBaseIsLockedForReading) {
    const std::string base = file("base.img", kSize);
    toy("top.toy", "base.img", "raw");
    auto chain = wait(open_chain(executor_, chain_of("top.toy")));
    ASSERT_TRUE(chain.has_value()) << chain.error().message();
    EXPECT_EQ(try_open({.path = base}).error().kind(), ErrorKind::Conflict);
    EXPECT_TRUE(chain->layers[1].image->readonly());
    EXPECT_TRUE(wait(chain->close()));
}

TEST_F(ChainTest, AParentWithAnotherIdIsRefused) {
    toy("base.toy");
    const CloneTarget target{.path = at("top.toy"), .format = "toy"};
    ASSERT_TRUE(wait(clone(executor_, chain_of("base.toy"), target)));
    EXPECT_EQ(refusal(chain_of("top.toy")), "");
    std::filesystem::remove(at("base.toy"));
    toy("base.toy");
    EXPECT_THAT(refusal(chain_of("top.toy")), HasSubstr("its parent has changed"));
}

TEST_F(ChainTest, WhatAHeaderNamesIsShownWithoutControlCharacters) {
    toy("top.toy", "a\033[2Jb\n", "raw");
    EXPECT_THAT(refusal(chain_of("top.toy", "toy", BackingPolicy::None)), HasSubstr("\"a?[2Jb?\""));
}

}  // namespace
}  // namespace yado::storage
