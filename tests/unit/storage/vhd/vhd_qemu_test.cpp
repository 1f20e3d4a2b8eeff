// VHDs between us and qemu-img, in both directions. Its own have the exact size only with force_size=on.
#include "../oracle.h"
#include "storage/vhd/vhd_format.h"

namespace yado::storage {
namespace {

class VhdAndQemu : public OracleTest {
  protected:
    static constexpr uint64_t kSize = (20 << 20) + 512 * 3;

    void qemu_reads_what_we_write(const CreateOptions& options) {
        create(vhd_format(), "a.vhd", options);
        std::string model(options.size.value(), 0);
        auto disk = open_image(vhd_format(), "a.vhd");
        scribble(*disk, model, 1);
        ASSERT_TRUE(wait(disk->close()));
        expect_sound(vhd_format(), "a.vhd");
        save("a.raw", model);
        EXPECT_NE(qemu_img("info -f vpc a.vhd").find(fmt::format("({} bytes)", options.size.value())), std::string::npos);
        EXPECT_NE(qemu_img("compare -f vpc -F raw a.vhd a.raw").find("identical"), std::string::npos);
    }
    void we_read_and_write_what_qemu_makes(const std::string& options) {
        std::string model = random_raw("b.raw", kSize, 2);
        qemu_img("convert -f raw -O vpc -o force_size=on," + options + " b.raw b.vhd");
        auto disk = open_image(vhd_format(), "b.vhd");
        ASSERT_EQ(disk->size(), Bytes(kSize));
        EXPECT_TRUE(read(*disk, 0, kSize) == model);
        scribble(*disk, model, 3);
        ASSERT_TRUE(wait(disk->close()));
        expect_sound(vhd_format(), "b.vhd");
        save("b.raw", model);
        EXPECT_NE(qemu_img("compare -f vpc -F raw b.vhd b.raw").find("identical"), std::string::npos);
    }
};

CreateOptions sized(uint64_t size) {
    CreateOptions options;
    options.size = Bytes(size);
    return options;
}

TEST_F(VhdAndQemu, QemuReadsOurDynamicImages) { qemu_reads_what_we_write(sized(kSize)); }

TEST_F(VhdAndQemu, QemuReadsOurSmallBlocks) {
    CreateOptions options = sized(kSize);
    options.cluster_size = Bytes(512 << 10);
    qemu_reads_what_we_write(options);
}

TEST_F(VhdAndQemu, QemuReadsOurFixedImages) {
    CreateOptions options = sized(kSize);
    options.preallocated = true;
    qemu_reads_what_we_write(options);
}

TEST_F(VhdAndQemu, QemuReadsWhatWeHaveResized) {
    create(vhd_format(), "a.vhd", sized(kSize));
    std::string model(kSize, 0);
    auto disk = open_image(vhd_format(), "a.vhd");
    scribble(*disk, model, 4);
    const uint64_t larger = 3ull << 30;
    ASSERT_TRUE(wait(disk->resize(Bytes(larger))));
    ASSERT_TRUE(write(*disk, larger - 512, sector_of(1)));
    ASSERT_TRUE(wait(disk->close()));
    save("a.raw", model);
    std::filesystem::resize_file(path("a.raw"), larger - 512);
    std::ofstream(path("a.raw"), std::ios::app) << sector_of(1);
    EXPECT_NE(qemu_img("compare -f vpc -F raw a.vhd a.raw").find("identical"), std::string::npos);
}

TEST_F(VhdAndQemu, QemuWritesOurImages) {
    create(vhd_format(), "a.vhd", sized(kSize));
    run("qemu-io -f vpc -c 'write -P 7 3M 2M' " + path("a.vhd"));
    auto disk = open_image(vhd_format(), "a.vhd");
    EXPECT_TRUE(read(*disk, 3 << 20, 2 << 20) == std::string(2 << 20, 7));
    ASSERT_TRUE(write(*disk, 4 << 20, std::string(1 << 20, 8)));
    ASSERT_TRUE(wait(disk->close()));
    run("qemu-io -f vpc -c 'read -P 8 4M 1M' -c 'read -P 7 3M 1M' " + path("a.vhd"));
    expect_sound(vhd_format(), "a.vhd");
}

TEST_F(VhdAndQemu, WeReadAndWriteItsDynamicImages) { we_read_and_write_what_qemu_makes("subformat=dynamic"); }
TEST_F(VhdAndQemu, WeReadAndWriteItsFixedImages) { we_read_and_write_what_qemu_makes("subformat=fixed"); }

TEST_F(VhdAndQemu, TheSizeOfItsInexactImagesIsTheGeometrys) {
    for (const char* subformat : {"dynamic", "fixed"}) {
        qemu_img(fmt::format("create -f vpc -o subformat={} c.vhd {}", subformat, kSize));
        const std::string said = qemu_img("info --output=json -f vpc c.vhd");
        EXPECT_NE(said.find(fmt::format("\"virtual-size\": {},", info(vhd_format(), "c.vhd").size.value())), std::string::npos) << said;
    }
}

TEST_F(VhdAndQemu, LargeDisksAreReadWithTheirExactSize) {
    for (const uint64_t size : {(127ull << 30) + 512, 600ull << 30, 2040ull << 30}) {
        create(vhd_format(), "d.vhd", sized(size));
        EXPECT_NE(qemu_img("info --output=json -f vpc d.vhd").find(fmt::format("\"virtual-size\": {},", size)), std::string::npos);
        EXPECT_EQ(info(vhd_format(), "d.vhd").size, Bytes(size));
    }
}

TEST_F(VhdAndQemu, ManyRequestsInFlightAgreeWithAModel) {
    CreateOptions options = sized(8 << 20);
    options.cluster_size = Bytes(64 << 10);
    create(vhd_format(), "t.vhd", options);
    auto disk = open_image(vhd_format(), "t.vhd");
    torture(*disk, std::string(8 << 20, 0), 100);
    ASSERT_TRUE(wait(disk->close()));
    expect_sound(vhd_format(), "t.vhd");
}

TEST_F(VhdAndQemu, ManyRequestsInFlightOnADifferencingImageAgreeWithAModel) {
    const std::string below = random_raw("p.raw", 8 << 20, 5);
    CreateOptions options = sized(8 << 20);
    options.cluster_size = Bytes(64 << 10);
    options.parent.emplace();
    options.parent->path = "p.vhd";
    options.parent->format = "vhd";
    options.parent->id = "01234567-89ab-4def-8123-456789abcdef";
    create(vhd_format(), "t.vhd", options);
    OpenOptions open;
    open.backing = open_image(raw_format(), "p.raw");
    open.backing_id = options.parent->id;
    auto disk = open_image(vhd_format(), "t.vhd", std::move(open));
    torture(*disk, below, 100);
    ASSERT_TRUE(wait(disk->close()));
    expect_sound(vhd_format(), "t.vhd");
}

}  // namespace
}  // namespace yado::storage
