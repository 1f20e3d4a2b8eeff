#include "base/clock.h"

#include <ctime>

namespace yado {
namespace {
Nanoseconds read(clockid_t id) {
    timespec t{};
    clock_gettime(id, &t);
    return std::chrono::seconds(t.tv_sec) + Nanoseconds(t.tv_nsec);
}
}  // namespace
Nanoseconds SystemClock::now() const { return read(CLOCK_MONOTONIC); }
Nanoseconds SystemClock::wall() const { return read(CLOCK_REALTIME); }
}  // namespace yado
