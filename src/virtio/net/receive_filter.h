// Which frames the driver wants (5.1.6.5.1, 5.1.6.5.2, 5.1.6.5.3): mode, addresses, VLANs. Executor's thread.
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <span>
#include <vector>

#include "base/error.h"

namespace yado::virtio {

namespace pb {
class Net;
}

using MacAddress = std::array<uint8_t, 6>;

class ReceiveFilter {
  public:
    static constexpr size_t kMaxAddresses = 64;  ///< a longer list means: take all

    /// The device's own address decides unless the driver said otherwise.
    bool wants(std::span<const std::byte> frame, const MacAddress& own, bool vlan_filter) const;

    // Control commands; false: refused.
    bool set_mode(uint8_t command, bool on);
    bool set_addresses(std::span<const std::byte> tables);
    bool set_vlan(uint16_t id, bool on);

    void save(pb::Net& out) const;
    Result<> load(const pb::Net& in);

  private:
    struct Table {
        std::vector<MacAddress> addresses;
        bool overflow = false;
        bool contains(const MacAddress& a) const;
    };
    static bool parse_table(std::span<const std::byte>& rest, Table& out);

    // Until a driver sets a mode every frame is taken.
    bool promiscuous_ = true, all_multicast_ = false, all_unicast_ = false, no_multicast_ = false, no_unicast_ = false, no_broadcast_ = false;
    Table unicast_, multicast_;
    std::bitset<4096> vlans_;
};

}  // namespace yado::virtio
