// The two ways in which `perf` learns what generated code is.
//
//   map      /tmp/perf-PID.map: a line "START SIZE NAME" a block. `perf report` reads it by itself, as it is then: code that
//            lay there before a cache was emptied is not known any more.
//   jitdump  FOLDER/jit-PID.dump: every block with its code and time (perf's jitdump specification, version 1); wants `perf record
//            -k mono` and `perf inject --jit`, which makes a file a block.
//
// Any thread. A file that cannot be written any more (disk full) ends with its last whole entry.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"

namespace yado::cpu_bt {

/// Executable code, where it lies.
using Code = std::span<const uint8_t>;

class PerfFile {
  public:
    virtual ~PerfFile() = default;
    virtual void add(Code code, std::string_view name) = 0;
    /// Whatever lies there is gone.
    virtual void drop(Code code) = 0;
};

/// Errors: those of the file.
Result<std::unique_ptr<PerfFile>> make_perf_map();
Result<std::unique_ptr<PerfFile>> make_jit_dump(const std::string& folder);

}  // namespace yado::cpu_bt
