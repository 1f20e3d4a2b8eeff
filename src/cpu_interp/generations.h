// How bounded memory for code is used: as a ring of generations. When the youngest is full, the oldest is emptied and begun
// anew; what lies in the others stays. Positions are offsets in that memory. Thread: the owner's.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <numeric>

namespace yado::cpu_interp {

/// A set of generations, a bit each.
using GenerationSet = uint8_t;

class Generations {
  public:
    static constexpr unsigned kCount = 8;

    /// Of the memory [begin, end).
    Generations(size_t begin, size_t end) : begin_(begin), each_((end - begin) / kCount) {}

    bool has_room(size_t at, size_t bytes) const { return at + bytes <= end(); }
    /// The oldest generation becomes the youngest. To be emptied by the caller.
    void advance() {
        youngest_ = (youngest_ + 1) % kCount;
        used_[youngest_] = 0;
    }
    /// All are empty.
    void reset() {
        youngest_ = 0;
        used_ = {};
    }
    /// Where the youngest begins, and where it ends.
    size_t begin() const { return begin_ + youngest_ * each_; }
    size_t end() const { return begin() + each_; }
    GenerationSet youngest() const { return static_cast<GenerationSet>(1u << youngest_); }
    /// The youngest is used up to here.
    void filled_to(size_t at) { used_[youngest_] = at - begin(); }
    size_t used() const { return std::accumulate(used_.begin(), used_.end(), size_t{0}); }

  private:
    size_t begin_, each_;
    unsigned youngest_ = 0;
    std::array<size_t, kCount> used_{};
};

}  // namespace yado::cpu_interp
