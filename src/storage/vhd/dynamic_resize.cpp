// A dynamic image grows by its table. Where nothing lies behind the table it grows in place, else it moves to the file's end: one
// sector of the header then changes at once where it is and how long. The footers, which say the size, come last; before them the
// image is what it was, with a table that is longer than it needs to be.
#include "storage/vhd/dynamic_image.h"

namespace yado::storage::vhd {

using io::or_return;

namespace {

constexpr uint64_t kChunk = 1 << 20;

uint64_t whole_sectors(uint64_t bytes) { return (bytes + kSector - 1) / kSector * kSector; }

}  // namespace

io::Task<Result<>> DynamicImage::resize(Bytes size) {
    const uint64_t bytes = size.value(), blocks = (bytes + block_size_ - 1) / block_size_;
    if (readonly()) co_return fail_readonly();
    if (size == size_) co_return Result<>{};
    if (bytes < size_.value())
        co_return fail(ErrorKind::Failed, "disk {}: a {} cannot shrink; copy it into a smaller one", file_->name(), kind_);
    if (bytes % kSector || bytes > kMostBytes || blocks > kMostEntries)
        co_return fail(ErrorKind::Usage, "disk {}: {} bytes: a VHD has a multiple of 512, and at most 2040 GiB", file_->name(), bytes);
    co_await or_return(co_await commit());
    if (blocks > layout_.table.size()) co_await or_return(co_await extend_table(blocks));
    layout_.table.resize(blocks, kUnused);
    bitmaps_.grow(blocks);
    layout_.footer.set_size(bytes);
    layout_.size = bytes;
    size_ = size;
    co_await or_return(co_await write_bytes(*file_, Bytes(0), layout_.footer.raw));
    co_await or_return(co_await file_->sync());
    if (footer_at_ == 0) co_return co_await end_at(next_);
    co_await or_return(co_await write_bytes(*file_, Bytes(footer_at_), layout_.footer.raw));
    co_return co_await file_->sync();
}

/// How many bytes the table may take before something else comes.
uint64_t DynamicImage::table_room() const {
    const uint64_t begin = layout_.header->table_offset();
    uint64_t end = footer_at_ ? footer_at_ : layout_.table_end();
    const auto before = [&](uint64_t at) {
        if (at > begin) end = std::min(end, at);
    };
    before(layout_.header_offset);
    for (const uint32_t entry : layout_.table)
        if (entry != kUnused) before(uint64_t{entry} * kSector);
    for (size_t n = 0; n < header::kLocators; ++n) before(layout_.header->locator(n).offset);
    return end - begin;
}

/// What the file has behind the entries that were needed so far nobody has looked at.
io::Task<Result<>> DynamicImage::extend_table(uint64_t entries) {
    const uint64_t old = layout_.table.size(), room = std::max<uint64_t>(layout_.header->entries(), table_room() / 4);
    if (entries > room) co_return co_await move_table(entries);
    const std::vector<std::byte> unused((entries - old) * 4, std::byte{0xff});
    co_await or_return(co_await write_bytes(*file_, Bytes(layout_.header->table_offset() + old * 4), unused));
    co_await or_return(co_await file_->sync());
    if (entries <= layout_.header->entries()) co_return Result<>{};
    layout_.header->set_table(layout_.header->table_offset(), static_cast<uint32_t>(entries));
    co_return co_await write_header();
}

/// To the file's end, with a footer behind it first.
io::Task<Result<>> DynamicImage::move_table(uint64_t entries) {
    co_await or_return(co_await end_at(next_));
    const uint64_t at = next_, bytes = whole_sectors(entries * 4);
    co_await or_return(co_await write_bytes(*file_, Bytes(at + bytes), layout_.footer.raw));
    co_await or_return(co_await file_->sync());
    footer_at_ = at + bytes;
    next_ = at + bytes;
    std::vector<std::byte> table(bytes, std::byte{0xff});
    for (size_t n = 0; n < layout_.table.size(); ++n) store_be(&table[n * 4], layout_.table[n]);
    for (uint64_t done = 0; done < bytes; done += kChunk) {
        const auto part = std::span<const std::byte>(table).subspan(done, std::min(kChunk, bytes - done));
        co_await or_return(co_await write_bytes(*file_, Bytes(at + done), part));
    }
    co_await or_return(co_await file_->sync());
    layout_.header->set_table(at, static_cast<uint32_t>(entries));
    co_return co_await write_header();
}

/// Its first sector holds all that changes.
io::Task<Result<>> DynamicImage::write_header() {
    const std::span<const std::byte> sector = std::span<const std::byte>(layout_.header->raw).first(kSector);
    co_await or_return(co_await write_bytes(*file_, Bytes(layout_.header_offset), sector));
    co_return co_await file_->sync();
}

}  // namespace yado::storage::vhd
