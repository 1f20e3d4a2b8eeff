#include "base/guarded.h"

#include <vector>

#include "base/check.h"

namespace yado::detail {

namespace {
thread_local std::vector<LockRank> held_ranks;
}

void lock_taken(LockRank rank) {
    YADO_CHECK(held_ranks.empty() || held_ranks.back() < rank);
    held_ranks.push_back(rank);
}

void lock_released(LockRank rank) {
    YADO_CHECK(!held_ranks.empty());
    std::erase(held_ranks, rank);
}

}  // namespace yado::detail
