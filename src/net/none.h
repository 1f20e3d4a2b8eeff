// net=none: a NIC whose cable is not plugged in.
#pragma once

#include <memory>

#include "link/packet_port.h"

namespace yado::net {

std::unique_ptr<link::PacketBackend> make_none();

}  // namespace yado::net
