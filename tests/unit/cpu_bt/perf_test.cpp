#include <gmock/gmock.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "bt_guest.h"

namespace yado::cpu_bt::test {
namespace {

constexpr const char* kMap =
    "ffffffff81000000 T _text\n"
    "ffffffff81000040 t first\n"
    "ffffffff81000080 D data\n"
    "ffffffff81a00080 T entry_SYSCALL_64\n"
    "ffffffff81b00000 T _einittext\n"
    "ffffffffc0001000 t helper\t[module]\n";

GuestSymbols symbols() { return *GuestSymbols::parse(kMap, "map"); }

std::string slurp(const std::string& path) {
    std::ostringstream text;
    text << std::ifstream(path, std::ios::binary).rdbuf();
    return text.str();
}

/// Keeps what it is told.
struct Listed final : PerfFile {
    explicit Listed(std::vector<std::string>& names) : names(names) {}
    void add(Code, std::string_view name) override { names.emplace_back(name); }
    void drop(Code) override {}
    std::vector<std::string>& names;
};

TEST(GuestSymbols, AnAddressIsNamedByTheFunctionThatItLiesIn) {
    EXPECT_EQ(symbols().name(0xffffffff81000040), "first");
    EXPECT_EQ(symbols().name(0xffffffff81000999), "first");
    EXPECT_EQ(symbols().name(0xffffffff80ffffff), std::nullopt);
    EXPECT_EQ(symbols().name(0xffffffff81b00000), std::nullopt);
    EXPECT_EQ(symbols().name(0xffffffffc0001000), std::nullopt);
}

TEST(GuestSymbols, AMalformedLineIsNamed) {
    const auto bad = GuestSymbols::parse("ffffffff81000000 T _text\nhello\n", "a.map");
    ASSERT_FALSE(bad);
    EXPECT_EQ(bad.error().kind(), ErrorKind::Corrupt);
    EXPECT_THAT(bad.error().message(), testing::StartsWith("a.map:2: "));
}

TEST(GuestSymbols, AListWithoutCodeOrAddressesIsRefused) {
    EXPECT_FALSE(GuestSymbols::parse("ffffffffffffffff B The real System.map is elsewhere\n", "a.map"));
    EXPECT_FALSE(GuestSymbols::parse("0000000000000000 T _text\n0000000000000000 t first\n", "kallsyms"));
    EXPECT_EQ(GuestSymbols::read("/nonexistent").error().kind(), ErrorKind::NotFound);
}

TEST(PerfListing, KernelCodeIsNamedBySymbolAlsoWhereTheKernelHasMoved) {
    std::vector<std::string> names;
    const PerfListing listing(std::make_unique<Listed>(names), symbols());
    EXPECT_EQ(listing.name_of({0xffffffff81000044, false, 0}), "first");
    EXPECT_EQ(listing.name_of({0xffffffff91000044, false, 0xffffffff91a00080}), "first");
    EXPECT_EQ(listing.name_of({0xffffffff81000044, false, 0x1234}), "first");  // no kernel of this map
    EXPECT_EQ(listing.name_of({0x400000, true, 0}), "user:0x400000");
    EXPECT_EQ(listing.name_of({0x1000000, false, 0}), "kernel:0x1000000");
}

TEST(PerfListing, TheTierListsItsOwnCodeAndEveryBlock) {
    GUEST_CODE(code, 64, "xor %eax, %eax; jmp 1f; 1: inc %eax; hlt");
    std::vector<std::string> names;
    BtGuest g({.warm = 1, .perf = std::make_shared<const PerfListing>(std::make_unique<Listed>(names), std::nullopt)});
    g.run_code(code);
    EXPECT_THAT(names, testing::ElementsAre("yado:runtime", "kernel:0x10000", "kernel:0x10004"));
}

TEST(PerfMap, ALineABlockAndNoneForWhatWasDropped) {
    static const uint8_t code[64] = {};
    const std::string path = fmt::format("/tmp/perf-{}.map", getpid());
    {
        const auto map = make_perf_map();
        ASSERT_TRUE(map) << map.error().message();
        (*map)->add(Code(code).first(16), "one");
        (*map)->add(Code(code).subspan(16, 32), "two");
        (*map)->drop(Code(code).first(16));
        (*map)->add(Code(code).subspan(48), "three");
    }
    EXPECT_EQ(slurp(path), fmt::format("{:x} 20 two\n{:x} 10 three\n", reinterpret_cast<uintptr_t>(code + 16), reinterpret_cast<uintptr_t>(code + 48)));
    unlink(path.c_str());
}

// --- a reader of jitdump files: tools/perf/Documentation/jitdump-specification.txt -----------------------------------------------

struct Record {
    uint32_t id = 0;
    uint64_t time = 0;
    uint64_t address = 0, index = 0;
    std::string name, code;
};

template <typename T>
T take(std::string_view& from) {
    T value{};
    EXPECT_GE(from.size(), sizeof value);
    std::memcpy(&value, from.data(), std::min(sizeof value, from.size()));
    from.remove_prefix(std::min(sizeof value, from.size()));
    return value;
}

Record read_load(Record record, std::string_view body) {
    EXPECT_EQ(take<uint32_t>(body), static_cast<uint32_t>(getpid()));
    take<uint32_t>(body);  // thread
    record.address = take<uint64_t>(body);
    EXPECT_EQ(take<uint64_t>(body), record.address);
    const auto size = take<uint64_t>(body);
    record.index = take<uint64_t>(body);
    record.name = body.substr(0, body.find('\0'));
    body.remove_prefix(record.name.size() + 1);
    EXPECT_EQ(body.size(), size);
    record.code = body;
    return record;
}

std::vector<Record> read_dump(std::string_view file) {
    EXPECT_EQ(take<uint32_t>(file), 0x4a695444u);
    EXPECT_EQ(take<uint32_t>(file), 1u);
    EXPECT_EQ(take<uint32_t>(file), 40u);
    EXPECT_EQ(take<uint32_t>(file), 62u);
    take<uint32_t>(file);
    EXPECT_EQ(take<uint32_t>(file), static_cast<uint32_t>(getpid()));
    take<uint64_t>(file);
    EXPECT_EQ(take<uint64_t>(file), 0u);
    std::vector<Record> records;
    while (!file.empty()) {
        const std::string_view whole = file;
        Record record{.id = take<uint32_t>(file), .time = 0, .address = 0, .index = 0, .name = {}, .code = {}};
        const auto size = take<uint32_t>(file);
        record.time = take<uint64_t>(file);
        if (size < 16 || size > whole.size()) {
            ADD_FAILURE() << "record of " << size << " bytes";
            break;
        }
        records.push_back(record.id == 0 ? read_load(record, whole.substr(16, size - 16)) : record);
        file = whole.substr(size);
    }
    return records;
}

TEST(JitDump, HoldsNameAddressAndBytesOfEveryBlockInOrderOfTime) {
    static const uint8_t code[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    char folder[] = "/tmp/yado-test-XXXXXX";
    ASSERT_NE(mkdtemp(folder), nullptr);
    {
        const auto dump = make_jit_dump(folder);
        ASSERT_TRUE(dump) << dump.error().message();
        (*dump)->add(Code(code).first(3), "one");
        (*dump)->add(Code(code).subspan(3), "two");
    }
    const auto records = read_dump(slurp(fmt::format("{}/jit-{}.dump", folder, getpid())));
    ASSERT_EQ(records.size(), 3u);
    EXPECT_EQ(records[0].name, "one");
    EXPECT_EQ(records[0].code, "\1\2\3");
    EXPECT_EQ(records[0].address, reinterpret_cast<uint64_t>(code));
    EXPECT_EQ(records[1].name, "two");
    EXPECT_EQ(records[1].code, "\4\5\6\7\10");
    EXPECT_EQ(records[1].index, 1u);
    EXPECT_GE(records[1].time, records[0].time);
    EXPECT_EQ(records[2].id, 3u);  // closed
    std::filesystem::remove_all(folder);
}

TEST(JitDump, AFolderThatIsNotThereIsAnError) { EXPECT_EQ(make_jit_dump("/nonexistent").error().kind(), ErrorKind::NotFound); }

/// The process that the next test records: runs a loop of translated code for a while.
TEST(JitDump, DISABLED_ALoopToRecord) {
    GUEST_CODE(code, 64, "mov $100000000, %ecx; 1: dec %ecx; jnz 1b; hlt");
    auto dump = make_jit_dump(getenv("YADO_TEST_FOLDER"));
    ASSERT_TRUE(dump) << dump.error().message();
    BtGuest g({.warm = 1, .perf = std::make_shared<const PerfListing>(std::move(*dump), std::nullopt)});
    g.run_code(code);
}

TEST(JitDump, PerfInjectReadsIt) {
    char folder[] = "/tmp/yado-test-XXXXXX";
    ASSERT_NE(mkdtemp(folder), nullptr);
    setenv("YADO_TEST_FOLDER", folder, 1);
    const auto run = [&](const std::string& command) { return system(fmt::format("cd {} && HOME={} {} >out 2>&1", folder, folder, command).c_str()); };
    if (run("perf record -q -e cpu-clock -o /dev/null true") != 0) GTEST_SKIP() << "perf cannot record here";
    const std::string self = std::filesystem::read_symlink("/proc/self/exe");
    ASSERT_EQ(run("perf record -q -k mono -e cpu-clock -o data " + self + " --gtest_also_run_disabled_tests --gtest_filter=*DISABLED_ALoopToRecord"), 0);
    ASSERT_EQ(run("perf inject --jit -i data -o injected"), 0);
    ASSERT_EQ(run("perf report -i injected --stdio --sort dso,sym"), 0);
    EXPECT_THAT(slurp(std::string(folder) + "/out"), testing::ContainsRegex("jitted-.*kernel:0x1000"));
    std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace yado::cpu_bt::test
