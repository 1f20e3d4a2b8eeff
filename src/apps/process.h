// Runs another program: arguments, descriptors, its output line by line.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace yado::apps {

struct Program {
    std::vector<std::string> arguments;            ///< the first is found in PATH
    std::vector<std::pair<int, int>> descriptors;  ///< ours, the program's number
    std::vector<std::string> environment;          ///< "NAME=value", added to ours
    std::function<void(std::string_view)> on_line; ///< each line of its stdout (unless mapped) and stderr
};

/// Its exit status, 128 + signal if one ended it. Errors: NotFound (no such program), Failed.
Result<int> run_program_to_end(const Program& program);

/// Is there such a program in PATH?
bool in_path(const std::string& program);

}  // namespace yado::apps
