// What the verbs print: tables, and colour only on a terminal.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"

namespace yado::apps {

enum class Colour : uint8_t { Plain, Good, Warning, Bad, Dim };

/// The text in a colour if stdout is a terminal (and NO_COLOR is unset), else as it is.
std::string coloured(Colour colour, std::string_view text);

/// Prints columns as wide as their widest cell; the first row is the heading. `colour_column` is coloured by word:
/// running, works good; paused warning; crashed, failed bad.
void print_table(const std::vector<std::vector<std::string>>& rows, size_t colour_column = ~0ull);

/// "3h 02m", "1m 05s", "7s".
std::string duration_text(Nanoseconds time);

}  // namespace yado::apps
