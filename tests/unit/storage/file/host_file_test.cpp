// Files of the host: they grow, shrink and know their holes.
#include "storage/file/host_file.h"

#include "../storage_fixture.h"

namespace yado::storage {
namespace {

class HostFile : public StorageTest {
  protected:
    std::unique_ptr<ImageFile> create(const std::string& name) {
        auto r = create_host_file(executor_, {.path = folder_ + "/" + name});
        EXPECT_TRUE(r.has_value()) << r.error().message();
        return r ? std::move(*r) : nullptr;
    }
    Result<> put(ImageFile& file, uint64_t at, const std::string& data) {
        return wait(write_bytes(file, Bytes(at), std::as_bytes(std::span(data))));
    }
};

TEST_F(HostFile, GrowsByWritesBehindItsEnd) {
    auto file = create("a");
    ASSERT_TRUE(put(*file, 1000, "abc"));
    EXPECT_EQ(file->size(), Bytes(1003));
    EXPECT_TRUE(wait(file->close()));
    EXPECT_EQ(contents(folder_ + "/a"), std::string(1000, 0) + "abc");
}

TEST_F(HostFile, ShrinksAndGrowsWithZeroes) {
    auto file = create("a");
    ASSERT_TRUE(put(*file, 0, "abcdef"));
    EXPECT_TRUE(wait(file->resize(Bytes(3))));
    EXPECT_TRUE(wait(file->resize(Bytes(5))));
    EXPECT_TRUE(wait(file->close()));
    EXPECT_EQ(contents(folder_ + "/a"), std::string("abc\0\0", 5));
}

TEST_F(HostFile, TellsHolesFromData) {
    auto file = create("a");
    ASSERT_TRUE(put(*file, 1 << 20, std::string(64 << 10, 'x')));
    EXPECT_TRUE(wait(file->resize(Bytes(2 << 20))));
    const auto hole = wait(file->map(Bytes(0), Bytes(2 << 20)));
    ASSERT_TRUE(hole.has_value());
    EXPECT_EQ(hole->kind, block::Extent::Kind::Zero);
    EXPECT_EQ(hole->length, Bytes(1 << 20));
    const auto data = wait(file->map(Bytes(1 << 20), Bytes(1 << 20)));
    EXPECT_EQ(data->kind, block::Extent::Kind::Data);
    EXPECT_EQ(data->length, Bytes(64 << 10));
    const auto tail = wait(file->map(Bytes(1536 << 10), Bytes(512)));
    EXPECT_EQ(tail->kind, block::Extent::Kind::Zero);
    EXPECT_EQ(tail->length, Bytes(512));
    EXPECT_TRUE(wait(file->close()));
}

TEST_F(HostFile, NeverMakesAFileOverAnother) {
    file("a", 512);
    auto r = create_host_file(executor_, {.path = folder_ + "/a"});
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().kind(), ErrorKind::Conflict);
}

}  // namespace
}  // namespace yado::storage
