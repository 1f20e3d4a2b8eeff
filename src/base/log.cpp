#include "base/log.h"

#include <unistd.h>

#include <chrono>
#include <string>

namespace yado {
namespace log {
namespace {
std::atomic<LogLevel> least_level{LogLevel::Warning};
std::atomic<int> descriptor{2};
constexpr const char* kNames[] = {"debug", "info", "warning", "error"};
}  // namespace

void set_level(LogLevel least) { least_level = least; }
bool enabled(LogLevel level) { return level >= least_level.load(std::memory_order_relaxed); }
void set_descriptor(int fd) { descriptor = fd; }

void write(LogLevel level, std::string_view line) {
    const std::string text = fmt::format("yado: {}: {}\n", kNames[static_cast<int>(level)], line);
    // One write a line keeps lines of several threads whole; a log that cannot be written is no reason to stop.
    [[maybe_unused]] const ssize_t n = ::write(descriptor, text.data(), text.size());
}
}  // namespace log

bool LogLimiter::admit(uint64_t* suppressed) {
    using namespace std::chrono;
    constexpr int64_t kWindow = duration_cast<nanoseconds>(seconds(5)).count();
    constexpr uint32_t kPerWindow = 10;
    const int64_t now = steady_clock::now().time_since_epoch().count();
    int64_t start = window_start_.load();
    if (now - start > kWindow && window_start_.compare_exchange_strong(start, now)) in_window_ = 0;
    if (in_window_.fetch_add(1) >= kPerWindow) {
        suppressed_.fetch_add(1);
        return false;
    }
    *suppressed = suppressed_.exchange(0);
    return true;
}

}  // namespace yado
