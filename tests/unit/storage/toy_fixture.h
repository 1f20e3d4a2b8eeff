// Images with a parent, in the fakes' own format: for what is done over all formats.
#pragma once

#include <gmock/gmock.h>

#include "fakes/toy_format.h"
#include "storage/chain/chain.h"
#include "storage/operations/new_image.h"
#include "storage/operations/operations.h"
#include "storage_fixture.h"

namespace yado::storage {

class ToyTest : public StorageTest {
  protected:
    static constexpr uint64_t kSize = 1 << 20;

    ToyTest() { fakes::toy_format(); }

    std::string at(const std::string& name) const { return folder_ + "/" + name; }
    ChainConfig chain_of(const std::string& name, const char* format = "toy", BackingPolicy policy = BackingPolicy::Folder) const {
        return {.path = at(name), .format = format, .backing = policy};
    }

    /// A toy image on `parent`, as a header may name it: nothing is looked at.
    std::string toy(const std::string& name, std::optional<std::string> parent = {}, const std::string& parent_format = "toy", uint64_t size = kSize) {
        CreateOptions options;
        options.size = Bytes(size);
        if (parent) options.parent = CreateOptions::Parent{.path = *parent, .format = parent_format, .id = {}};
        const auto made = wait(create_image(executor_, at(name), fakes::toy_format(), std::move(options)));
        EXPECT_TRUE(made.has_value()) << made.error().message();
        return at(name);
    }
    /// Fills a range of an image.
    void put(const ChainConfig& config, uint64_t offset, size_t length, char fill) {
        auto chain = wait(open_chain(executor_, config));
        ASSERT_TRUE(chain.has_value()) << chain.error().message();
        EXPECT_TRUE(write(*chain->top, offset, std::string(length, fill)));
        EXPECT_TRUE(wait(chain->close()));
    }
    std::string shown(const ChainConfig& config) {
        ChainConfig reading = config;
        reading.readonly = true;
        auto chain = wait(open_chain(executor_, reading));
        if (!chain) return chain.error().message();
        const std::string all = read(*chain->top, 0, chain->top->size().value());
        EXPECT_TRUE(wait(chain->close()));
        return all;
    }
    std::string refusal(const ChainConfig& config) {
        auto chain = wait(open_chain(executor_, config));
        if (!chain) return chain.error().message();
        EXPECT_TRUE(wait(chain->close()));
        return "";
    }
    size_t files() const {
        return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(folder_), std::filesystem::directory_iterator()));
    }

    const Control control_;
};

}  // namespace yado::storage
