// The argument of vCont: which thread does what. GDB manual, appendix E.2. Thread n+1 is vCPU n.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "vm/debug_port.h"

namespace yado::gdb {

/// A thread id: -1 is all, 0 any; nullopt: malformed or no such vCPU.
struct ThreadId {
    enum class Kind : uint8_t { All, Any, One } kind = Kind::Any;
    unsigned vcpu = 0;  ///< of One
};
std::optional<ThreadId> parse_thread(std::string_view text, unsigned vcpus);

/// ";s:1;c": the leftmost action that names a thread is its own; threads that none names stay. nullopt: malformed, or an
/// action that is not supported.
std::optional<std::vector<vm::VcpuAction>> parse_actions(std::string_view text, unsigned vcpus);

}  // namespace yado::gdb
