// A port with a slot, driven by its registers as Linux's pciehp drives one; and the bridge that it is.
#include "pci/root_port.h"

#include <gtest/gtest.h>

#include <random>

#include "fakes/irq.h"
#include "pci/pci.pb.h"

namespace yado::pci {
namespace {

class Scratch final : public bus::IoHandler {
  public:
    uint64_t read(uint64_t, unsigned) override { return 0x5a; }
    void write(uint64_t, unsigned, uint64_t) override {}
};

class Card final : public PciFunction {
  public:
    explicit Card(const FunctionWiring& w) : PciFunction(w, {.vendor = 0x1234, .device = 0x5678, .class_code = 0xff0000}) {
        add_bar(0, BarKind::Memory64, 0x4000, scratch);
        add_msix(1, 2);
        add_bar(3, BarKind::Io, 0x20, scratch);
        add_express(ExpressType::Endpoint);
        use_intx_pin(1);
        seal();
    }
    std::string id() const override { return "card"; }
    std::string kind() const override { return "test-card"; }
    void reset() override {
        ++resets;
        PciFunction::reset();
    }
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
    using PciFunction::bus_master;
    using PciFunction::raise_msix;
    using PciFunction::set_intx;
    Scratch scratch;
    unsigned resets = 0;
};

constexpr uint64_t kWindow = 0xc0000000, kCardBar = 0xc0100000, kPortBar = 0xd0000000;
constexpr uint16_t kEvents = kSlotStatusEvents;

struct Machine {
    bus::AddressSpace memory{"memory", 1ull << 52}, ports{"port", 0x10000};
    mem::GuestMemory ram;
    fakes::RecordingMsi msi;
    std::array<fakes::RecordingLine, 8> lines;
    PirqRouter pirqs{make_lines()};
    PciBus bus{&pirqs};
    FunctionWiring wiring{memory, ports, ram, msi};
    unsigned wishes = 0;
    RootPort port{wiring, {.id = "port1", .slot_number = 7, .wants_service = [this] { ++wishes; }}};
    Card card{wiring};

    Machine() {
        EXPECT_TRUE(ram.add_ram(GuestPhysAddr(0), 16_MiB));
        EXPECT_TRUE(bus.add(2, 0, port));
        port.reset();
        port.resume();
    }
    ~Machine() { port.eject(); }
    PirqRouter::Wiring make_lines() {
        PirqRouter::Wiring w;
        for (unsigned i = 0; i < 8; ++i) w.gsi[i] = &lines[i];
        return w;
    }
    static constexpr FunctionAddress kPort{0, 2, 0}, kCard{5, 0, 0};
    void write(uint16_t offset, uint32_t value, unsigned size = 2) { bus.write(kPort, offset, size, value); }
    uint32_t read(uint16_t offset, unsigned size = 2) { return bus.read(kPort, offset, size); }
    void write_card(uint16_t offset, uint32_t value, unsigned size = 4) { bus.write(kCard, offset, size, value); }
    uint32_t read_card(uint16_t offset, unsigned size = 4) { return bus.read(kCard, offset, size); }
    uint16_t capability(CapabilityId id) {
        for (uint32_t at = read(kCapabilityPointer, 1); at; at = read(static_cast<uint16_t>(at + 1), 1))
            if (read(static_cast<uint16_t>(at), 1) == std::to_underlying(id)) return static_cast<uint16_t>(at);
        return 0;
    }
    uint16_t express(uint16_t offset) { return static_cast<uint16_t>(capability(CapabilityId::Express) + offset); }
    uint16_t status() { return static_cast<uint16_t>(read(express(kSlotStatus))); }
    void clear(uint16_t events) { write(express(kSlotStatus), events); }
    bool link() { return read(express(kLinkStatus)) & kLinkActive; }
    void command(uint16_t value) { write(express(kSlotControl), value); }

