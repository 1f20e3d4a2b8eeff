#include "storage/qcow2/table.h"

#include <algorithm>

#include "base/bytes.h"

namespace yado::storage::qcow2 {

using io::or_return;

io::Task<Result<std::vector<uint64_t>>> read_table(ImageFile& file, uint64_t offset, uint64_t entries) {
    std::vector<std::byte> bytes(entries * 8);
    const uint64_t size = file.size().value();
    const uint64_t there = offset < size ? std::min<uint64_t>(bytes.size(), size - offset) : 0;
    co_await or_return(co_await read_bytes(file, Bytes(offset), std::span(bytes).first(there)));
    std::vector<uint64_t> table(entries);
    for (size_t n = 0; n < entries; ++n) table[n] = load_be<uint64_t>(bytes.data() + n * 8);
    co_return std::move(table);
}

std::vector<std::byte> table_bytes(const std::vector<uint64_t>& entries, uint64_t size) {
    std::vector<std::byte> bytes(size);
    for (size_t n = 0; n < entries.size(); ++n) store_be(bytes.data() + n * 8, entries[n]);
    return bytes;
}

}  // namespace yado::storage::qcow2
