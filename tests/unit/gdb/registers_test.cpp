#include "gdb/registers.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/bytes.h"

namespace yado::gdb {
namespace {

class Registers : public testing::Test {
  protected:
    const Register& named(std::string_view name) {
        const auto all = file.all();
        const auto at = std::ranges::find_if(all, [&](const Register* r) { return r->name == name; });
        EXPECT_NE(at, all.end()) << name;
        return **at;
    }
    uint64_t get(std::string_view name) {
        auto bytes = value_of(state, named(name));
        bytes.resize(8);
        return load_le<uint64_t>(bytes.data());
    }
    Result<> set(std::string_view name, uint64_t value) {
        std::array<std::byte, 16> bytes{};
        store_le(bytes.data(), value);
        const Register& r = named(name);
        return r.access->set(state, r.index, bytes.data());
    }

    RegisterFile file{RegisterFile::Vectors::Avx};
    cpu::CpuState state = cpu::reset_state();
};

TEST_F(Registers, AValueComesBackAsItWasSet) {
    for (const Register* r : file.all()) {
        if (r->name == "eflags" || r->name == "ftag") continue;  // not every bit of them can be
        const uint64_t value = 0x1122334455667788 & mask_of_size(std::min(8u, r->bits / 8));
        const uint64_t kept = r->name.starts_with("f") && r->bits == 32 && r->name != "fioff" && r->name != "fooff" && r->name != "fs"
                                  ? value & 0xffff
                              : r->name == "mxcsr" || (r->bits == 32 && r->type == std::string("int32")) ? value & 0xffff
                                                                                                          : value;
        ASSERT_TRUE(set(r->name, value)) << r->name;
        EXPECT_EQ(get(r->name), kept) << r->name;
    }
}

TEST_F(Registers, TheFirstSeventeenAreInGdbsOrder) {
    state.gpr[cpu::RBX] = 3;
    state.rip = 0x1234;
    EXPECT_EQ(value_of(state, *file.find(1))[0], std::byte{3});
    EXPECT_EQ(file.find(16)->name, "rip");
    EXPECT_EQ(file.find(24)->name, "st0");
    EXPECT_EQ(file.find(file.all().size()), nullptr);
    EXPECT_EQ(file.find(~0ull), nullptr);
}

TEST_F(Registers, FlagsKeepTheirFixedBits) {
    ASSERT_TRUE(set("eflags", ~0ull));
    EXPECT_EQ(state.rflags, 0x3f7fd7u);
    ASSERT_TRUE(set("eflags", 0));
    EXPECT_EQ(state.rflags, 2u);
}

TEST_F(Registers, ASelectorIsSetInRealModeWithItsBaseAndNotInProtectedMode) {
    ASSERT_TRUE(set("ds", 0x1000));
    EXPECT_EQ(state.seg[cpu::DS].base, 0x10000u);
    state.cr0 |= cpu::cr0::PE;
    EXPECT_FALSE(set("ds", 0x10));
    EXPECT_TRUE(set("ds", 0x1000));
}

TEST_F(Registers, AComponentInItsInitialStateShowsInitialValues) {
    state.xsave.bytes.fill(0xee);
    store_le<uint64_t>(&state.xsave.bytes[512], 0);
    EXPECT_EQ(get("xmm3"), 0u);
    EXPECT_EQ(get("ymm3h"), 0u);
    EXPECT_EQ(get("fctrl"), 0x37fu);
    EXPECT_EQ(get("ftag"), 0xffffu);
    ASSERT_TRUE(set("xmm3", 5));
    EXPECT_EQ(get("xmm2"), 0u);
    EXPECT_EQ(get("xmm3"), 5u);
    EXPECT_EQ(load_le<uint64_t>(&state.xsave.bytes[512]), cpu::kXcr0Sse);
}

TEST_F(Registers, TheTagWordHasTwoBitsForEveryPhysicalRegister) {
    store_le<uint16_t>(&state.xsave.bytes[2], 7u << 11);  // TOP 7: physical register 7 is st0
    state.xsave.bytes[4] = 0x81;                          // 7 and 0 in use
    store_le<uint64_t>(&state.xsave.bytes[32], 1ull << 63);
    store_le<uint16_t>(&state.xsave.bytes[40], 0x3fff);   // st0 = 1.0
    EXPECT_EQ(get("ftag"), 0x3ffdu);                      // 7 valid, 0 (st1) zero, the rest empty
    ASSERT_TRUE(set("ftag", 0x3ffd));
    EXPECT_EQ(state.xsave.bytes[4], 0x81);
}

TEST_F(Registers, TheDescriptionNamesEveryRegisterInOrder) {
    const std::string xml = file.description();
    size_t at = 0;
    for (const Register* r : file.all()) {
        at = xml.find("<reg name=\"" + r->name + "\"", at);
        ASSERT_NE(at, xml.npos) << r->name;
    }
    EXPECT_NE(xml.find("org.gnu.gdb.i386.avx"), xml.npos);
    EXPECT_EQ(RegisterFile(RegisterFile::Vectors::Sse).description().find("avx"), xml.npos);
}

}  // namespace
}  // namespace yado::gdb
