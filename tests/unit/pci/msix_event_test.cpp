// Vectors as event descriptors: who carries their messages, and what masks, MSI-X enable, hold, reset and save do to them.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "base/fd.h"
#include "base/log.h"
#include "fakes/irq.h"
#include "pci/function.h"
#include "pci/pci.pb.h"

namespace yado::pci {
namespace {

constexpr uint64_t kTable = 0xc0010000, kPending = kTable + 2048;
constexpr unsigned kVectors = 3;

class Card final : public PciFunction {
  public:
    explicit Card(const FunctionWiring& w) : PciFunction(w, {.vendor = 0x1234, .device = 0x5678, .class_code = 0xff0000}) {
        add_msix(kVectors, 2);
        seal();
    }
    std::string id() const override { return "card"; }
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
    using PciFunction::hold_msix;
    using PciFunction::msix_event;
    using PciFunction::msix_routed;
    using PciFunction::poll_msix;
    using PciFunction::raise_msix;
    using PciFunction::release_msix;
};

bus::MsiMessage message(unsigned vector) { return {GuestPhysAddr(0xfee00000), 0x40 + vector}; }
using Messages = std::vector<bus::MsiMessage>;

/// What is logged while it lives.
class CapturedLog {
  public:
    CapturedLog() : file_(memfd_create("log", MFD_CLOEXEC)) { log::set_descriptor(file_.get()); }
    ~CapturedLog() { log::set_descriptor(2); }
    std::string text() const {
        std::string all(static_cast<size_t>(lseek(file_.get(), 0, SEEK_END)), '\0');
        EXPECT_EQ(pread(file_.get(), all.data(), all.size(), 0), static_cast<ssize_t>(all.size()));
        return all;
    }

  private:
    Fd file_;
};

template <typename Sink>
struct Rig : testing::Test {
    static constexpr uint16_t kMsixCapability = kFirstCapability;
    bus::AddressSpace memory{"memory", 1ull << 52}, ports{"port", 0x10000};
    mem::GuestMemory ram;
    Sink msi;
    std::optional<Card> card{std::in_place, FunctionWiring{memory, ports, ram, msi}};

