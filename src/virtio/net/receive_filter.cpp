#include "virtio/net/receive_filter.h"

#include <algorithm>
#include <cstring>

#include "base/bytes.h"
#include "virtio/virtio.pb.h"

namespace yado::virtio {

namespace {
constexpr uint16_t kVlanTag = 0x8100;
constexpr MacAddress kBroadcast{0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
}  // namespace

bool ReceiveFilter::Table::contains(const MacAddress& a) const { return overflow || std::ranges::find(addresses, a) != addresses.end(); }

bool ReceiveFilter::wants(std::span<const std::byte> frame, const MacAddress& own, bool vlan_filter) const {
    MacAddress to;
    if (frame.size() < 14) return false;
    std::memcpy(to.data(), frame.data(), to.size());
    if (vlan_filter && frame.size() >= 18 && load_be<uint16_t>(frame.data() + 12) == kVlanTag &&
        !vlans_[load_be<uint16_t>(frame.data() + 14) & 0xfff])
        return false;
    if (promiscuous_) return true;
    if (to == kBroadcast) return !no_broadcast_;
    if (to[0] & 1) return !no_multicast_ && (all_multicast_ || multicast_.contains(to));
    return !no_unicast_ && (all_unicast_ || to == own || unicast_.contains(to));
}

bool ReceiveFilter::set_mode(uint8_t command, bool on) {
    bool* const modes[] = {&promiscuous_, &all_multicast_, &all_unicast_, &no_multicast_, &no_unicast_, &no_broadcast_};
    if (command >= std::size(modes)) return false;
    *modes[command] = on;
    return true;
}

bool ReceiveFilter::parse_table(std::span<const std::byte>& rest, Table& out) {
    if (rest.size() < 4) return false;
    const uint32_t entries = load_le<uint32_t>(rest.data());
    rest = rest.subspan(4);
    if (entries > rest.size() / sizeof(MacAddress)) return false;
    out.overflow = entries > kMaxAddresses;
    for (uint32_t i = 0; i < entries && !out.overflow; ++i) std::memcpy(out.addresses.emplace_back().data(), rest.data() + i * sizeof(MacAddress), sizeof(MacAddress));
    rest = rest.subspan(entries * sizeof(MacAddress));
    return true;
}

bool ReceiveFilter::set_addresses(std::span<const std::byte> tables) {
    Table unicast, multicast;
    if (!parse_table(tables, unicast) || !parse_table(tables, multicast)) return false;
    unicast_ = std::move(unicast);
    multicast_ = std::move(multicast);
    return true;
}

bool ReceiveFilter::set_vlan(uint16_t id, bool on) {
    if (id >= vlans_.size()) return false;
    vlans_[id] = on;
    return true;
}

void ReceiveFilter::save(pb::Net& out) const {
    out.set_promiscuous(promiscuous_);
    out.set_all_multicast(all_multicast_);
    out.set_all_unicast(all_unicast_);
    out.set_no_multicast(no_multicast_);
    out.set_no_unicast(no_unicast_);
    out.set_no_broadcast(no_broadcast_);
    for (const MacAddress& a : unicast_.addresses) out.add_unicast(a.data(), a.size());
    for (const MacAddress& a : multicast_.addresses) out.add_multicast(a.data(), a.size());
    out.set_unicast_overflow(unicast_.overflow);
    out.set_multicast_overflow(multicast_.overflow);
    for (uint32_t id = 0; id < vlans_.size(); ++id)
        if (vlans_[id]) out.add_vlans(id);
}

Result<> ReceiveFilter::load(const pb::Net& in) {
    const auto take = [](const auto& from, bool overflow, Table& to) {
        to.overflow = overflow;
        if (static_cast<size_t>(from.size()) > kMaxAddresses) return false;
        for (const std::string& a : from) {
            if (a.size() != sizeof(MacAddress)) return false;
            std::memcpy(to.addresses.emplace_back().data(), a.data(), a.size());
        }
        return true;
    };
    ReceiveFilter fresh;
    bool good = take(in.unicast(), in.unicast_overflow(), fresh.unicast_) && take(in.multicast(), in.multicast_overflow(), fresh.multicast_);
    for (const uint32_t id : in.vlans()) good = good && id < 4096 && fresh.set_vlan(static_cast<uint16_t>(id), true);
    if (!good) return fail(ErrorKind::Corrupt, "saved receive filter: out of range");
    fresh.promiscuous_ = in.promiscuous();
    fresh.all_multicast_ = in.all_multicast();
    fresh.all_unicast_ = in.all_unicast();
    fresh.no_multicast_ = in.no_multicast();
    fresh.no_unicast_ = in.no_unicast();
    fresh.no_broadcast_ = in.no_broadcast();
    *this = std::move(fresh);
    return {};
}

}  // namespace yado::virtio
