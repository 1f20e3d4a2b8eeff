// What an engine counted, for people: `yado info`, `yado run --engine-stats`.
#pragma once

#include <string>

#include "api/guest_info.h"

namespace yado::apps {

/// One line a counter, the largest of a group first, with its share of the group; of many only the first, then what is left.
std::string stats_text(const api::EngineStats& stats);

}  // namespace yado::apps
