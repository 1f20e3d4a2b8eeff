// Operations over images of any format: what comes out, and what is left when something fails.
#include "../toy_fixture.h"

#include <sys/stat.h>

#include "fakes/model_file.h"
#include "storage/operations/copy.h"

namespace yado::storage {
namespace {

using testing::HasSubstr;

class Operations : public ToyTest {
  protected:
    Result<> run(io::Task<Result<>> task) { return wait(std::move(task)); }
    Result<> convert_to(const ChainConfig& source, const std::string& name, const std::string& format) {
        return run(convert(executor_, source, {.path = at(name), .format = format, .cluster_size = {}}, control_));
    }
    /// A clone of raw `base.img`, written to in one place.
    void make_clone(char base_fill = 'b') {
        file("base.img", kSize, base_fill);
        ASSERT_TRUE(run(clone(executor_, chain_of("base.img", "raw"), {.path = at("top.toy"), .format = "toy"})));
        put(chain_of("top.toy"), 8192, 4096, 't');
    }
    static uint64_t on_disk(const std::string& path) {
        struct stat st{};
        stat(path.c_str(), &st);
        return static_cast<uint64_t>(st.st_blocks) * 512;
    }
    std::string clone_shows() const {
        std::string all(kSize, 'b');
        all.replace(8192, 4096, 4096, 't');
        return all;
    }
};

TEST_F(Operations, ConvertKeepsContentsAndSparseness) {
    const std::string source = file("a.img", 8 << 20);
    put(chain_of("a.img", "raw"), 3 << 20, 10000, 'x');
    ASSERT_TRUE(convert_to(chain_of("a.img", "raw"), "b.toy", "toy"));
    ASSERT_TRUE(convert_to(chain_of("b.toy"), "c.img", "raw"));
    EXPECT_EQ(contents(at("c.img")), contents(source));
    EXPECT_LE(on_disk(at("c.img")), 128u << 10);
}

TEST_F(Operations, ConvertFindsZeroesThatWereWritten) {
    file("a.img", 4 << 20, 0);  // written out: no holes
    ASSERT_TRUE(convert_to(chain_of("a.img", "raw"), "b.img", "raw"));
    EXPECT_EQ(on_disk(at("b.img")), 0u);
    EXPECT_EQ(std::filesystem::file_size(at("b.img")), 4u << 20);
}

TEST_F(Operations, ConvertAgreesWithQemuImg) {
    std::mt19937_64 random(3);
    file("a.img", 16 << 20);
    for (unsigned n = 0; n < 40; ++n) put(chain_of("a.img", "raw"), random() % (16 << 11) * 512, 512 * (1 + random() % 60), static_cast<char>(1 + random() % 255));
    ASSERT_TRUE(convert_to(chain_of("a.img", "raw"), "b.img", "raw"));
    if (system("qemu-img --version >/dev/null 2>&1") != 0) GTEST_SKIP() << "no qemu-img";
    EXPECT_EQ(system(fmt::format("qemu-img compare -q -f raw -F raw {} {}", at("a.img"), at("b.img")).c_str()), 0);
}

TEST_F(Operations, ConvertFlattensAChain) {
    make_clone();
    ASSERT_TRUE(convert_to(chain_of("top.toy"), "flat.img", "raw"));
    EXPECT_EQ(contents(at("flat.img")), clone_shows());
}

TEST_F(Operations, ConvertOntoAFileThatIsThereIsRefusedAndLeavesIt) {
    file("a.img", kSize, 'a');
    file("b.img", kSize, 'b');
    EXPECT_EQ(convert_to(chain_of("a.img", "raw"), "b.img", "raw").error().kind(), ErrorKind::Conflict);
    EXPECT_EQ(contents(at("b.img")), std::string(kSize, 'b'));
}

TEST_F(Operations, ACancelledConvertLeavesNothing) {
    file("a.img", 8 << 20, 'a');
    Control control;
    unsigned asked = 0;
    control.cancelled = [&] { return ++asked > 3; };
    const auto done = run(convert(executor_, chain_of("a.img", "raw"), {.path = at("b.img"), .format = "raw", .cluster_size = {}}, control));
    EXPECT_EQ(done.error().message(), "interrupted");
    EXPECT_EQ(files(), 1u);
    EXPECT_EQ(contents(at("a.img")), std::string(8 << 20, 'a'));
}

TEST_F(Operations, ASourceThatIsWrittenToIsRefused) {
    file("a.img", kSize);
    auto writer = try_open({.path = at("a.img")});
    ASSERT_TRUE(writer.has_value());
    EXPECT_EQ(convert_to(chain_of("a.img", "raw"), "b.img", "raw").error().kind(), ErrorKind::Conflict);
    EXPECT_TRUE(wait((*writer)->close()));
}

TEST_F(Operations, ProgressGoesFromNothingToAll) {
    file("a.img", 8 << 20, 'a');
    Control control;
    uint64_t last = 0, total = 0;
    control.progress = [&](Bytes done, Bytes all) {
        EXPECT_GE(done.value(), last);
        last = done.value();
        total = all.value();
    };
    ASSERT_TRUE(run(convert(executor_, chain_of("a.img", "raw"), {.path = at("b.img"), .format = "raw", .cluster_size = {}}, control)));
    EXPECT_EQ(last, 8u << 20);
    EXPECT_EQ(total, 8u << 20);
}

TEST_F(Operations, ACloneNamesItsBaseRelativeInTheSameFolderAndAbsoluteElsewhere) {
    file("base.img", kSize);
    std::filesystem::create_directory(at("sub"));
    ASSERT_TRUE(run(clone(executor_, chain_of("base.img", "raw"), {.path = at("near.toy"), .format = "toy"})));
    ASSERT_TRUE(run(clone(executor_, chain_of("base.img", "raw"), {.path = at("sub/far.toy"), .format = "toy"})));
    EXPECT_EQ(wait(read_info(executor_, at("near.toy"), "toy"))->backing->path, "base.img");
    EXPECT_EQ(wait(read_info(executor_, at("sub/far.toy"), "toy"))->backing->path, std::filesystem::canonical(at("base.img")).string());
}

TEST_F(Operations, ARawImageCannotBeAClone) {
    file("base.img", kSize);
    EXPECT_THAT(run(clone(executor_, chain_of("base.img", "raw"), {.path = at("c.img"), .format = "raw"})).error().message(), HasSubstr("cannot be a clone"));
    EXPECT_EQ(files(), 1u);
}

TEST_F(Operations, ResizeGrowsWithZeroes) {
    file("a.img", kSize, 'a');
    ASSERT_TRUE(run(resize(executor_, chain_of("a.img", "raw"), Bytes(2 * kSize), Shrink::Refuse)));
    EXPECT_EQ(contents(at("a.img")), std::string(kSize, 'a') + std::string(kSize, 0));
}

TEST_F(Operations, ResizeShrinksOnlyWhatHoldsNothingUnlessForced) {
    file("a.img", kSize);
    put(chain_of("a.img", "raw"), kSize / 2 + 700, 1, 'x');
    EXPECT_EQ(run(resize(executor_, chain_of("a.img", "raw"), Bytes(kSize / 2), Shrink::Refuse)).error().kind(), ErrorKind::Usage);
    EXPECT_THAT(run(resize(executor_, chain_of("a.img", "raw"), Bytes(kSize / 2), Shrink::IfUnused)).error().message(),
                HasSubstr(fmt::format("holds data at byte {}", kSize / 2 + 700)));
    EXPECT_EQ(std::filesystem::file_size(at("a.img")), kSize);
    EXPECT_TRUE(run(resize(executor_, chain_of("a.img", "raw"), Bytes(kSize / 2 + 1024), Shrink::IfUnused)));
    EXPECT_TRUE(run(resize(executor_, chain_of("a.img", "raw"), Bytes(512), Shrink::Cut)));
    EXPECT_EQ(std::filesystem::file_size(at("a.img")), 512u);
}

TEST_F(Operations, CompactGivesSpaceBackAndKeepsParentContentsAndMode) {
    make_clone();
    put(chain_of("top.toy"), 64 << 10, 256 << 10, 'x');
    {
        auto chain = wait(open_chain(executor_, chain_of("top.toy")));
        ASSERT_TRUE(chain.has_value());
        EXPECT_TRUE(wait(chain->top->write_zeroes(Bytes(64 << 10), Bytes(256 << 10), true)));
        EXPECT_TRUE(wait(chain->close()));
    }
    ASSERT_EQ(chmod(at("top.toy").c_str(), 0640), 0);
    const std::string before = shown(chain_of("top.toy"));
    const uint64_t space = on_disk(at("top.toy"));
    const auto done = run(compact(executor_, chain_of("top.toy"), control_));
    ASSERT_TRUE(done.has_value()) << done.error().message();
    EXPECT_EQ(shown(chain_of("top.toy")), before);
    EXPECT_LT(on_disk(at("top.toy")), space);
    EXPECT_EQ(wait(read_info(executor_, at("top.toy"), "toy"))->backing->path, "base.img");
    EXPECT_EQ(std::filesystem::status(at("top.toy")).permissions(), std::filesystem::perms(0640));
    EXPECT_EQ(files(), 2u);
}

TEST_F(Operations, ACancelledCompactLeavesTheImageAsItWas) {
    file("a.img", 4 << 20, 'a');
    Control control;
    control.cancelled = [] { return true; };
    EXPECT_FALSE(run(compact(executor_, chain_of("a.img", "raw"), control)));
    EXPECT_EQ(contents(at("a.img")), std::string(4 << 20, 'a'));
    EXPECT_EQ(files(), 1u);
}

TEST_F(Operations, CommitPutsDataAndZeroesIntoTheBaseAndEmptiesTheImage) {
    make_clone();
    {
        auto chain = wait(open_chain(executor_, chain_of("top.toy")));
        ASSERT_TRUE(chain.has_value());
        EXPECT_TRUE(wait(chain->top->write_zeroes(Bytes(32768), Bytes(4096), true)));
        EXPECT_TRUE(wait(chain->close()));
    }
    std::string expected = clone_shows();
    expected.replace(32768, 4096, 4096, 0);
    const auto done = run(commit(executor_, chain_of("top.toy"), AfterCommit::Empty, control_));
    ASSERT_TRUE(done.has_value()) << done.error().message();
    EXPECT_EQ(contents(at("base.img")), expected);
    EXPECT_EQ(shown(chain_of("top.toy")), expected);
    EXPECT_LE(on_disk(at("top.toy")), 8192u);
    EXPECT_EQ(files(), 2u);
}

TEST_F(Operations, ACommitThatWasCutOffIsDoneAgain) {
    make_clone();
    put(chain_of("top.toy"), 512 << 10, 200 << 10, 'u');
    const std::string expected = shown(chain_of("top.toy"));
    Control control;
    unsigned asked = 0;
    control.cancelled = [&] { return ++asked > 1; };
    EXPECT_FALSE(run(commit(executor_, chain_of("top.toy"), AfterCommit::Empty, control)));
    EXPECT_EQ(shown(chain_of("top.toy")), expected);
    ASSERT_TRUE(run(commit(executor_, chain_of("top.toy"), AfterCommit::Keep, control_)));
    EXPECT_EQ(contents(at("base.img")), expected);
    ASSERT_TRUE(run(commit(executor_, chain_of("top.toy"), AfterCommit::Empty, control_)));
    EXPECT_EQ(contents(at("base.img")), expected);
}

TEST_F(Operations, CommitNeedsLeaveToFollowTheName) {
    make_clone();
    EXPECT_EQ(run(commit(executor_, chain_of("top.toy", "toy", BackingPolicy::None), AfterCommit::Empty, control_)).error().kind(), ErrorKind::Denied);
    EXPECT_EQ(contents(at("base.img")), std::string(kSize, 'b'));
}

TEST_F(Operations, CommitWithoutABaseIsRefused) {
    toy("a.toy");
    EXPECT_THAT(run(commit(executor_, chain_of("a.toy"), AfterCommit::Empty, control_)).error().message(), HasSubstr("has no base"));
}

TEST_F(Operations, ASafeRebaseShowsTheSameAndCopiesOnlyWhatDiffers) {
    make_clone();
    file("other.img", kSize, 'b');
    put(chain_of("other.img", "raw"), 100 << 10, 5000, 'o');
    const std::string before = shown(chain_of("top.toy"));
    const uint64_t space = on_disk(at("top.toy"));
    const auto done = run(rebase(executor_, chain_of("top.toy"), NewBase{at("other.img"), "raw"}, RebaseMode::Safe, control_));
    ASSERT_TRUE(done.has_value()) << done.error().message();
    EXPECT_EQ(shown(chain_of("top.toy")), before);
    EXPECT_EQ(wait(read_info(executor_, at("top.toy"), "toy"))->backing->path, "other.img");
    EXPECT_LE(on_disk(at("top.toy")), space + (16 << 10));
}

TEST_F(Operations, ARebaseOntoNothingMakesTheImageStandAlone) {
    make_clone();
    const std::string before = shown(chain_of("top.toy"));
    ASSERT_TRUE(run(rebase(executor_, chain_of("top.toy"), std::nullopt, RebaseMode::Safe, control_)));
    std::filesystem::remove(at("base.img"));
    EXPECT_EQ(shown(chain_of("top.toy", "toy", BackingPolicy::None)), before);
}

TEST_F(Operations, AHeaderOnlyRebaseNeedsNoOldBase) {
    make_clone();
    const std::string before = shown(chain_of("top.toy"));
    std::filesystem::rename(at("base.img"), at("moved.img"));
    ASSERT_TRUE(run(rebase(executor_, chain_of("top.toy"), NewBase{at("moved.img"), "raw"}, RebaseMode::HeaderOnly, control_)));
    EXPECT_EQ(shown(chain_of("top.toy")), before);
}

TEST_F(Operations, AnImageCannotBeItsOwnBase) {
    make_clone();
    EXPECT_THAT(run(rebase(executor_, chain_of("top.toy"), NewBase{at("top.toy"), "toy"}, RebaseMode::HeaderOnly, control_)).error().message(),
                HasSubstr("its own base"));
}

TEST_F(Operations, ARawImageHasNoHeaderToRewriteAndNoSnapshots) {
    file("a.img", kSize);
    file("b.img", kSize);
    EXPECT_THAT(run(rebase(executor_, chain_of("a.img", "raw"), NewBase{at("b.img"), "raw"}, RebaseMode::HeaderOnly, control_)).error().message(),
                HasSubstr("raw images have no backing file"));
    EXPECT_THAT(run(change_snapshot(executor_, at("a.img"), "raw", SnapshotVerb::Create, "s")).error().message(), HasSubstr("raw has no snapshots; use qcow2"));
}

TEST_F(Operations, CompareFindsTheFirstDifference) {
    make_clone();
    file("same.img", kSize, 'b');
    put(chain_of("same.img", "raw"), 8192, 4096, 't');
    const auto same = wait(compare(executor_, chain_of("top.toy"), chain_of("same.img", "raw"), control_));
    ASSERT_TRUE(same.has_value()) << same.error().message();
    EXPECT_TRUE(same->same());
    put(chain_of("same.img", "raw"), 70001, 1, '?');
    put(chain_of("same.img", "raw"), 900001, 1, '?');
    const auto other = wait(compare(executor_, chain_of("top.toy"), chain_of("same.img", "raw"), control_));
    ASSERT_TRUE(other.has_value() && other->difference.has_value());
    EXPECT_EQ(other->difference->value(), 70001u);
}

TEST_F(Operations, CompareTakesWhatIsMissingAtTheEndForZeroes) {
    file("a.img", kSize, 'a');
    file("b.img", kSize, 'a');
    ASSERT_TRUE(run(resize(executor_, chain_of("b.img", "raw"), Bytes(2 * kSize), Shrink::Refuse)));
    const auto result = wait(compare(executor_, chain_of("a.img", "raw"), chain_of("b.img", "raw"), control_));
    ASSERT_TRUE(result.has_value());
    EXPECT_TRUE(result->same());
    EXPECT_EQ(result->right.value(), 2 * kSize);
}

TEST_F(Operations, AFormatIsGuessedByItsFirstBytesOnly) {
    file("a.img", kSize);
    put(chain_of("a.img", "raw"), 0, 1, 'Q');
    EXPECT_EQ(*wait(guess_format(executor_, at("a.img"))), "raw");
    std::ofstream(at("b"), std::ios::binary) << "QFI\xfb" << std::string(1020, 0);
    EXPECT_EQ(*wait(guess_format(executor_, at("b"))), "qcow2");
    std::ofstream(at("c"), std::ios::binary) << std::string(1024, 0) << "conectix" << std::string(504, 0);
    EXPECT_EQ(*wait(guess_format(executor_, at("c"))), "vhd");
    std::ofstream(at("d")).close();
    EXPECT_EQ(*wait(guess_format(executor_, at("d"))), "raw");
}

TEST_F(Operations, AFormatComesFromTheExtensionOfANewFile) {
    EXPECT_EQ(*format_of_extension("a/b.qcow2"), "qcow2");
    EXPECT_EQ(*format_of_extension("x.vhdx"), "vhdx");
    EXPECT_EQ(*format_of_extension("x.img"), "raw");
    EXPECT_EQ(format_of_extension("x.iso").error().kind(), ErrorKind::Usage);
}

/// Copies between images in memory, of which one fails on demand.
class FailingCopy : public ToyTest {
  protected:
    void open_two() {
        from_file_ = new fakes::ModelFile(fakes::ModelFile::Contents(4 << 20, std::byte{'a'}), true);
        to_file_ = new fakes::ModelFile(fakes::ModelFile::Contents(4 << 20));
        from_ = *open_raw(std::unique_ptr<ImageFile>(from_file_));
        to_ = *open_raw(std::unique_ptr<ImageFile>(to_file_));
    }
    Result<> copy() {
        std::vector<Layer> layers(1);
        layers[0].image = from_.get();
        return wait(copy_shown(layers, *to_, std::nullopt, control_));
    }
    fakes::ModelFile *from_file_ = nullptr, *to_file_ = nullptr;
    std::unique_ptr<block::DiskImage> from_, to_;
};

TEST_F(FailingCopy, AFailedWriteOrReadEndsItWithThatErrorAfterAllInFlight) {
    for (const bool reading : {false, true}) {
        open_two();
        (reading ? from_file_ : to_file_)->fail_if = [](const char*, uint64_t number) { return number == 3; };
        const auto done = copy();
        ASSERT_FALSE(done.has_value());
        EXPECT_THAT(done.error().message(), HasSubstr("made to fail"));
        EXPECT_TRUE(from_file_->log().empty());
    }
}

TEST_F(FailingCopy, WithoutAFailureAllIsCopied) {
    open_two();
    ASSERT_TRUE(copy());
    EXPECT_EQ(to_file_->contents(), from_file_->contents());
}

/// Fails to write what is behind the first 100 KiB: a full file system, for the operations that open their files by name.
class FullFormat final : public Format {
  public:
    std::string_view name() const override { return "full"; }
    io::Task<Result<std::unique_ptr<block::DiskImage>>> do_open(std::unique_ptr<ImageFile>& file, OpenOptions& options) const override {
        auto image = co_await raw_format().open(std::move(file), std::move(options));
        if (!image) co_return image;
        co_return std::make_unique<Image>(std::move(*image));
    }
    io::Task<Result<>> create(ImageFile& file, const CreateOptions& options) const override { return raw_format().create(file, options); }
    io::Task<Result<ImageInfo>> info(ImageFile& file) const override { return raw_format().info(file); }
    io::Task<Result<CheckReport>> check(ImageFile& file, Repair repair) const override { return raw_format().check(file, repair); }

