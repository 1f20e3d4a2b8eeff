#include "pci/function.h"

#include <gtest/gtest.h>

#include "fakes/irq.h"
#include "pci/bus.h"
#include "pci/chipset.h"
#include "pci/pci.pb.h"

namespace yado::pci {
namespace {

class Scratch final : public bus::IoHandler {
  public:
    uint64_t read(uint64_t offset, unsigned) override { return 0x5a00 + offset; }
    void write(uint64_t offset, unsigned, uint64_t value) override { last = {offset, value}; }
    std::pair<uint64_t, uint64_t> last{};
};

class Card final : public PciFunction {
  public:
    explicit Card(const FunctionWiring& w, std::string name = "card") : PciFunction(w, {.vendor = 0x1234, .device = 0x5678, .class_code = 0xff0000}), name_(std::move(name)) {
        add_bar(0, BarKind::Memory64, 0x4000, scratch);
        add_msix(3, 2);
        add_bar(3, BarKind::Io, 0x20, scratch);
        add_express(ExpressType::IntegratedEndpoint);
        use_intx_pin(1);
        seal();
    }
    std::string id() const override { return name_; }
    std::string kind() const override { return "test-card"; }
    Result<state::Record> save() const override {
        pb::Function m;
        save_function(m);
        return state::make_record(*this, m);
    }
    Result<> load(const state::Record& r) override {
        pb::Function m;
        YADO_TRY(state::parse_record(r, m));
        return load_function(m);
    }
    void bar_moved(unsigned index, std::optional<uint64_t> at) override { moves.emplace_back(index, at); }
    using PciFunction::raise_msix;
    using PciFunction::set_intx;
    Scratch scratch;
    std::vector<std::pair<unsigned, std::optional<uint64_t>>> moves;

  private:
    std::string name_;
};

struct Rig : testing::Test {
    bus::AddressSpace memory{"memory", 1ull << 52}, ports{"port", 0x10000};
    mem::GuestMemory ram;
    fakes::RecordingMsi msi;
    std::array<fakes::RecordingLine, 8> lines;
    std::array<fakes::RecordingLine, 16> isa;
    PirqRouter pirqs{make_lines()};
    PciBus bus{&pirqs};
    FunctionWiring wiring{memory, ports, ram, msi};
    Card card{wiring};
    ConfigMechanism1 mech{bus};

