// The smallest machine that runs a payload: RAM, one vCPU, a serial port's transmitter, the debug-exit port.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "base/error.h"

namespace yado::payload {

/// Translator: every block is translated the first time that it runs.
enum class Runner : uint8_t { Interpreter, Translator };

struct Report {
    std::string output;               ///< what it wrote to COM1
    std::optional<uint8_t> exit;      ///< what it wrote to the debug-exit port
    bool shut_down = false;           ///< triple fault
    uint64_t instructions = 0;
};

/// Loads the 32-bit ELF at `path`, enters it as a multiboot loader does and runs it to its end.
/// Errors: NotFound, Corrupt (no such ELF), TimedOut, Failed (the engine gave up).
Result<Report> run(const std::string& path, Runner runner, std::chrono::seconds limit);

}  // namespace yado::payload
