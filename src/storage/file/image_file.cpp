#include "storage/file/image_file.h"

namespace yado::storage {

io::Task<Result<>> read_bytes(ImageFile& file, Bytes offset, std::span<std::byte> into) {
    const iovec piece{into.data(), into.size()};
    co_return co_await file.readv(offset, {&piece, 1});
}

io::Task<Result<>> write_bytes(ImageFile& file, Bytes offset, std::span<const std::byte> from) {
    const iovec piece{const_cast<std::byte*>(from.data()), from.size()};
    co_return co_await file.writev(offset, {&piece, 1});
}

}  // namespace yado::storage
