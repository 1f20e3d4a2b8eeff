// VHDX between us and qemu-img, in both directions.
#include "../oracle.h"
#include "storage/vhdx/vhdx_format.h"

namespace yado::storage {
namespace {

class VhdxAndQemu : public OracleTest {
  protected:
    static constexpr uint64_t kSize = (20 << 20) + 512 * 8;

    static CreateOptions sized(uint64_t size, uint64_t block = 1 << 20) {
        CreateOptions options;
        options.size = Bytes(size);
        options.cluster_size = Bytes(block);
        return options;
    }
    void expect_identical(const std::string& name, const std::string& model) {
        save("model.raw", model);
        EXPECT_NE(qemu_img("compare -f vhdx -F raw " + name + " model.raw").find("identical"), std::string::npos);
        EXPECT_NE(qemu_img("check -f vhdx " + name).find("No errors"), std::string::npos);
    }
    void qemu_reads_what_we_write(const CreateOptions& options) {
        create(vhdx_format(), "a.vhdx", options);
        std::string model(options.size.value(), 0);
        auto disk = open_image(vhdx_format(), "a.vhdx");
        scribble(*disk, model, 1);
        ASSERT_TRUE(wait(disk->close()));
        expect_sound(vhdx_format(), "a.vhdx");
        EXPECT_NE(qemu_img("info -f vhdx a.vhdx").find(fmt::format("({} bytes)", options.size.value())), std::string::npos);
        expect_identical("a.vhdx", model);
    }
    void we_read_and_write_what_qemu_makes(const std::string& options) {
        std::string model = random_raw("b.raw", kSize, 2);
        qemu_img("convert -f raw -O vhdx -o " + options + " b.raw b.vhdx");
        auto disk = open_image(vhdx_format(), "b.vhdx");
        ASSERT_EQ(disk->size(), Bytes(kSize));
        EXPECT_TRUE(read(*disk, 0, kSize) == model);
        scribble(*disk, model, 3);
        ASSERT_TRUE(wait(disk->close()));
        expect_identical("b.vhdx", model);
    }
};

TEST_F(VhdxAndQemu, QemuReadsOurDynamicImages) { qemu_reads_what_we_write(sized(kSize)); }
TEST_F(VhdxAndQemu, QemuReadsOurLargeBlocks) { qemu_reads_what_we_write(sized(kSize, 32 << 20)); }
TEST_F(VhdxAndQemu, QemuReadsOurFixedImages) {
    CreateOptions options = sized(kSize);
    options.preallocated = true;
    qemu_reads_what_we_write(options);
}
TEST_F(VhdxAndQemu, WeReadAndWriteItsDynamicImages) { we_read_and_write_what_qemu_makes("subformat=dynamic,block_size=1M"); }
TEST_F(VhdxAndQemu, WeReadAndWriteItsLargeBlocks) { we_read_and_write_what_qemu_makes("subformat=dynamic,block_size=8M,block_state_zero=off"); }
TEST_F(VhdxAndQemu, WeReadAndWriteItsFixedImages) { we_read_and_write_what_qemu_makes("subformat=fixed,block_size=2M"); }

TEST_F(VhdxAndQemu, QemuReplaysOurLog) {
    create(vhdx_format(), "a.vhdx", sized(kSize));
    auto disk = open_image(vhdx_format(), "a.vhdx");
    std::string model(kSize, 0);
    scribble(*disk, model, 4);
    ASSERT_TRUE(wait(disk->flush()));
    std::filesystem::copy_file(path("a.vhdx"), path("left.vhdx"));
    ASSERT_TRUE(wait(disk->close()));
    EXPECT_EQ(info(vhdx_format(), "left.vhdx").details.back().first, "log");
    qemu_img("check -r all -f vhdx left.vhdx");
    expect_identical("left.vhdx", model);
}

TEST_F(VhdxAndQemu, QemuWritesOurImages) {
    create(vhdx_format(), "a.vhdx", sized(kSize));
    run("qemu-io -f vhdx -c 'write -P 7 3M 2M' " + path("a.vhdx"));
    auto disk = open_image(vhdx_format(), "a.vhdx");
    EXPECT_TRUE(read(*disk, 3 << 20, 2 << 20) == std::string(2 << 20, 7));
    ASSERT_TRUE(write(*disk, 4 << 20, std::string(1 << 20, 8)));
    ASSERT_TRUE(wait(disk->close()));
    run("qemu-io -f vhdx -c 'read -P 8 4M 1M' -c 'read -P 7 3M 1M' " + path("a.vhdx"));
}

TEST_F(VhdxAndQemu, QemuReadsWhatHasGrown) {
    create(vhdx_format(), "a.vhdx", sized(kSize));
    std::string model(kSize, 0);
    auto disk = open_image(vhdx_format(), "a.vhdx");
    scribble(*disk, model, 5);
    ASSERT_TRUE(wait(disk->resize(Bytes(40 << 20))));
    ASSERT_TRUE(wait(disk->close()));
    model.resize(40 << 20);
    expect_identical("a.vhdx", model);
}

TEST_F(VhdxAndQemu, ManyRequestsInFlightAgreeWithAModel) {
    create(vhdx_format(), "t.vhdx", sized(8 << 20));
    auto disk = open_image(vhdx_format(), "t.vhdx");
    torture(*disk, std::string(8 << 20, 0), 100);
    ASSERT_TRUE(wait(disk->close()));
    expect_sound(vhdx_format(), "t.vhdx");
}

}  // namespace
}  // namespace yado::storage
