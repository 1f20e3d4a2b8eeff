// Noise at the stub: random bytes, broken and mutated packets, against a made-up guest. Nothing may crash, every answer must be
// a proper packet, and what is sent must stay in proportion to what came.
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>

#include "fakes/debug_port.h"
#include "gdb/conversation.h"

namespace yado::gdb {
namespace {

constexpr const char* kSeeds[] = {
    "?", "g", "G0000000000000000", "p10", "P10=0000000000000000", "m1000,10", "M1000,2:beef", "X1000,4:}\x03}]ab", "c", "s", "C05", "S05;1000",
    "vCont?", "vCont;c", "vCont;s:1;c", "vCont;C05:1;S02:-1", "vKill;1", "Z0,1000,1", "z0,1000,1", "Z1,1000,1", "Z2,1000,8", "z2,1000,8", "Z3,2000,4",
    "Z4,ffffffffffffffff,ffffffffffffffff", "Hg1", "Hc-1", "T1", "D", "k", "qSupported:swbreak+;hwbreak+", "QStartNoAckMode",
    "qXfer:features:read:target.xml:0,fff", "qfThreadInfo", "qThreadExtraInfo,1", "qC", "qRcmd,706879736963616c206f6e", "Qqemu.PhyMemMode:1", "qSymbol::"};

uint64_t environment(const char* name, uint64_t fallback) {
    const char* text = std::getenv(name);
    return text && *text ? std::strtoull(text, nullptr, 0) : fallback;
}

class Noise {
  public:
    explicit Noise(uint64_t seed) : random_(seed) {}

    uint64_t below(uint64_t n) { return random_() % n; }
    std::string bytes(size_t most) {
        std::string text(below(most + 1), '\0');
        for (char& c : text) c = static_cast<char>(random_());
        return text;
    }
    std::string mutated(std::string text) {
        for (uint64_t n = below(4); n > 0; --n) {
            const size_t at = below(text.size() + 1);
            switch (below(4)) {
            case 0: text.insert(at, bytes(4)); break;
            case 1: text.erase(at, below(4)); break;
            case 2: text.insert(at, text); break;
            default:
                if (at < text.size()) text[at] = static_cast<char>(random_());
            }
        }
        return text;
    }
    /// A packet, mostly with a good checksum; sometimes acknowledgments, Ctrl-C or nothing sensible.
    std::string next() {
        const std::string payload = mutated(kSeeds[below(std::size(kSeeds))]);
        switch (below(16)) {
        case 0: return "$" + payload + "#00";
        case 1: return "+-+\x03";
        case 2: return below(8) == 0 ? bytes(64) : "-";
        default: return frame(below(2) ? escape(payload) : payload);
        }
    }

  private:
    std::mt19937_64 random_;
};

/// Takes the output apart: every packet whole, with its checksum.
void check_output(std::string_view output) {
    PacketReader reader;
    reader.feed(output);
    while (const auto item = reader.next()) {
        ASSERT_NE(item->kind, ItemKind::Garbage) << output.substr(0, 200);
        ASSERT_NE(item->kind, ItemKind::BadPacket);
        ASSERT_NE(item->kind, ItemKind::Interrupt);
    }
    ASSERT_EQ(reader.buffered(), 0u) << "half a packet";
}

/// One connection, until it is over or has had enough.
void converse(Noise& noise) {
    fakes::FakeDebugPort port(1 + static_cast<unsigned>(noise.below(4)), noise.below(2));
    Conversation conversation(port, [] {});
    for (unsigned n = 0; n < 60 && !conversation.over(); ++n) {
        std::string said = noise.next();
        const size_t cut = noise.below(said.size() + 1);  // in two pieces
        conversation.receive(said.substr(0, cut));
        conversation.receive(said.substr(cut));
        if (port.running && noise.below(2)) port.stop({static_cast<unsigned>(noise.below(port.vcpus())), cpu::DebugStop{}});
        ASSERT_LE(conversation.output().size(), Conversation::kMaxUnsent + 2 * kMaxPayload + 8);
        check_output(conversation.output());
        conversation.output().clear();
        conversation.go_on();
    }
    if (noise.below(4) == 0) port.end({.reason = api::StopReason::PoweredOff});
}

TEST(GdbFuzz, NoiseIsAnsweredInOrderOrNotAtAll) {
    const uint64_t seed = environment("YADO_FUZZ_SEED", 1234), rounds = environment("YADO_FUZZ_ROUNDS", 4000);
    Noise noise(seed);
    for (uint64_t n = 0; n < rounds && !testing::Test::HasFatalFailure(); ++n) converse(noise);
}

TEST(GdbFuzz, BytesWithoutAnyStructureEndTheConnection) {
    Noise noise(environment("YADO_FUZZ_SEED", 1234));
    fakes::FakeDebugPort port;
    for (int n = 0; n < 2000; ++n) {
        Conversation conversation(port, [] {});
        conversation.receive("\x80" + noise.bytes(8192));
        EXPECT_TRUE(conversation.over());
        EXPECT_EQ(port.listener, nullptr);
    }
}

}  // namespace
}  // namespace yado::gdb