    Rig() {
        EXPECT_TRUE(ram.add_ram(GuestPhysAddr(0), 16_MiB));
        EXPECT_TRUE(bus.add(3, 0, card));
        EXPECT_TRUE(mech.attach(ports));
    }
    PirqRouter::Wiring make_lines() {
        PirqRouter::Wiring w;
        for (unsigned i = 0; i < 8; ++i) w.gsi[i] = &lines[i];
        for (unsigned i = 0; i < 16; ++i) w.isa[i] = &isa[i];
        return w;
    }
    void write(uint16_t offset, uint32_t value, unsigned size = 4) { bus.write({0, 3, 0}, offset, size, value); }
    uint32_t read(uint16_t offset, unsigned size = 4) { return bus.read({0, 3, 0}, offset, size); }
    uint16_t capability(CapabilityId id) {
        for (uint32_t at = read(kCapabilityPointer, 1); at; at = read(static_cast<uint16_t>(at + 1), 1))
            if (read(static_cast<uint16_t>(at), 1) == std::to_underlying(id)) return static_cast<uint16_t>(at);
        return 0;
    }
    void enable_msix(uint16_t extra = 0) {
        write(kBar0 + 8, 0xc0010000);
        write(kCommand, 0x6, 2);
        write(capability(CapabilityId::Msix) + 2, 0x8000 | extra, 2);
    }
    void program_vector(unsigned v, bool masked) {
        memory.write(0xc0010000 + 16 * v, 8, 0xfee00000);
        memory.write(0xc0010000 + 16 * v + 8, 4, 0x40 + v);
        memory.write(0xc0010000 + 16 * v + 12, 4, masked);
    }
};
using PciConfig = Rig;
using PciBar = Rig;
using PciMsix = Rig;
using PciIntx = Rig;
using PciChipset = Rig;

TEST_F(PciConfig, IdentificationIsReadOnly) {
    write(kVendorId, 0xffffffff);
    EXPECT_EQ(read(kVendorId), 0x56781234u);
}

TEST_F(PciConfig, AbsentFunctionsReadAllOnes) {
    EXPECT_EQ(bus.read({0, 4, 0}, 0, 4), 0xffffffffu);
    EXPECT_EQ(bus.read({7, 3, 0}, 0, 2), 0xffffu);
}

TEST_F(PciConfig, MechanismOneReachesBytesWordsAndDwords) {
    ports.write(0xcf8, 4, 0x80000000 | 3 << 11);
    EXPECT_EQ(ports.read(0xcfc, 4), 0x56781234u);
    EXPECT_EQ(ports.read(0xcfe, 2), 0x5678u);
    EXPECT_EQ(ports.read(0xcfd, 1), 0x12u);
    ports.write(0xcf8, 2, 0);  // not a dword: no effect
    EXPECT_EQ(ports.read(0xcfc, 4), 0x56781234u);
    ports.write(0xcf8, 4, 3 << 11);
    EXPECT_EQ(ports.read(0xcfc, 4), 0xffffffffu);
}

TEST_F(PciConfig, AByteAt0xcf9GoesToTheResetControl) {
    Scratch reset;
    ConfigMechanism1 with_reset(bus, &reset);
    with_reset.write(1, 1, 6);
    EXPECT_EQ(reset.last.second, 6u);
}

TEST_F(PciConfig, EcamReachesTheSameRegistersAndExtendedOnes) {
    EcamWindow ecam(bus);
    EXPECT_EQ(ecam.read(3 << 15, 4), 0x56781234u);
    EXPECT_EQ(ecam.read((3 << 15) + 0x100, 4), 0u);
    EXPECT_EQ(ecam.read((3 << 15) + 0xffe, 4), 0xffff0000u);
    EXPECT_EQ(ecam.read(5 << 15, 8), ~0ull);
}

TEST_F(PciConfig, TheCapabilityListEndsAndHoldsExpressAndMsix) {
    EXPECT_NE(capability(CapabilityId::Msix), 0);
    EXPECT_NE(capability(CapabilityId::Express), 0);
    EXPECT_EQ(capability(CapabilityId::Vendor), 0);
}

TEST_F(PciConfig, ASlotIsTakenOnce) {
    Card other(wiring, "other");
    EXPECT_EQ(bus.add(3, 0, other).error().kind(), ErrorKind::Conflict);
    EXPECT_EQ(bus.add(32, 0, other).error().kind(), ErrorKind::OutOfRange);
}

TEST_F(PciConfig, ASecondFunctionMakesTheFirstMultiFunction) {
    Card other(wiring, "other");
    ASSERT_TRUE(bus.add(3, 1, other));
    EXPECT_EQ(read(kHeaderType, 1), 0x80u);
    card.reset();
    EXPECT_EQ(read(kHeaderType, 1), 0x80u);
}

TEST_F(PciBar, SizingShowsSizeAndType) {
    write(kBar0, 0xffffffff);
    write(kBar0 + 4, 0xffffffff);
    write(kBar0 + 12, 0xffffffff);
    EXPECT_EQ(read(kBar0), 0xffffc004u);
    EXPECT_EQ(read(kBar0 + 4), 0xffffffffu);
    EXPECT_EQ(read(kBar0 + 12), 0xffffffe1u);
    EXPECT_EQ(read(kBar0 + 16), 0u);
}

TEST_F(PciBar, ABarAnswersWhileTheCommandRegisterSaysSo) {
    write(kBar0, 0xc0000000);
    EXPECT_FALSE(memory.claimed(0xc0000000));
    write(kCommand, 2, 2);
    EXPECT_EQ(memory.read(0xc0000010, 2), 0x5a10u);
    write(kCommand, 0, 2);
    EXPECT_FALSE(memory.claimed(0xc0000000));
}

TEST_F(PciBar, AMovedBarAnswersAtItsNewPlaceOnly) {
    write(kBar0, 0xc0000000);
    write(kCommand, 2, 2);
    write(kBar0 + 4, 0x10);
    EXPECT_FALSE(memory.claimed(0xc0000000));
    EXPECT_TRUE(memory.claimed(0x10c0000000));
    EXPECT_EQ(card.moves.back().second, 0x10c0000000u);
}

TEST_F(PciBar, PortsFollowTheIoSpaceBit) {
    write(kBar0 + 12, 0xc001);
    write(kCommand, 1, 2);
    EXPECT_EQ(ports.read(0xc004, 2), 0x5a04u);
}

TEST_F(PciBar, ABarOverRamOrTheLocalApicOrBeyondTheAddressWidthIsNotMapped) {
    write(kCommand, 2, 2);
    for (const uint64_t bad : {0x0ull, 0x4000ull, 0xffc000ull, 0xfee00000ull, 1ull << 52, ~0x3fffull}) {
        write(kBar0, static_cast<uint32_t>(bad));
        write(kBar0 + 4, static_cast<uint32_t>(bad >> 32));
        EXPECT_TRUE(memory.mappings().empty()) << std::hex << bad;
    }
}

TEST_F(PciBar, OneOfTwoOverlappingBarsIsMappedAndTheOtherWhenItLeaves) {
    Card other(wiring, "other");
    ASSERT_TRUE(bus.add(4, 0, other));
    for (const uint8_t slot : {3, 4}) {
        bus.write({0, slot, 0}, kBar0, 4, 0xc0000000);
        bus.write({0, slot, 0}, kCommand, 2, 2);
    }
    EXPECT_EQ(memory.mappings().size(), 1u);
    EXPECT_EQ(memory.mappings()[0].owner, "card BAR 0");
    write(kBar0, 0xd0000000);
    EXPECT_EQ(memory.mappings()[0].owner, "other BAR 0");
}

TEST_F(PciMsix, AnUnmaskedVectorSendsItsMessage) {
    enable_msix();
    program_vector(1, false);
    card.raise_msix(1);
    ASSERT_EQ(msi.sent.size(), 1u);
    EXPECT_EQ(msi.sent[0], (bus::MsiMessage{GuestPhysAddr(0xfee00000), 0x41}));
}

TEST_F(PciMsix, AMaskedVectorIsPendingAndFiresOnUnmask) {
    enable_msix();
    program_vector(2, true);
    card.raise_msix(2);
    EXPECT_TRUE(msi.sent.empty());
    EXPECT_EQ(memory.read(0xc0010000 + 2048, 4), 4u);
    memory.write(0xc0010000 + 44, 4, 0);
    EXPECT_EQ(msi.sent.size(), 1u);
    EXPECT_EQ(memory.read(0xc0010000 + 2048, 8), 0u);
}

TEST_F(PciMsix, TheFunctionMaskHoldsEverythingBack) {
    enable_msix(0x4000);
    program_vector(0, false);
    card.raise_msix(0);
    EXPECT_TRUE(msi.sent.empty());
    write(capability(CapabilityId::Msix) + 2, 0x8000, 2);
    EXPECT_EQ(msi.sent.size(), 1u);
}

TEST_F(PciMsix, OddAccessesAndVectorsOutOfRangeDoNothing) {
    enable_msix();
    memory.write(0xc0010000, 1, 0xff);
    memory.write(0xc0010002, 4, 0xffffffff);
    memory.write(0xc0010ff8, 8, ~0ull);
    EXPECT_EQ(memory.read(0xc0010000, 4), 0u);
    EXPECT_EQ(memory.read(0xc0010001, 2), 0xffffu);
    card.raise_msix(3);
    card.raise_msix(0xffff);
    EXPECT_TRUE(msi.sent.empty());
}

TEST_F(PciIntx, ALineIsSharedAndFallsWhenTheLastLetsGo) {
    Card other(wiring, "other");
    ASSERT_TRUE(bus.add(11, 0, other));  // (3 + 0) % 8 == (11 + 0) % 8
    card.set_intx(true);
    other.set_intx(true);
    card.set_intx(false);
    EXPECT_TRUE(lines[3].level);
    other.set_intx(false);
    EXPECT_FALSE(lines[3].level);
}

TEST_F(PciIntx, TheCommandRegisterDisablesItAndStatusStillShowsIt) {
    card.set_intx(true);
    EXPECT_EQ(read(kStatus, 2) & kStatusInterrupt, kStatusInterrupt);
    write(kCommand, 1 << 10, 2);
    EXPECT_FALSE(lines[3].level);
    write(kCommand, 0, 2);
    EXPECT_TRUE(lines[3].level);
}

TEST_F(PciIntx, MsixSilencesTheLine) {
    card.set_intx(true);
    enable_msix();
    EXPECT_FALSE(lines[3].level);
}

TEST_F(PciIntx, ARoutedLinkReachesThe8259) {
    LpcBridge lpc(wiring, pirqs, {});
    ASSERT_TRUE(bus.add(31, 0, lpc));
    card.set_intx(true);
    bus.write({0, 31, 0}, 0x63, 1, 11);
    EXPECT_TRUE(isa[11].level);
    bus.write({0, 31, 0}, 0x63, 1, 0x80);
    EXPECT_FALSE(isa[11].level);
}

TEST_F(PciConfig, SavedStateComesBackWithItsMappings) {
    enable_msix();
    write(kBar0, 0xc0000000);
    program_vector(1, true);
    card.raise_msix(1);
    const auto record = card.save();
    ASSERT_TRUE(record);
    card.reset();
    EXPECT_FALSE(memory.claimed(0xc0000000));
    ASSERT_TRUE(card.load(*record));
    EXPECT_TRUE(memory.claimed(0xc0000000));
    memory.write(0xc0010000 + 28, 4, 0);
    EXPECT_EQ(msi.sent.size(), 1u);
}

TEST_F(PciConfig, SavedStateOfAnotherDeviceIsRefused) {
    auto record = card.save();
    pb::Function m;
    ASSERT_TRUE(state::parse_record(*record, m));
    (*m.mutable_config())[0] = 0x11;
    EXPECT_EQ(card.load(state::make_record(card, m)).error().kind(), ErrorKind::Corrupt);
    m.set_config("short");
    EXPECT_EQ(card.load(state::make_record(card, m)).error().kind(), ErrorKind::Corrupt);
}

TEST_F(PciChipset, TheHostBridgeMovesEcam) {
    auto mch = HostBridge::create(wiring, bus, {GuestPhysAddr(0xb0000000), 256_MiB});
    ASSERT_TRUE(mch);
    ASSERT_TRUE(bus.add(0, 0, **mch));
    EXPECT_EQ(memory.read(0xb0000000, 4), 0x29c08086u);
    bus.write({0, 0, 0}, 0x60, 4, 0xe0000001);
    EXPECT_FALSE(memory.claimed(0xb0000000));
    EXPECT_EQ(memory.read(0xe0000000 + (3 << 15), 4), 0x56781234u);
    bus.write({0, 0, 0}, 0x60, 4, 0x00000001);  // over RAM
    EXPECT_TRUE(memory.mappings().empty());
    (*mch)->reset();
    EXPECT_TRUE(memory.claimed(0xb0000000));
}

TEST_F(PciChipset, TheLpcBridgeTellsWhereThePmBlockGoes) {
    std::vector<std::optional<Port>> told;
    LpcBridge lpc(wiring, pirqs, {Port(0x600), [&](std::optional<Port> p) { told.push_back(p); }});
    ASSERT_TRUE(bus.add(31, 0, lpc));
    EXPECT_EQ(bus.read({0, 31, 0}, 0, 4), 0x29188086u);
    EXPECT_EQ(bus.read({0, 31, 0}, 0x40, 4), 0x601u);
    bus.write({0, 31, 0}, 0x40, 4, 0xb000);
    bus.write({0, 31, 0}, 0x44, 1, 0);
    EXPECT_EQ(told, (std::vector<std::optional<Port>>{Port(0x600), Port(0xb000), std::nullopt}));
}

TEST_F(PciConfig, InfoNamesIdentityAndBars) {
    write(kBar0, 0xc0000000);
    write(kCommand, 2, 2);
    const FunctionInfo info = card.info();
    EXPECT_EQ(info.bars.size(), 3u);
    EXPECT_EQ(info.bars[0].address, 0xc0000000u);
    EXPECT_NE(card.describe().find("00:03.0 1234:5678 test-card card"), std::string::npos);
}

}  // namespace
}  // namespace yado::pci
