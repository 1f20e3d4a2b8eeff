// One logger for the process: lines on stderr (or a file), with a level. A call site that a guest can drive uses
// YADO_LOG_LIMITED: 10 lines in 5 seconds, then one line that says how many were left out.
#pragma once

#include <fmt/core.h>

#include <atomic>
#include <cstdint>
#include <string_view>

namespace yado {

enum class LogLevel : uint8_t { Debug, Info, Warning, Error };

namespace log {
void set_level(LogLevel least);
bool enabled(LogLevel level);
/// Lines go to this descriptor from now on (default 2). Not owned.
void set_descriptor(int fd);
void write(LogLevel level, std::string_view line);
}  // namespace log

/// State of one rate-limited call site.
class LogLimiter {
  public:
    /// True if a line may be written now; *suppressed gets how many were left out since the last one.
    bool admit(uint64_t* suppressed);

  private:
    std::atomic<int64_t> window_start_{0};
    std::atomic<uint32_t> in_window_{0};
    std::atomic<uint64_t> suppressed_{0};
};

}  // namespace yado

#define YADO_LOG(level, ...)                                                                            \
    do {                                                                                                \
        if (::yado::log::enabled(::yado::LogLevel::level))                                              \
            ::yado::log::write(::yado::LogLevel::level, ::fmt::format(__VA_ARGS__));                    \
    } while (false)

#define YADO_LOG_LIMITED(level, ...)                                                                    \
    do {                                                                                                \
        static ::yado::LogLimiter yado_limiter;                                                         \
        uint64_t yado_left_out = 0;                                                                     \
        if (::yado::log::enabled(::yado::LogLevel::level) && yado_limiter.admit(&yado_left_out)) {      \
            if (yado_left_out)                                                                          \
                ::yado::log::write(::yado::LogLevel::level,                                             \
                                   ::fmt::format("({} lines like the next were left out)", yado_left_out)); \
            ::yado::log::write(::yado::LogLevel::level, ::fmt::format(__VA_ARGS__));                    \
        }                                                                                               \
    } while (false)
