// How often each cluster is referred to, counted in a check. Pages exist where something was counted.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <memory>
#include <unordered_map>

namespace yado::storage::qcow2 {

class ReferenceCounts {
  public:
    /// False when the bound on memory is reached.
    bool add(uint64_t cluster, uint64_t references) {
        auto& page = pages_[cluster / kPage];
        if (!page) {
            if (pages_.size() > kMaxPages) return false;
            page = std::make_unique<Page>();
        }
        uint32_t& count = (*page)[cluster % kPage];
        const uint64_t sum = count + references;
        count = static_cast<uint32_t>(std::min<uint64_t>(sum, std::numeric_limits<uint32_t>::max()));
        end_ = std::max(end_, cluster + 1);
        return true;
    }
    uint64_t get(uint64_t cluster) const {
        const auto page = pages_.find(cluster / kPage);
        return page == pages_.end() ? 0 : (*page->second)[cluster % kPage];
    }
    void remove_range(uint64_t first, uint64_t count) {
        for (uint64_t c = first; c < first + count; ++c)
            if (const auto page = pages_.find(c / kPage); page != pages_.end() && (*page->second)[c % kPage] > 0) --(*page->second)[c % kPage];
    }
    template <typename F>
    void for_each(F f) const {
        for (const auto& [number, page] : pages_)
            for (uint64_t n = 0; n < kPage; ++n)
                if ((*page)[n]) f(number * kPage + n, uint64_t{(*page)[n]});
    }
    /// One past the last that is referred to.
    uint64_t end() const { return end_; }

  private:
    static constexpr uint64_t kPage = 1024, kMaxPages = 1 << 18;  // 1 GiB
    using Page = std::array<uint32_t, kPage>;
    std::unordered_map<uint64_t, std::unique_ptr<Page>> pages_;
    uint64_t end_ = 0;
};

}  // namespace yado::storage::qcow2
