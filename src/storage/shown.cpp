#include "storage/shown.h"

#include "storage/pieces.h"

namespace yado::storage {

Result<> check_inside(const ImageFile& file, Bytes offset, Bytes length, Bytes size) {
    if (offset <= size && length <= size - offset) return {};
    return fail(ErrorKind::OutOfRange, "disk {}: {} bytes at {} lie outside it", file.name(), length.value(), offset.value());
}

io::Task<Result<>> read_shown(block::DiskImage* image, Bytes at, std::span<const iovec> into) {
    const uint64_t size = image ? image->size().value() : 0, length = total_of(into);
    const uint64_t held = at.value() < size ? std::min(length, size - at.value()) : 0;
    if (held < length) fill_zeroes(slice(into, held, length - held));
    if (held == 0) co_return Result<>{};
    const std::vector<iovec> front = slice(into, 0, held);
    co_return co_await image->readv(at, front);
}

}  // namespace yado::storage
