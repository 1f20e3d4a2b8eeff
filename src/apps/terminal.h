// The user's terminal, connected to a console stream of the control socket: raw while attached, restored always.
#pragma once

#include <functional>

#include "base/error.h"
#include "control/client.h"

namespace yado::apps {

enum class Typing : uint8_t { Yes, No };
enum class Parting : uint8_t {
    Ended,     ///< the console ended
    Left,      ///< Ctrl-] was typed, or the terminal went away
    Signalled, ///< SIGINT, SIGTERM or SIGHUP
};

inline constexpr char kLeaveKey = 0x1d;  // Ctrl-]

/// Blocks the signals that carry() and wait_for_end() read; call before any thread starts.
void block_signals();

/// Carries bytes both ways until one side parts. `resized(columns, rows)` is called at first and on every change.
Parting carry(control::Client::Stream stream, Typing typing, const std::function<void(unsigned, unsigned)>& resized);

/// Waits, without a terminal, until `ended_fd` is readable (Ended) or a signal comes.
Parting wait_for_end(int ended_fd);

}  // namespace yado::apps