    /// Unmasked vectors with messages of their own.
    void SetUp() override {
        card->write_config(kBar0 + 8, 4, kTable);
        enable();
        for (unsigned v = 0; v < kVectors; ++v) {
            program(v, 0x40 + v);
            mask(v, false);
        }
    }
    void bus_master(bool on) { card->write_config(kCommand, 2, on ? 6 : 2); }
    void control(uint16_t value) { card->write_config(kMsixCapability + kMsixControl, 2, value); }
    void enable() {
        bus_master(true);
        control(0x8000);
    }
    void program(unsigned v, uint32_t data, uint64_t address = 0xfee00000) {
        memory.write(kTable + 16 * v, 8, address);
        memory.write(kTable + 16 * v + 8, 4, data);
    }
    void mask(unsigned v, bool masked) { memory.write(kTable + 16 * v + 12, 4, masked); }
    uint64_t pending() { return memory.read(kPending, 4); }
    /// A back end that has the descriptor.
    void write_event(unsigned v) {
        const auto fd = card->msix_event(v);
        ASSERT_TRUE(fd);
        const uint64_t one = 1;
        ASSERT_EQ(::write(*fd, &one, sizeof one), static_cast<ssize_t>(sizeof one));
    }
    Messages carried() {
        msi.carry();
        return std::exchange(msi.carried, {});
    }
    Messages sent() { return std::exchange(msi.sent, {}); }
};
using MsixRouted = Rig<fakes::RoutingMsi>;
using MsixUnrouted = Rig<fakes::RecordingMsi>;

TEST_F(MsixRouted, ARaisedVectorGoesByItsRoute) {
    card->raise_msix(1);
    EXPECT_EQ(carried(), Messages{message(1)});
    EXPECT_EQ(sent(), Messages{});
}

TEST_F(MsixRouted, WhoeverWritesTheDescriptorRaisesTheVector) {
    write_event(2);
    EXPECT_EQ(carried(), Messages{message(2)});
    EXPECT_EQ(pending(), 0u);
}

TEST_F(MsixRouted, TheDescriptorIsTheSameForTheFunctionsLife) {
    const int before = *card->msix_event(1);
    card->reset();
    EXPECT_EQ(*card->msix_event(1), before);
    EXPECT_NE(*card->msix_event(0), before);
}

TEST_F(MsixRouted, AVectorThatDoesNotExistHasNoDescriptor) {
    EXPECT_EQ(card->msix_event(kVectors).error().kind(), ErrorKind::OutOfRange);
    card->poll_msix(kVectors);
}

TEST_F(MsixRouted, AMaskedVectorIsUnboundAndPendsWhatWeRaise) {
    mask(1, true);
    EXPECT_EQ(msi.bound(), 2u);
    card->raise_msix(1);
    EXPECT_EQ(pending(), 2u);
    mask(1, false);
    EXPECT_EQ(pending(), 0u);
    EXPECT_EQ(sent(), Messages{message(1)});
    EXPECT_EQ(msi.bound(), 3u);
    EXPECT_EQ(carried(), Messages{});
}

TEST_F(MsixRouted, EventsOfAMaskedVectorShowAsPendingAndAreOneMessageOnUnmask) {
    mask(1, true);
    write_event(1);
    EXPECT_EQ(pending(), 2u);
    write_event(1);
    EXPECT_EQ(carried(), Messages{});
    mask(1, false);
    EXPECT_EQ(sent(), Messages{message(1)});
    EXPECT_EQ(carried(), Messages{});
    EXPECT_EQ(pending(), 0u);
}

TEST_F(MsixRouted, TheMessageFollowsTheTable) {
    mask(1, true);
    program(1, 0x99, 0xfee01000);
    mask(1, false);
    card->raise_msix(1);
    EXPECT_EQ(carried(), (Messages{{GuestPhysAddr(0xfee01000), 0x99}}));
}

TEST_F(MsixRouted, TheMessageOfAnUnmaskedVectorFollowsTheTableToo) {
    program(1, 0x99);
    card->raise_msix(1);
    EXPECT_EQ(carried(), (Messages{{GuestPhysAddr(0xfee00000), 0x99}}));
    EXPECT_EQ(msi.routes(), kVectors);
}

TEST_F(MsixRouted, TheFunctionMaskUnbindsAll) {
    control(0xc000);
    EXPECT_EQ(msi.bound(), 0u);
    write_event(0);
    card->raise_msix(2);
    EXPECT_EQ(pending(), 5u);
    control(0x8000);
    EXPECT_EQ(sent(), (Messages{message(0), message(2)}));
    EXPECT_EQ(msi.bound(), kVectors);
}

TEST_F(MsixRouted, WithoutBusMasteringEventsPend) {
    bus_master(false);
    write_event(0);
    EXPECT_EQ(carried(), Messages{});
    EXPECT_EQ(pending(), 1u);
    bus_master(true);
    EXPECT_EQ(sent(), Messages{message(0)});
}

TEST_F(MsixRouted, SwitchingMsixOffGivesRoutesBackAndLosesWhatComesThen) {
    control(0);
    EXPECT_EQ(msi.routes(), 0u);
    write_event(0);
    EXPECT_EQ(pending(), 0u);
    write_event(0);
    control(0x8000);
    EXPECT_EQ(sent(), Messages{});
    EXPECT_EQ(carried(), Messages{});
    EXPECT_EQ(msi.bound(), kVectors);
}

TEST_F(MsixRouted, AResetGivesRoutesBackAndForgetsEvents) {
    mask(1, true);
    write_event(1);
    card->reset();
    EXPECT_EQ(msi.routes(), 0u);
    SetUp();
    EXPECT_EQ(sent(), Messages{});
    EXPECT_EQ(carried(), Messages{});
    EXPECT_EQ(msi.bound(), kVectors);
}

TEST_F(MsixRouted, AFunctionThatGoesGivesItsRoutesBack) {
    card.reset();
    EXPECT_EQ(msi.routes(), 0u);
}

TEST_F(MsixRouted, HeldVectorsPendUntilLetGo) {
    card->raise_msix(2);
    card->hold_msix();
    EXPECT_EQ(std::exchange(msi.carried, {}), Messages{message(2)});  // raised before: arrived
    EXPECT_EQ(msi.bound(), 0u);
    card->raise_msix(0);
    write_event(1);
    mask(0, false);
    EXPECT_EQ(sent(), Messages{});
    card->release_msix();
    EXPECT_EQ(sent(), (Messages{message(0), message(1)}));
    EXPECT_EQ(msi.bound(), kVectors);
}

TEST_F(MsixRouted, SavedStateHoldsEventsThatWaitInDescriptors) {
    card->hold_msix();
    write_event(1);
    const auto record = card->save();
    ASSERT_TRUE(record);
    card->reset();
    ASSERT_TRUE(card->load(*record));
    EXPECT_EQ(sent(), Messages{});
    EXPECT_EQ(pending(), 2u);
    card->release_msix();
    EXPECT_EQ(sent(), Messages{message(1)});
    EXPECT_EQ(msi.bound(), kVectors);
}

struct MsixShort : MsixRouted {
    MsixShort() { msi.limit = 2; }
};

TEST_F(MsixShort, AVectorWithoutARouteSendsItsMessagesOneByOneAndTheLogSaysSo) {
    const CapturedLog log;
    control(0);
    control(0x8000);
    EXPECT_NE(log.text().find("card: MSI-X vector 2: all 2 routes are in use; its messages are sent one by one"), std::string::npos) << log.text();
    for (unsigned v = 0; v < kVectors; ++v) card->raise_msix(v);
    EXPECT_EQ(sent(), Messages{message(2)});
    EXPECT_EQ(carried(), (Messages{message(0), message(1)}));
}

TEST_F(MsixShort, ARefusalIsLoggedOnceUntilMsixIsEnabledAgain) {
    const CapturedLog log;
    mask(2, true);
    mask(2, false);
    bus_master(true);
    EXPECT_EQ(log.text(), "");
    msi.limit = 3;
    control(0);
    control(0x8000);
    EXPECT_EQ(log.text(), "");
    EXPECT_EQ(msi.bound(), 3u);
}

TEST_F(MsixShort, EventsOfAVectorWithoutARouteAreSentWhenPolled) {
    write_event(2);
    card->poll_msix(2);
    EXPECT_EQ(sent(), Messages{message(2)});
    card->poll_msix(2);
    EXPECT_EQ(sent(), Messages{});
}

TEST_F(MsixRouted, ARouteThatIsRefusedLaterIsNoLossOfMessages) {
    msi.refuse_to_bind = true;
    mask(1, true);
    card->raise_msix(1);
    mask(1, false);
    card->raise_msix(1);
    EXPECT_EQ(sent(), (Messages{message(1), message(1)}));
    EXPECT_EQ(msi.routes(), 2u);
}

TEST_F(MsixRouted, ABoundVectorIsNotPolled) {
    write_event(1);
    card->poll_msix(1);
    EXPECT_EQ(sent(), Messages{});
    EXPECT_EQ(carried(), Messages{message(1)});
}

TEST_F(MsixRouted, WithoutDescriptorsMessagesAreSentOneByOne) {
    card.emplace(FunctionWiring{memory, ports, ram, msi});
    rlimit before{};
    ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
    const rlimit none{.rlim_cur = 0, .rlim_max = before.rlim_max};
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
    SetUp();
    const bool has_descriptor = card->msix_event(1).has_value();
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
    EXPECT_FALSE(has_descriptor);
    card->raise_msix(1);
    EXPECT_EQ(sent(), Messages{message(1)});
}

TEST_F(MsixShort, OnlyRoutedVectorsCountAsRouted) {
    EXPECT_EQ(card->msix_routed(), 2u);
    mask(0, true);
    EXPECT_EQ(card->msix_routed(), 1u);
    card->reset();
    EXPECT_EQ(card->msix_routed(), 0u);
}

TEST_F(MsixUnrouted, WithoutRoutesARaisedVectorSendsItsMessage) {
    EXPECT_EQ(card->msix_routed(), 0u);
    card->raise_msix(1);
    EXPECT_EQ(msi.sent, Messages{message(1)});
}

TEST_F(MsixUnrouted, WithoutRoutesADescriptorRaisesTheVectorWhenPolled) {
    write_event(1);
    EXPECT_EQ(msi.sent, Messages{});
    card->poll_msix(1);
    EXPECT_EQ(msi.sent, Messages{message(1)});
}

TEST_F(MsixUnrouted, WithoutRoutesAPolledDescriptorMindsMasks) {
    mask(1, true);
    write_event(1);
    card->poll_msix(1);
    EXPECT_EQ(msi.sent, Messages{});
    EXPECT_EQ(pending(), 2u);
    control(0);
    write_event(0);
    card->poll_msix(0);
    control(0x8000);
    EXPECT_EQ(msi.sent, Messages{});
    mask(1, false);
    EXPECT_EQ(msi.sent, Messages{message(1)});
}

}  // namespace
}  // namespace yado::pci