    // As Linux writes them.
    static constexpr uint16_t kListen = 0x1031, kOn = 0x1c0, kOff = 0x7c0;
    /// Numbers and windows, as an operating system gives them.
    void set_up() {
        write(kPrimaryBus, 0x00050500, 4);
        write(kMemoryBase, 0xc010c010, 4);
        write(kPrefetchBase, 0x0000fff0, 4);
        write(kCommand, 0x0407);
    }
    void listen(uint16_t more = kOff) { command(static_cast<uint16_t>(kListen | more)); }
    void power_on() {
        command(kListen | kOn);
        port.service();
    }
    void power_off() {
        command(kListen | kOff);
        port.service();
    }
    void enable_port_msix() {
        write(kBar0, kPortBar, 4);
        memory.write(kPortBar, 8, 0xfee00000);
        memory.write(kPortBar + 8, 4, 0x41);
        memory.write(kPortBar + 12, 4, 0);
        write(capability(CapabilityId::Msix) + 2, 0x8000);
    }
};

struct Slot : testing::Test, Machine {};

TEST_F(Slot, ItIsABridgeWithASlotOfItsNumber) {
    EXPECT_EQ(read(kHeaderType, 1), kBridgeHeader);
    EXPECT_EQ(read(kClassCode, 4) & 0xffffff, 0x060400u);
    EXPECT_EQ(read(express(kExpressCapabilities)), 0x0142u);  // version 2, root port, slot implemented
    EXPECT_EQ(read(express(kSlotCapabilities), 4), 7u << kSlotNumberShift | 0x7b);
    EXPECT_TRUE(read(express(kLinkCapabilities), 4) & 1u << 20);
    EXPECT_FALSE(link());
}

TEST_F(Slot, AnEmptySlotHasNoPowerAfterAResetAndShowsNothing) {
    EXPECT_TRUE(read(express(kSlotControl)) & 0x400);
    EXPECT_EQ(status(), 0);
    set_up();
    EXPECT_EQ(read_card(0), ~0u);
}

TEST_F(Slot, ACardIsToldByPresenceAndButtonAndIsUnreachableUntilItHasPower) {
    set_up();
    listen();
    clear(kEvents);
    ASSERT_TRUE(port.insert(card));
    EXPECT_EQ(status(), kPresence | kPresenceChanged | kAttentionPressed);
    EXPECT_EQ(read_card(0), ~0u);
    EXPECT_FALSE(link());
}

TEST_F(Slot, PowerBringsTheLinkAndThenTheCommandIsComplete) {
    set_up();
    listen();
    ASSERT_TRUE(port.insert(card));
    clear(kEvents);
    command(kListen | kOn);
    EXPECT_EQ(wishes, 1u);
    EXPECT_EQ(status() & kCommandCompleted, 0);
    port.service();
    EXPECT_EQ(status(), kPresence | kCommandCompleted | kLinkChanged);
    EXPECT_TRUE(link());
    EXPECT_EQ(read_card(0), 0x56781234u);
}

TEST_F(Slot, ACommandThatChangesNoPowerIsCompleteAtOnce) {
    command(kListen | kOff);
    EXPECT_EQ(status(), kCommandCompleted);
    EXPECT_EQ(wishes, 0u);
}

TEST_F(Slot, PowerOffResetsTheCardAndItAnswersNowhere) {
    set_up();
    ASSERT_TRUE(port.insert(card));
    power_on();
    write_card(kBar0, kCardBar);
    write_card(kCommand, 6, 2);
    ASSERT_EQ(memory.read(kCardBar, 1), 0x5au);
    const unsigned before = card.resets;
    power_off();
    EXPECT_EQ(card.resets, before + 1);
    EXPECT_EQ(memory.read(kCardBar, 4), 0xffffffffu);
    EXPECT_EQ(read_card(0), ~0u);
    power_on();
    EXPECT_EQ(read_card(kCommand, 2), 0u);
    EXPECT_EQ(read_card(kBar0), 4u);
}

TEST_F(Slot, PowerThatGoesAndComesBeforeItIsServedStillResetsTheCard) {
    set_up();
    ASSERT_TRUE(port.insert(card));
    power_on();
    clear(kEvents);
    const unsigned before = card.resets;
    command(kListen | kOff);
    command(kListen | kOn);
    port.service();
    EXPECT_EQ(card.resets, before + 1);
    EXPECT_TRUE(link());
    EXPECT_TRUE(status() & kLinkChanged);
}

TEST_F(Slot, LinkDisableAndSecondaryBusResetDropTheCardToo) {
    set_up();
    ASSERT_TRUE(port.insert(card));
    power_on();
    const unsigned before = card.resets;
    write(express(kLinkControl), 0x10);
    port.service();
    EXPECT_FALSE(link());
    EXPECT_EQ(read_card(0), ~0u);
    write(express(kLinkControl), 0);
    port.service();
    EXPECT_EQ(read_card(0), 0x56781234u);
    write(kBridgeControl, 0x40);
    port.service();
    EXPECT_EQ(read_card(0), ~0u);
    write(kBridgeControl, 0);
    port.service();
    EXPECT_EQ(card.resets, before + 2);
    EXPECT_EQ(read_card(0), 0x56781234u);
}

TEST_F(Slot, TheGuestIsAskedByTheButtonAndHasLetGoWhenItPowersOff) {
    set_up();
    ASSERT_TRUE(port.insert(card));
    power_on();
    clear(kEvents);
    EXPECT_EQ(port.ask_to_leave(), RootPort::Asked::Pressed);
    EXPECT_EQ(status(), kPresence | kAttentionPressed);
    EXPECT_TRUE(port.asked());
    EXPECT_FALSE(port.leaving());
    command(kListen | 0x02c0);  // it blinks for a while
    EXPECT_EQ(port.ask_to_leave(), RootPort::Asked::Going);
    power_off();
    EXPECT_TRUE(port.leaving());
    clear(kEvents);
    port.eject();
    EXPECT_EQ(status(), kPresenceChanged);
    EXPECT_FALSE(port.asked());
    EXPECT_EQ(port.card(), nullptr);
}

TEST_F(Slot, ASlotWithoutPowerHasNobodyToAsk) {
    ASSERT_TRUE(port.insert(card));
    EXPECT_EQ(port.ask_to_leave(), RootPort::Asked::Off);
    EXPECT_FALSE(port.asked());
}

TEST_F(Slot, AGuestThatPowersOffUnaskedKeepsTheCardInItsSlot) {
    ASSERT_TRUE(port.insert(card));
    power_on();
    power_off();
    EXPECT_FALSE(port.leaving());
    EXPECT_EQ(port.card(), &card);
}

TEST_F(Slot, PullingACardOutShowsAsLinkAndPresenceLost) {
    set_up();
    ASSERT_TRUE(port.insert(card));
    power_on();
    write_card(kBar0, kCardBar);
    write_card(kCommand, 6, 2);
    card.set_intx(true);
    EXPECT_TRUE(lines[pirq_of(2, 0)].level);
    clear(kEvents);
    port.eject();
    EXPECT_EQ(status(), kPresenceChanged | kLinkChanged);
    EXPECT_FALSE(lines[pirq_of(2, 0)].level);
    EXPECT_EQ(read_card(0), ~0u);
}

TEST_F(Slot, WhereAPulledCardWasReadsZeroUntilTheSlotLosesPower) {
    set_up();
    ASSERT_TRUE(port.insert(card));
    power_on();
    write_card(kBar0, kCardBar);
    write_card(kCommand, 6, 2);
    port.eject();
    EXPECT_EQ(memory.read(kCardBar + 0x14, 1), 0u);
    memory.write(kCardBar, 4, 1);
    EXPECT_EQ(memory.read(kCardBar + 0x4000, 4), 0xffffffffu);
    const auto saved = port.save();
    Machine other;
    ASSERT_TRUE(other.port.load(*saved));
    EXPECT_EQ(other.memory.read(kCardBar, 4), 0u);
    EXPECT_EQ(other.port.save()->payload, saved->payload);
    power_off();
    EXPECT_EQ(memory.read(kCardBar, 4), 0xffffffffu);
    ASSERT_TRUE(port.insert(card));
    power_on();
    write_card(kBar0, kCardBar);
    write_card(kCommand, 6, 2);
    port.eject();
    port.reset();
    EXPECT_EQ(memory.read(kCardBar, 4), 0xffffffffu);
}

TEST_F(Slot, ACardThatFollowsAPulledOneGetsItsLinkOnceTheGuestHasPoweredTheSlotOffAndOn) {
    set_up();
    ASSERT_TRUE(port.insert(card));
    power_on();
    write_card(kBar0, kCardBar);
    write_card(kCommand, 6, 2);
    port.eject();
    ASSERT_TRUE(port.insert(card));
    EXPECT_FALSE(link());
    EXPECT_EQ(memory.read(kCardBar, 4), 0u);
    power_off();
    power_on();
    EXPECT_TRUE(link());
    EXPECT_EQ(memory.read(kCardBar, 4), 0xffffffffu);
    EXPECT_EQ(read_card(0), 0x56781234u);
}

TEST_F(Slot, ACardThatTheGuestLetGoOfLeavesNothing) {
    set_up();
    ASSERT_TRUE(port.insert(card));
    power_on();
    write_card(kBar0, kCardBar);
    write_card(kCommand, 6, 2);
    power_off();
    port.eject();
    EXPECT_EQ(memory.read(kCardBar, 4), 0xffffffffu);
}

TEST_F(Slot, ATakenSlotTakesNoSecondCard) {
    Card other(wiring);
    ASSERT_TRUE(port.insert(card));
    EXPECT_EQ(port.insert(other).error().kind(), ErrorKind::Conflict);
    EXPECT_EQ(port.card(), &card);
}

TEST_F(Slot, AResetGivesPowerToWhatIsPluggedIn) {
    ASSERT_TRUE(port.insert(card));
    port.reset();
    card.reset();
    EXPECT_EQ(status(), kPresence);
    EXPECT_FALSE(read(express(kSlotControl)) & 0x400);
    EXPECT_TRUE(link());
    set_up();
    EXPECT_EQ(read_card(0), 0x56781234u);
}

TEST_F(Slot, EventsInterruptByMessageWhenTheFirstBegins) {
    set_up();
    enable_port_msix();
    listen();
    clear(kEvents);
    msi.sent.clear();
    ASSERT_TRUE(port.insert(card));
    ASSERT_EQ(msi.sent.size(), 1u);
    EXPECT_EQ(msi.sent[0].data, 0x41u);
    EXPECT_EQ(port.ask_to_leave(), RootPort::Asked::Off);
    clear(kEvents);
    EXPECT_EQ(msi.sent.size(), 1u);
    power_on();
    EXPECT_EQ(msi.sent.size(), 2u);
}

TEST_F(Slot, WithoutMessagesAnEventAssertsTheLineUntilItIsCleared) {
    write(kCommand, 0x7);
    listen();
    clear(kEvents);
    EXPECT_FALSE(lines[pirq_of(2, 0)].level);
    ASSERT_TRUE(port.insert(card));
    EXPECT_TRUE(lines[pirq_of(2, 0)].level);
    clear(kEvents);
    EXPECT_FALSE(lines[pirq_of(2, 0)].level);
}

TEST_F(Slot, EventsThatAreNotEnabledDoNotInterrupt) {
    command(0x0020 | kOff);
    ASSERT_TRUE(port.insert(card));
    EXPECT_FALSE(lines[pirq_of(2, 0)].level);
}

TEST_F(Slot, WhatHappensWhilePausedInterruptsOnResume) {
    set_up();
    enable_port_msix();
    listen();
    clear(kEvents);
    msi.sent.clear();
    port.pause();
    ASSERT_TRUE(port.insert(card));
    EXPECT_TRUE(msi.sent.empty());
    port.resume();
    EXPECT_EQ(msi.sent.size(), 1u);
}

// ---- the bridge ----

struct Behind : Slot {
    Behind() {
        set_up();
        EXPECT_TRUE(port.insert(card));
        power_on();
        write_card(kBar0, kCardBar);
        write_card(kBar0 + 8, kCardBar + 0x8000);
        write_card(kCommand, 6, 2);
    }
};

TEST_F(Behind, ABarIsMappedOnlyInsideAWindow) {
    EXPECT_TRUE(memory.claimed(kCardBar));
    write(kMemoryBase, 0xc000c000, 4);
    EXPECT_FALSE(memory.claimed(kCardBar));
    write(kPrefetchBase, 0xc010c010, 4);
    EXPECT_TRUE(memory.claimed(kCardBar));
    write(kPrefetchLimitUpper, 1, 4);  // now up to above 4 GiB
    write(kPrefetchBaseUpper, 1, 4);
    EXPECT_FALSE(memory.claimed(kCardBar));
    write_card(kBar0 + 4, 1);
    EXPECT_TRUE(memory.claimed(kCardBar | 1ull << 32));
}

TEST_F(Behind, MemorySpaceOfTheBridgeGatesTheCardsBars) {
    write(kCommand, 0x4);
    EXPECT_FALSE(memory.claimed(kCardBar));
    write(kCommand, 0x6);
    EXPECT_TRUE(memory.claimed(kCardBar));
}

TEST_F(Behind, PortsAreNotForwarded) {
    write_card(kBar0 + 12, 0xc000);
    write_card(kCommand, 7, 2);
    EXPECT_FALSE(ports.claimed(0xc000));
}

TEST_F(Behind, BusMasterOfTheBridgeGatesMessages) {
    memory.write(kCardBar + 0x8000, 8, 0xfee00000);
    memory.write(kCardBar + 0x8000 + 8, 4, 0x51);
    memory.write(kCardBar + 0x8000 + 12, 4, 0);
    write_card(kFirstCapability + 2, 0x8000, 2);
    write(kCommand, 0x2);
    EXPECT_FALSE(card.bus_master());
    card.raise_msix(0);
    EXPECT_TRUE(msi.sent.empty());
    write(kCommand, 0x6);
    EXPECT_TRUE(card.bus_master());
    EXPECT_EQ(msi.sent.size(), 1u);
}

TEST_F(Behind, ConfigurationFollowsTheNumbersWhateverTheyAre) {
    write(kPrimaryBus, 0x00ff0900, 4);
    EXPECT_EQ(read_card(0), ~0u);
    EXPECT_EQ(bus.read({9, 0, 0}, 0, 4), 0x56781234u);
    EXPECT_EQ(bus.read({10, 0, 0}, 0, 4), ~0u);
    EXPECT_EQ(bus.read({9, 1, 0}, 0, 4), ~0u);
    write(kPrimaryBus, 0x00000000, 4);  // its own bus: that one answers
    EXPECT_EQ(bus.read({0, 2, 0}, 0, 4), 0x000c1b36u);
    EXPECT_EQ(bus.read({0, 0, 0}, 0, 4), ~0u);
    write(kPrimaryBus, 0x00010200, 4);  // backwards
    EXPECT_EQ(bus.read({1, 0, 0}, 0, 4), ~0u);
    EXPECT_EQ(bus.read({2, 0, 0}, 0, 4), ~0u);
}

TEST_F(Behind, TwoBridgesWithOneNumberMakeNoCircle) {
    RootPort second(wiring, {.id = "port2", .slot_number = 8, .wants_service = {}});
    ASSERT_TRUE(bus.add(3, 0, second));
    bus.write({0, 3, 0}, kPrimaryBus, 4, 0x00ff0000);
    write(kPrimaryBus, 0x00ff0000, 4);
    for (unsigned n = 0; n < 256; ++n) bus.read({static_cast<uint8_t>(n), 0, 0}, 0, 4);
    EXPECT_EQ(bus.read({0, 3, 0}, 0, 4), 0x000c1b36u);
    bus.remove(second);
}

TEST_F(Behind, AnInterruptPinGoesToThePortsSlot) {
    card.set_intx(true);
    EXPECT_TRUE(lines[pirq_of(2, 0)].level);
    card.set_intx(false);
    EXPECT_FALSE(lines[pirq_of(2, 0)].level);
}

TEST_F(Behind, TheListOfFunctionsShowsWhereTheCardIs) {
    const auto all = bus.all_functions();
    ASSERT_EQ(all.size(), 2u);
    EXPECT_EQ(all[1]->address(), (FunctionAddress{5, 0, 0}));
}

// ---- state ----

TEST_F(Behind, StateGoesRoundWithALinkAndAQuestion) {
    port.ask_to_leave();
    const auto port_state = port.save(), card_state = card.save();
    ASSERT_TRUE(port_state && card_state);
    Machine other;
    ASSERT_TRUE(other.port.insert(other.card));
    ASSERT_TRUE(other.port.load(*port_state)) << other.port.load(*port_state).error().message();
    ASSERT_TRUE(other.card.load(*card_state));
    EXPECT_EQ(other.status(), status());
    EXPECT_EQ(other.read_card(0), 0x56781234u);
    EXPECT_TRUE(other.memory.claimed(kCardBar));
    EXPECT_TRUE(other.port.asked());
    EXPECT_EQ(other.port.save()->payload, port_state->payload);
}

TEST_F(Behind, WhatWasNotServedWhenSavedIsServedAfterTheLoad) {
    command(kListen | kOff);
    const auto saved = port.save();
    Machine other;
    ASSERT_TRUE(other.port.insert(other.card));
    ASSERT_TRUE(other.port.load(*saved));
    const unsigned before = other.card.resets;
    other.port.resume();
    EXPECT_EQ(other.card.resets, before + 1);
    EXPECT_FALSE(other.link());
    EXPECT_TRUE(other.status() & kCommandCompleted);
}

TEST_F(Behind, StateOfATakenSlotIsRefusedByAnEmptyOne) {
    const auto saved = port.save();
    Machine other;
    const auto before = other.port.save()->payload;
    EXPECT_EQ(other.port.load(*saved).error().kind(), ErrorKind::Corrupt);
    EXPECT_EQ(other.port.save()->payload, before);
}

TEST_F(Behind, MutatedStateNeverPutsACardThatIsNotThere) {
    auto saved = *port.save();
    std::mt19937 random(7);
    for (int round = 0; round < 2000; ++round) {
        auto bad = saved;
        for (int i = 0; i < 3; ++i) bad.payload[random() % bad.payload.size()] = static_cast<char>(random());
        Machine other;
        if (!other.port.load(bad)) continue;
        EXPECT_FALSE(other.status() & kPresence);
        EXPECT_FALSE(other.link());
    }
}

// ---- hostile guests ----

TEST_F(Slot, RandomWritesInAnyOrderWithCardsThatComeAndGoBreakNothing) {
    std::mt19937 random(20);
    Card second(wiring);
    for (int round = 0; round < 60'000; ++round) {
        static constexpr std::array<uint16_t, 8> kPlaces = {kCommand, kPrimaryBus, kMemoryBase, kPrefetchBase, kPrefetchBaseUpper, kBridgeControl, kBar0, 0x40};
        const auto any = static_cast<uint16_t>(random() % 2 ? kPlaces[random() % kPlaces.size()] + random() % 8 : random() % 0x100);
        const uint16_t place = random() % 4 ? any : express(static_cast<uint16_t>(random() % kExpressBody));
        const unsigned size = 1u << random() % 3;
        const uint32_t value = random() % 3 ? random() : 0xc010c010;
        write(place, value, size);
        bus.write({static_cast<uint8_t>(random() % 8), 0, 0}, static_cast<uint16_t>(random() % 0x100), size, static_cast<uint32_t>(random()));
        bus.read({static_cast<uint8_t>(random()), static_cast<uint8_t>(random() % 32), 0}, static_cast<uint16_t>(random() % 0x1000), size);
        memory.read(random() % 2 ? kCardBar : kWindow + random() % 0x1000000, 4);
        if (wishes > 0 && random() % 2) wishes = 0, port.service();
        if (random() % 50 == 0) port.card() ? port.eject() : void(port.insert(random() % 2 ? card : second));
        if (random() % 50 == 0) port.ask_to_leave();
        if (random() % 500 == 0) port.reset();
    }
    port.reset();
    port.service();
    EXPECT_EQ((status() & kPresence) != 0, port.card() != nullptr);
    EXPECT_TRUE(link() || bus.read({static_cast<uint8_t>(read(kSecondaryBus, 1)), 0, 0}, 0, 4) != 0x56781234u);
    port.eject();
    for (const auto& m : memory.mappings()) EXPECT_EQ(m.owner.find("card"), std::string::npos) << m.owner;
}

}  // namespace
}  // namespace yado::pci
