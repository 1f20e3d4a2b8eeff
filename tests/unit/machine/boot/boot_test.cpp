// Kernels that are truncated, contradictory or hostile are refused with a reason; good ones are entered as their
// protocol says.
#include "machine/boot/boot.h"

#include <elf.h>
#include <gtest/gtest.h>

#include "base/bytes.h"
#include "machine/boot/kernel_file.h"

namespace yado::machine::boot {
namespace {

using Image = std::vector<std::byte>;

class Boot : public testing::Test {
  protected:
    Boot() { EXPECT_TRUE(layout_.populate(memory_).has_value()); }
    Result<Entry> load_image(const Image& kernel, const Image& initrd = {}, std::string line = "console=ttyS0") {
        return load(memory_, layout_, {.name = "k", .kernel = kernel, .initrd_name = "i", .initrd = initrd, .command_line = std::move(line),
                                       .rsdp = kAcpiStart});
    }
    std::string refusal(const Image& kernel, const Image& initrd = {}) {
        const auto r = load_image(kernel, initrd);
        return r ? "accepted" : r.error().message();
    }
    Layout layout_ = *Layout::create(64_MiB);
    mem::GuestMemory memory_;
};

// A bzImage as small as the protocol allows: four setup sectors, 4 KiB of body.
Image bzimage() {
    Image k(5 * 512 + 4096);
    k[0x1f1] = std::byte{4};
    store_le<uint32_t>(&k[0x1f4], 4096 / 16);
    store_le<uint16_t>(&k[0x1fe], 0xaa55);
    std::memcpy(&k[0x202], "HdrS", 4);
    store_le<uint16_t>(&k[0x206], 0x020f);
    k[0x211] = std::byte{1};
    store_le<uint32_t>(&k[0x22c], 0x7fffffff);
    k[0x234] = std::byte{1};
    store_le<uint16_t>(&k[0x236], 1);
    store_le<uint32_t>(&k[0x238], 255);
    store_le<uint64_t>(&k[0x258], 0x1000000);
    store_le<uint32_t>(&k[0x260], 0x100000);
    k[5 * 512] = std::byte{0x90};
    return k;
}

// A 64-bit ELF with one segment at 2 MiB and, if asked, a PVH note.
Image elf(bool pvh, uint64_t paddr = 0x200000, uint64_t memsz = 0x2000) {
    Image k(0x2000);
    Elf64_Ehdr eh{};
    std::memcpy(eh.e_ident, ELFMAG, SELFMAG);
    eh.e_ident[EI_CLASS] = ELFCLASS64;
    eh.e_type = ET_EXEC;
    eh.e_machine = EM_X86_64;
    eh.e_phoff = sizeof eh;
    eh.e_phnum = pvh ? 2 : 1;
    eh.e_phentsize = sizeof(Elf64_Phdr);
    eh.e_entry = paddr;
    std::memcpy(k.data(), &eh, sizeof eh);
    const Elf64_Phdr load{.p_type = PT_LOAD, .p_offset = 0x1000, .p_paddr = paddr, .p_filesz = 0x1000, .p_memsz = memsz};
    std::memcpy(k.data() + sizeof eh, &load, sizeof load);
    const Elf64_Phdr note{.p_type = PT_NOTE, .p_offset = 0x800, .p_filesz = 20, .p_align = 4};
    if (pvh) std::memcpy(k.data() + sizeof eh + sizeof load, &note, sizeof note);
    const uint32_t entry_note[] = {4, 4, 18, 0x006e6558, 0x200010};
    std::memcpy(k.data() + 0x800, entry_note, sizeof entry_note);
    return k;
}

Image multiboot(uint32_t flags = 0) {
    Image k = elf(false);
    store_le<uint32_t>(&k[0x400], 0x1badb002);
    store_le<uint32_t>(&k[0x404], flags);
    store_le<uint32_t>(&k[0x408], -(0x1badb002 + flags));
    return k;
}

TEST_F(Boot, ABzImageIsEnteredInLongModeWithItsBootParams) {
    const auto entry = load_image(bzimage(), Image(1000));
    ASSERT_TRUE(entry) << entry.error().message();
    EXPECT_EQ(entry->protocol, Protocol::Linux64);
    EXPECT_EQ(entry->state.rip, 0x1000200u);
    EXPECT_TRUE(entry->state.efer & cpu::efer::LMA);
    const uint64_t params = entry->state.gpr[cpu::RSI];
    EXPECT_EQ(*memory_.load<uint32_t>(GuestPhysAddr(params + 0x202)), 0x53726448u);
    EXPECT_EQ(*memory_.load<uint64_t>(GuestPhysAddr(params + 0x70)), kAcpiStart.value());
    const auto initrd = *memory_.load<uint32_t>(GuestPhysAddr(params + 0x218));
    EXPECT_EQ(initrd % kPageSize, 0u);
    EXPECT_EQ(*memory_.load<uint32_t>(GuestPhysAddr(params + 0x21c)), 1000u);
    EXPECT_EQ(std::to_integer<int>(*memory_.load<std::byte>(GuestPhysAddr(0x1000000))), 0x90);
}

TEST_F(Boot, TheE820MapGivesTheGuestAllOfItsRam) {
    const auto entry = load_image(bzimage());
    ASSERT_TRUE(entry);
    const uint64_t params = entry->state.gpr[cpu::RSI];
    uint64_t ram = 0;
    for (unsigned n = 0; n < *memory_.load<uint8_t>(GuestPhysAddr(params + 0x1e8)); ++n) {
        const GuestPhysAddr e(params + 0x2d0 + n * 20);
        if (*memory_.load<uint32_t>(e + Bytes(16)) == 1) ram += *memory_.load<uint64_t>(e + Bytes(8));
    }
    EXPECT_EQ(ram, (64ull << 20) - (0x100000 - 0x9fc00));
}

TEST_F(Boot, APvhKernelIsEnteredInProtectedModeWithItsStartInfo) {
    const auto entry = load_image(elf(true), Image(10));
    ASSERT_TRUE(entry) << entry.error().message();
    EXPECT_EQ(entry->protocol, Protocol::Pvh);
    EXPECT_EQ(entry->state.rip, 0x200010u);
    EXPECT_EQ(entry->state.cr0 & (cpu::cr0::PE | cpu::cr0::PG), cpu::cr0::PE);
    EXPECT_EQ(*memory_.load<uint32_t>(GuestPhysAddr(entry->state.gpr[cpu::RBX])), 0x336ec578u);
}

TEST_F(Boot, ASegmentsUninitializedPartIsZeroedWhenTheGuestBootsAgain) {
    ASSERT_TRUE(memory_.store<uint32_t>(GuestPhysAddr(0x201800), 0xdeadbeef));
    ASSERT_TRUE(load_image(elf(true)));
    EXPECT_EQ(*memory_.load<uint32_t>(GuestPhysAddr(0x201800)), 0u);
}

TEST_F(Boot, AMultibootKernelIsEnteredWithItsMagic) {
    const auto entry = load_image(multiboot(3));
    ASSERT_TRUE(entry) << entry.error().message();
    EXPECT_EQ(entry->protocol, Protocol::Multiboot);
    EXPECT_EQ(entry->state.gpr[cpu::RAX], 0x2badb002u);
}

TEST_F(Boot, EveryTruncationOfABzImageIsRefused) {
    const Image whole = bzimage();
    for (size_t n = 1; n < whole.size(); n += n < 0x300 ? 1 : 61)
        EXPECT_NE(refusal(Image(whole.begin(), whole.begin() + static_cast<long>(n))), "accepted") << n;
}

TEST_F(Boot, EveryTruncationOfAnElfIsRefused) {
    const Image whole = elf(true);
    for (size_t n = 1; n < whole.size(); n += n < 0x300 ? 1 : 61)
        EXPECT_NE(refusal(Image(whole.begin(), whole.begin() + static_cast<long>(n))), "accepted") << n;
}

TEST_F(Boot, ARandomlyDamagedKernelNeverDoesMoreThanBeRefused) {
    uint64_t seed = 0x9e3779b97f4a7c15;
    const auto random = [&] { return seed = seed * 6364136223846793005 + 1442695040888963407, seed >> 33; };
    for (const Image& good : {bzimage(), elf(true), multiboot(3), multiboot(1 << 16)})
        for (int round = 0; round < 3000; ++round) {
            Image k = good;
            for (int flips = 0; flips < 4; ++flips) k[random() % (random() % 2 ? 0x300 : k.size())] = static_cast<std::byte>(random());
            (void)load_image(k);
        }
}

TEST_F(Boot, AnElfWithoutAnEntryThatWeKnowIsRefusedWithTheRemedy) {
    EXPECT_NE(refusal(elf(false)).find("CONFIG_PVH"), std::string::npos);
}

TEST_F(Boot, ABzImageWithoutThe64BitEntryIsRefused) {
    Image k = bzimage();
    store_le<uint16_t>(&k[0x236], 0);
    EXPECT_NE(refusal(k).find("64-bit"), std::string::npos);
}

TEST_F(Boot, SegmentsOutsideRamAreRefused) {
    EXPECT_NE(refusal(elf(true, 0xfee00000)), "accepted");
    EXPECT_NE(refusal(elf(true, 0xa0000)), "accepted");
    EXPECT_NE(refusal(elf(true, 0x200000, 64 << 20)), "accepted");
    EXPECT_NE(refusal(elf(true, ~0xfffull, 0x2000)), "accepted");
}

TEST_F(Boot, AnInitrdThatDoesNotFitIsRefusedByName) {
    EXPECT_NE(refusal(bzimage(), Image(60 << 20)).find("initrd i"), std::string::npos);
}

TEST_F(Boot, ACommandLineLongerThanTheKernelTakesIsRefused) {
    const auto r = load_image(bzimage(), {}, std::string(256, 'x'));
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().kind(), ErrorKind::Usage);
}

TEST(KernelFile, DirectoriesDevicesAndMissingFilesAreRefusedByName) {
    EXPECT_EQ(read_file("/nonexistent/kernel", "kernel", 1_MiB).error().kind(), ErrorKind::NotFound);
    EXPECT_NE(read_file("/tmp", "kernel", 1_MiB).error().message().find("a directory"), std::string::npos);
    EXPECT_FALSE(read_file("/dev/zero", "kernel", 1_MiB));
    EXPECT_FALSE(read_file("/dev/null", "kernel", 1_MiB));
}

TEST(Layout, RamSplitsAtTwoGiB) {
    const auto layout = *Layout::create(3_GiB);
    EXPECT_EQ(layout.low_end().value(), 2ull << 30);
    EXPECT_EQ(layout.high_ram(), 1_GiB);
}

TEST(Layout, SizesThatNoGuestCanHaveAreRefused) {
    EXPECT_FALSE(Layout::create(Bytes(0)));
    EXPECT_FALSE(Layout::create(Bytes((64 << 20) + 1)));
    EXPECT_FALSE(Layout::create(Bytes(1ull << 60)));
    EXPECT_TRUE(Layout::create(200_GiB, 40));
    EXPECT_FALSE(Layout::create(300_GiB, 40));  // the 64-bit PCI window is there
}

}  // namespace
}  // namespace yado::machine::boot
