#include "machine/acpi/tables.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <set>

#include "machine/layout.h"

namespace yado::machine::acpi {
namespace {

struct Installed {
    mem::GuestMemory memory;
    Tables tables;
};

std::unique_ptr<Installed> installed(uint32_t vcpus) {
    auto i = std::make_unique<Installed>();
    EXPECT_TRUE(Layout::create(64_MiB)->populate(i->memory).has_value());
    auto tables = install(i->memory, {.vcpus = vcpus, .hotplug_ports = true});
    EXPECT_TRUE(tables.has_value());
    if (tables) i->tables = *tables;
    return i;
}

uint8_t sum(std::string_view bytes) {
    return std::accumulate(bytes.begin(), bytes.end(), uint8_t{0}, [](uint8_t a, char b) { return static_cast<uint8_t>(a + b); });
}

TEST(AcpiTables, EveryTableSumsToZeroAndNamesItsLength) {
    const auto machine = installed(8);
    for (const auto& [signature, bytes] : machine->tables.by_signature) {
        if (signature == "FACS") continue;  // has no checksum
        EXPECT_EQ(sum(bytes), 0) << signature;
        uint32_t length = 0;
        std::memcpy(&length, bytes.data() + (signature == "RSDP" ? 20 : 4), 4);
        EXPECT_EQ(length, bytes.size()) << signature;
    }
}

TEST(AcpiTables, TheRsdpInGuestMemoryLeadsToEveryTable) {
    const auto i = installed(2);
    const auto xsdt = *i->memory.load<uint64_t>(i->tables.rsdp + Bytes(24));
    const auto length = *i->memory.load<uint32_t>(GuestPhysAddr(xsdt + 4));
    std::set<std::string> found;
    for (uint64_t at = xsdt + 36; at < xsdt + length; at += 8) {
        std::string signature(4, '\0');
        const auto table = *i->memory.load<uint64_t>(GuestPhysAddr(at));
        ASSERT_TRUE(i->memory.read(GuestPhysAddr(table), std::as_writable_bytes(std::span(signature))));
        found.insert(signature);
    }
    EXPECT_EQ(found, (std::set<std::string>{"FACP", "APIC", "MCFG", "HPET"}));
}

TEST(AcpiTables, TheMadtNamesEveryProcessor) {
    const auto i = installed(300);
    const std::string& madt = i->tables.by_signature["APIC"];
    unsigned processors = 0;
    for (size_t at = 44; at < madt.size(); at += static_cast<uint8_t>(madt[at + 1])) processors += madt[at] == 0 || madt[at] == 9;
    EXPECT_EQ(processors, 300u);
}

TEST(AcpiTables, MoreProcessorsThanTheAreaHoldsAreRefused) {
    mem::GuestMemory memory;
    ASSERT_TRUE(Layout::create(64_MiB)->populate(memory));
    EXPECT_FALSE(install(memory, {.vcpus = 4000}));
}

/// What \_SB.PCI0._OSC makes of a request, by ACPICA's own interpreter: its output.
std::string ask_osc(bool hotplug_ports, const std::string& uuid, unsigned revision, const std::string& request) {
    mem::GuestMemory memory;
    EXPECT_TRUE(Layout::create(64_MiB)->populate(memory));
    auto tables = install(memory, {.hotplug_ports = hotplug_ports});
    const auto file = std::filesystem::temp_directory_path() / fmt::format("yado-osc-{}", getpid());
    std::ofstream(file, std::ios::binary) << tables->by_signature["DSDT"];
    const std::string command = fmt::format("acpiexec -b 'execute \\_SB.PCI0._OSC ({}) {} 3 ({})' {} 2>&1", uuid, revision, request, file.string());
    std::string text;
    if (FILE* output = popen(command.c_str(), "r")) {
        for (int c; (c = fgetc(output)) != EOF;) text += static_cast<char>(c);
        pclose(output);
    }
    std::filesystem::remove(file);
    return text;
}

TEST(AcpiTables, TheSystemGetsNativeHotPlugWhereThereArePortsAndNothingThatIsNotThere) {
    if (std::system("command -v acpiexec >/dev/null 2>&1") != 0) GTEST_SKIP() << "acpiexec (acpica-tools) is not installed";
    const std::string uuid = "5B 4D DB 33 F7 1F 1C 40 96 57 74 41 C0 3D D7 66", all = "00 00 00 00 1F 00 00 00 1F 00 00 00";
    const std::string fits = "00 00 00 00 1F 00 00 00 11 00 00 00";
    EXPECT_NE(ask_osc(true, uuid, 1, all).find("10 00 00 00 1F 00 00 00 11 00 00 00"), std::string::npos) << ask_osc(true, uuid, 1, all);
    EXPECT_NE(ask_osc(true, uuid, 1, fits).find("00 00 00 00 1F 00 00 00 11 00 00 00"), std::string::npos);
    EXPECT_NE(ask_osc(false, uuid, 1, fits).find("10 00 00 00 1F 00 00 00 10 00 00 00"), std::string::npos);
    EXPECT_NE(ask_osc(true, uuid, 2, fits).find("08 00 00 00 1F 00 00 00 11 00 00 00"), std::string::npos);
    EXPECT_NE(ask_osc(true, "00" + uuid.substr(2), 1, all).find("04 00 00 00 1F 00 00 00 1F 00 00 00"), std::string::npos);
}

// The oracle: ACPICA's own disassembler and compiler take every table.
TEST(AcpiTables, IaslDisassemblesAndRecompilesThem) {
    if (std::system("iasl -v >/dev/null 2>&1") != 0) GTEST_SKIP() << "iasl (acpica-tools) is not installed";
    const auto dir = std::filesystem::temp_directory_path() / fmt::format("yado-acpi-{}", getpid());
    std::filesystem::create_directories(dir);
    const auto machine = installed(8);
    for (const auto& [signature, bytes] : machine->tables.by_signature) {
        if (signature == "RSDP" || signature == "XSDT") continue;  // pointers only
        const auto file = dir / (signature + ".aml");
        std::ofstream(file, std::ios::binary) << bytes;
        const std::string log = (dir / "log").string();
        const std::string command = fmt::format("cd {} && iasl -d {}.aml >{} 2>&1 && iasl -vw 3073 {}.dsl >>{} 2>&1", dir.string(),
                                                signature, log, signature, log);
        EXPECT_EQ(std::system(command.c_str()), 0) << signature;
        std::ifstream in(log);
        const std::string text((std::istreambuf_iterator<char>(in)), {});
        EXPECT_EQ(text.find("Error  "), std::string::npos) << signature << ": " << text;
        if (signature == "FACS") continue;  // data only: the compiler counts nothing
        EXPECT_NE(text.find("0 Errors, 0 Warnings"), std::string::npos) << signature << ": " << text;
    }
    std::filesystem::remove_all(dir);
}

}  // namespace
}  // namespace yado::machine::acpi
