// Where an image's tables lie: nothing that a guest writes, and no new table, may come there. The last line of defence
// where an image lies about itself (a refcount of 0 for a table, an L2 entry that points to one).
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace yado::storage::qcow2 {

class Guard {
  public:
    struct Range {
        uint64_t first, end;  ///< clusters
    };

    void add_table(uint64_t first, uint64_t count) {
        if (count) tables_.push_back({first, first + count});
    }
    void remove_table(uint64_t first) {
        std::erase_if(tables_, [&](const Range& r) { return r.first == first; });
    }
    bool in_table(uint64_t first, uint64_t count) const {
        return std::ranges::any_of(tables_, [&](const Range& r) { return first < r.end && r.first < first + count; });
    }

    /// Single clusters (L2 tables, refcount blocks), all at once. False if one is there twice or lies in a table.
    bool set_clusters(std::vector<uint64_t> clusters) {
        clusters_ = std::move(clusters);
        std::ranges::sort(clusters_);
        return std::ranges::adjacent_find(clusters_) == clusters_.end() &&
               std::ranges::none_of(clusters_, [&](uint64_t c) { return in_table(c, 1); });
    }
    /// Given back properly.
    void forget_cluster(uint64_t cluster) {
        const auto at = std::ranges::lower_bound(clusters_, cluster);
        if (at != clusters_.end() && *at == cluster) clusters_.erase(at);
    }
    bool overlaps(uint64_t first, uint64_t count) const {
        const auto at = std::ranges::lower_bound(clusters_, first);
        return (at != clusters_.end() && *at < first + count) || in_table(first, count);
    }

  private:
    std::vector<Range> tables_;
    std::vector<uint64_t> clusters_;
};

}  // namespace yado::storage::qcow2
