// A statistic that one thread counts and any may read.
#pragma once

#include <atomic>
#include <cstdint>

namespace yado {

/// Adding is for one thread only: it costs what a plain addition does. Reading is for any.
class Counter {
  public:
    void add(uint64_t n = 1) { value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed); }
    void operator++() { add(); }
    void set(uint64_t n) { value_.store(n, std::memory_order_relaxed); }
    uint64_t get() const { return value_.load(std::memory_order_relaxed); }

  private:
    std::atomic<uint64_t> value_{0};
};

}  // namespace yado
