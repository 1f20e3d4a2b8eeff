// The raw format through the same tests as all others.
#include "../format_fixture.h"
#include "storage/raw/raw_image.h"

namespace yado::storage {
namespace {

class RawFormat : public FormatTest {};

TEST_F(RawFormat, AgreesWithAModel) {
    std::mt19937_64 random(1);
    auto disk = open_memory(raw_format(), created(raw_format(), {.size = Bytes(1 << 20)}));
    ASSERT_TRUE(disk.has_value());
    Model model((1 << 20) / 512);
    churn(**disk, model, random, 300);
    EXPECT_TRUE(wait((*disk)->close()));
}

TEST_F(RawFormat, KeepsWhatWasFlushedThroughACrash) { crash_sweep(raw_format(), {.size = Bytes(1 << 20)}, 2, 200, 100); }

}  // namespace
}  // namespace yado::storage
