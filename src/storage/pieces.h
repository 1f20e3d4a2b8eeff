// Scatter lists: what is left of one after a short transfer, a part of one, its length.
#pragma once

#include <limits.h>
#include <sys/uio.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

namespace yado::storage {

inline uint64_t total_of(std::span<const iovec> pieces) {
    uint64_t sum = 0;
    for (const iovec& v : pieces) sum += v.iov_len;
    return sum;
}

/// The part [skip, skip + length) of a scatter list.
inline std::vector<iovec> slice(std::span<const iovec> pieces, uint64_t skip, uint64_t length) {
    std::vector<iovec> out;
    for (const iovec& v : pieces) {
        if (skip >= v.iov_len) {
            skip -= v.iov_len;
            continue;
        }
        const uint64_t n = std::min<uint64_t>(v.iov_len - skip, length);
        if (n == 0) break;
        out.push_back({static_cast<char*>(v.iov_base) + skip, n});
        skip = 0;
        length -= n;
    }
    return out;
}

inline void fill_zeroes(std::span<const iovec> pieces) {
    for (const iovec& v : pieces)
        if (v.iov_len != 0) std::memset(v.iov_base, 0, v.iov_len);
}

/// `length` zeroes to be written.
std::vector<iovec> zero_pieces(uint64_t length);

/// Copies from a flat buffer into a scatter list, which is as long.
inline void scatter(std::span<const std::byte> from, std::span<const iovec> into) {
    for (const iovec& v : into) {
        if (v.iov_len == 0) continue;
        std::memcpy(v.iov_base, from.data(), v.iov_len);
        from = from.subspan(v.iov_len);
    }
}

/// Copies a scatter list into a flat buffer, which is as long.
inline void gather(std::span<const iovec> from, std::span<std::byte> into) {
    for (const iovec& v : from) {
        if (v.iov_len == 0) continue;
        std::memcpy(into.data(), v.iov_base, v.iov_len);
        into = into.subspan(v.iov_len);
    }
}

/// What is left of a scatter list; copies it only if a transfer ends in the middle of a piece.
class Remaining {
  public:
    explicit Remaining(std::span<const iovec> all) : left_(all) {}
    bool empty() const { return left_.empty(); }
    /// As much as one system call takes.
    std::span<const iovec> next() const { return left_.first(std::min<size_t>(left_.size(), IOV_MAX)); }
    /// All of it.
    std::span<const iovec> rest() const { return left_; }
    void advance(uint64_t n) {
        while (!left_.empty() && n >= left_.front().iov_len) {
            n -= left_.front().iov_len;
            left_ = left_.subspan(1);
        }
        if (n == 0) return;
        std::vector<iovec> rest(left_.begin(), left_.end());
        rest.front().iov_base = static_cast<char*>(rest.front().iov_base) + n;
        rest.front().iov_len -= n;
        copy_ = std::move(rest);
        left_ = copy_;
    }

  private:
    std::span<const iovec> left_;
    std::vector<iovec> copy_;
};

}  // namespace yado::storage