  private:
    class Image final : public block::DiskImage {
      public:
        explicit Image(std::unique_ptr<block::DiskImage> image) : image_(std::move(image)) {}
        Bytes size() const override { return image_->size(); }
        bool readonly() const override { return false; }
        std::string describe() const override { return "full"; }
        io::Task<Result<>> readv(Bytes offset, std::span<const iovec> into) override { return image_->readv(offset, into); }
        io::Task<Result<>> writev(Bytes offset, std::span<const iovec> from) override {
            if (offset.value() >= 100 << 10) co_return std::unexpected(errno_error(ENOSPC, "disk x: write"));
            co_return co_await image_->writev(offset, from);
        }
        io::Task<Result<>> flush() override { return image_->flush(); }
        io::Task<Result<>> write_zeroes(Bytes offset, Bytes length, bool unmap) override { return image_->write_zeroes(offset, length, unmap); }
        io::Task<Result<>> discard(Bytes offset, Bytes length) override { return image_->discard(offset, length); }
        io::Task<Result<>> close() override { return image_->close(); }

      private:
        std::unique_ptr<block::DiskImage> image_;
    };
};

TEST_F(Operations, AConvertOntoAFullFileSystemRemovesItsOutput) {
    static const FullFormat full;
    static const bool added = (add_format(full), true);
    ASSERT_TRUE(added);
    file("a.img", 4 << 20, 'a');
    EXPECT_THAT(convert_to(chain_of("a.img", "raw"), "b.img", "full").error().message(), HasSubstr("No space left"));
    EXPECT_EQ(files(), 1u);
    EXPECT_EQ(contents(at("a.img")), std::string(4 << 20, 'a'));
}

}  // namespace
}  // namespace yado::storage
