// Where the manuals leave processors a choice and Intel's hosts choose otherwise than AMD's, whom the interpreter follows.
#pragma once

#include "generate.h"

namespace yado::oracle {

/// A store of x87's that faulted for the interpreter: a host that raises the x87 exception instead goes on behind it.
bool may_go_on(const Instruction& i, const Outcome& interpreted);

/// `last`: the instruction at which `interpreted` ended. What the host may do instead, and has done, is put to `interpreted` (and to
/// `window`, the guest's); what is neither the one nor the other stays a difference.
void settle_choice(const Case& test, const Instruction& last, const Outcome& host, const uint8_t* host_window, Outcome* interpreted, uint8_t* window);

}  // namespace yado::oracle
