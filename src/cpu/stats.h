// What an engine counts, by name: engines differ in what they have to tell, so readers print what they are given.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace yado::cpu {

/// Parts: of a whole, so that their sum says something.
enum class StatKind : uint8_t { Values, Parts };

struct StatGroup {
    std::string name;  ///< "exits", "interpreted"
    StatKind kind;
    std::string unit;  ///< "" (a count), "bytes", "ns"
    std::map<std::string, uint64_t> values;
};
using Stats = std::vector<StatGroup>;

}  // namespace yado::cpu
