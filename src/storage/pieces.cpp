#include "storage/pieces.h"

namespace yado::storage {

namespace {
constexpr size_t kZeroBytes = 64 << 10;
alignas(4096) const std::byte kZeroes[kZeroBytes] = {};
}  // namespace

std::vector<iovec> zero_pieces(uint64_t length) {
    std::vector<iovec> pieces;
    for (; length > 0; length -= pieces.back().iov_len)
        pieces.push_back({const_cast<std::byte*>(kZeroes), std::min<uint64_t>(length, kZeroBytes)});
    return pieces;
}

}  // namespace yado::storage
