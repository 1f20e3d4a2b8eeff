// JSON of the disk verbs. Names inside images may be any bytes: what is no UTF-8 is replaced.
#pragma once

#include <nlohmann/json.hpp>

#include "storage/format.h"

namespace yado::apps {

inline std::string text_of(const nlohmann::ordered_json& json) {
    return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}
nlohmann::ordered_json to_json(const std::vector<storage::Snapshot>& snapshots);

}  // namespace yado::apps
