#include "apps/text.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

namespace yado::apps {

namespace {

const char* code_of(Colour colour) {
    switch (colour) {
    case Colour::Good: return "\033[32m";
    case Colour::Warning: return "\033[33m";
    case Colour::Bad: return "\033[31m";
    case Colour::Dim: return "\033[2m";
    case Colour::Plain: break;
    }
    return "";
}

Colour colour_of_word(std::string_view word) {
    const std::string_view first = word.substr(0, word.find(' '));
    if (first == "running" || first == "works") return Colour::Good;
    if (first == "paused" || first == "starting") return Colour::Warning;
    if (first == "crashed" || first == "failed" || first == "dead") return Colour::Bad;
    return Colour::Plain;
}

}  // namespace

std::string coloured(Colour colour, std::string_view text) {
    static const bool wanted = isatty(STDOUT_FILENO) && getenv("NO_COLOR") == nullptr;
    if (!wanted || colour == Colour::Plain) return std::string(text);
    return fmt::format("{}{}\033[0m", code_of(colour), text);
}

void print_table(const std::vector<std::vector<std::string>>& rows, size_t colour_column) {
    std::vector<size_t> widths;
    for (const auto& row : rows) {
        widths.resize(std::max(widths.size(), row.size()));
        for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
    }
    for (size_t r = 0; r < rows.size(); ++r) {
        std::string line;
        for (size_t i = 0; i < rows[r].size(); ++i) {
            const bool last = i + 1 == rows[r].size();
            const std::string cell = last ? rows[r][i] : fmt::format("{:<{}}", rows[r][i], widths[i] + 2);
            line += i == colour_column && r > 0 ? coloured(colour_of_word(rows[r][i]), cell) : cell;
        }
        fmt::print("{}\n", r == 0 ? coloured(Colour::Dim, line) : line);
    }
}

std::string duration_text(Nanoseconds time) {
    const auto seconds = std::max<int64_t>(0, time.count() / 1'000'000'000);
    if (seconds >= 3600) return fmt::format("{}h {:02}m", seconds / 3600, seconds / 60 % 60);
    if (seconds >= 60) return fmt::format("{}m {:02}s", seconds / 60, seconds % 60);
    return fmt::format("{}s", seconds);
}

}  // namespace yado::apps
