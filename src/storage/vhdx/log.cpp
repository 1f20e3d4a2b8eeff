#include "storage/vhdx/log.h"

#include <algorithm>
#include <cstring>

#include "storage/vhdx/crc32c.h"

namespace yado::storage::vhdx {

using io::or_return;

namespace {

bool has_text(const std::byte* at, const char* text) { return std::memcmp(at, text, 4) == 0; }

/// A valid entry: all of its bytes, and what its header says.
struct Entry {
    uint64_t position = 0;
    std::vector<std::byte> bytes;

    uint64_t length() const { return bytes.size(); }
    uint32_t tail() const { return load_le<uint32_t>(&bytes[log::kTail]); }
    uint64_t sequence() const { return load_le<uint64_t>(&bytes[log::kSequence]); }
    uint32_t descriptors() const { return load_le<uint32_t>(&bytes[log::kDescriptorCount]); }
    const std::byte* descriptor(uint32_t n) const { return &bytes[log::kHeaderSize + n * log::kDescriptorSize]; }
    uint64_t data_begin() const { return (log::kHeaderSize + descriptors() * log::kDescriptorSize + kLogSector - 1) / kLogSector * kLogSector; }
};

/// The ring, read whole. Each position is looked at once or twice; how many bytes are summed in all is bounded.
class Ring {
  public:
    Ring(std::vector<std::byte> bytes, const Uuid& guid) : bytes_(std::move(bytes)), guid_(guid), budget_(4 * bytes_.size()) {}

    uint64_t size() const { return bytes_.size(); }
    bool exhausted() const { return exhausted_; }

    /// 2.3.1: everything in the header, the descriptors and the data sectors agrees.
    std::optional<Entry> entry(uint64_t position) {
        const std::byte* at = &bytes_[position];
        const uint32_t length = load_le<uint32_t>(at + log::kEntryLength);
        if (!has_text(at, log::kSignature) || length == 0 || length % kLogSector || length > size()) return std::nullopt;
        if (Uuid::load(at + log::kLogGuid) != guid_ || load_le<uint32_t>(at + log::kTail) % kLogSector) return std::nullopt;
        const uint64_t sequence = load_le<uint64_t>(at + log::kSequence);
        if (sequence == 0 || sequence > kLargestSequence) return std::nullopt;
        if (length > budget_) {
            exhausted_ = true;
            return std::nullopt;
        }
        budget_ -= length;
        Entry entry{position, copy(position, length)};
        if (crc32c(entry.bytes, log::kChecksum) != load_le<uint32_t>(&entry.bytes[log::kChecksum]) || !check_descriptors(entry))
            return std::nullopt;
        return entry;
    }

  private:
    std::vector<std::byte> copy(uint64_t position, uint64_t length) const {
        std::vector<std::byte> out(length);
        const uint64_t first = std::min(length, size() - position);
        std::memcpy(out.data(), &bytes_[position], first);
        if (first < length) std::memcpy(&out[first], bytes_.data(), length - first);
        return out;
    }
    static bool check_descriptors(const Entry& entry) {
        const uint64_t count = entry.descriptors();
        if (count > (entry.length() - log::kHeaderSize) / log::kDescriptorSize) return false;
        uint64_t data = entry.data_begin();
        for (uint32_t n = 0; n < count; ++n) {
            const std::byte* d = entry.descriptor(n);
            const uint64_t offset = load_le<uint64_t>(d + log::kFileOffset);
            if (offset % kLogSector || offset >= kLargestFile || load_le<uint64_t>(d + log::kDescriptorSequence) != entry.sequence())
                return false;
            if (has_text(d, log::kZeroDescriptor)) {
                const uint64_t length = load_le<uint64_t>(d + log::kZeroLength);
                if (length % kLogSector || length > kLargestFile) return false;
                continue;
            }
            if (!has_text(d, log::kDataDescriptor) || data + kLogSector > entry.length()) return false;
            const std::byte* sector = &entry.bytes[data];
            const uint64_t sequence =
                uint64_t{load_le<uint32_t>(sector + log::kSequenceHigh)} << 32 | load_le<uint32_t>(sector + log::kSequenceLow);
            if (!has_text(sector, log::kDataSector) || sequence != entry.sequence()) return false;
            data += kLogSector;
        }
        return true;
    }

    std::vector<std::byte> bytes_;
    Uuid guid_;
    uint64_t budget_;
    bool exhausted_ = false;
};

/// The entries that follow one another from `position` on.
std::vector<Entry> sequence_at(Ring& ring, uint64_t position) {
    std::vector<Entry> entries;
    uint64_t bytes = 0;
    while (auto entry = ring.entry(position)) {
        if (!entries.empty() && entry->sequence() != entries.back().sequence() + 1) break;
        bytes += entry->length();
        if (bytes > ring.size()) break;
        position = (position + entry->length()) % ring.size();
        entries.push_back(std::move(*entry));
    }
    return entries;
}

void add_patches(const Entry& entry, std::vector<Patch>& patches) {
    uint64_t data = entry.data_begin();
    for (uint32_t n = 0; n < entry.descriptors(); ++n) {
        const std::byte* d = entry.descriptor(n);
        Patch patch{load_le<uint64_t>(d + log::kFileOffset), kLogSector, {}};
        if (has_text(d, log::kZeroDescriptor)) {
            patch.length = load_le<uint64_t>(d + log::kZeroLength);
        } else {
            const std::byte* sector = &entry.bytes[data];
            patch.data.resize(kLogSector);
            std::memcpy(&patch.data[0], d + log::kLeadingBytes, 8);
            std::memcpy(&patch.data[log::kData], sector + log::kData, log::kDataLength);
            std::memcpy(&patch.data[log::kSequenceLow], d + log::kTrailingBytes, 4);
            data += kLogSector;
        }
        patches.push_back(std::move(patch));
    }
}

/// 2.3.3. Positions only move on: each step ends a sequence or goes one sector further, so the ring is walked once.
Result<std::vector<Entry>> active_sequence(Ring& ring, const ImageFile& file) {
    std::vector<Entry> best;
    for (uint64_t position = 0; position < ring.size();) {
        std::vector<Entry> now = sequence_at(ring, position);
        if (ring.exhausted()) return fail(ErrorKind::Corrupt, "disk {}: damaged: its log is more work than an honest one", file.name());
        uint64_t length = 0;
        for (const Entry& entry : now) length += entry.length();
        position += std::max(length, kLogSector);
        if (now.empty() || (!best.empty() && now.back().sequence() <= best.back().sequence())) continue;
        const auto tail = std::ranges::find(now, uint64_t{now.back().tail()}, &Entry::position);
        if (tail == now.end()) continue;
        now.erase(now.begin(), tail);
        best = std::move(now);
    }
    if (best.empty()) return fail(ErrorKind::Corrupt, "disk {}: damaged: it has a log, and no valid entry in it", file.name());
    return best;
}

}  // namespace

io::Task<Result<Replay>> find_replay(ImageFile& file, const LogPlace& place) {
    std::vector<std::byte> bytes(place.length);
    co_await or_return(co_await read_bytes(file, Bytes(place.offset), bytes));
    Ring ring(std::move(bytes), place.guid);
    const std::vector<Entry> entries = co_await or_return(active_sequence(ring, file));
    Replay replay;
    for (const Entry& entry : entries) add_patches(entry, replay.patches);
    replay.flushed_size = load_le<uint64_t>(&entries.back().bytes[log::kFlushedFileOffset]);
    replay.last_size = load_le<uint64_t>(&entries.back().bytes[log::kLastFileOffset]);
    if (file.size().value() < replay.flushed_size)
        co_return fail(ErrorKind::Corrupt, "disk {}: cut off: {} bytes, and its log was written when it had {}", file.name(),
                       file.size().value(), replay.flushed_size);
    if (replay.last_size > file.size().value() + kMostGrowth)
        co_return fail(ErrorKind::Corrupt, "disk {}: damaged: its log makes it {} bytes long", file.name(), replay.last_size);
    const uint64_t end = std::max(replay.last_size, file.size().value());
    for (const Patch& patch : replay.patches)
        if (patch.offset < kHeaderSection && patch.offset < kRegionTableOffsets[0])
            co_return fail(ErrorKind::Corrupt, "disk {}: damaged: its log writes into the headers", file.name());
        else if (patch.offset > end || patch.length > end - patch.offset)
            co_return fail(ErrorKind::Corrupt, "disk {}: damaged: its log writes behind the file's end", file.name());
    co_return replay;
}

std::vector<std::byte> make_entry(const Uuid& log_guid, uint64_t sequence, uint32_t position, std::span<const Update> updates,
                                  uint64_t flushed_size, uint64_t last_size) {
    std::vector<std::byte> entry(entry_length(updates.size()));
    std::memcpy(&entry[0], log::kSignature, 4);
    store_le(&entry[log::kEntryLength], static_cast<uint32_t>(entry.size()));
    store_le(&entry[log::kTail], position);
    store_le(&entry[log::kSequence], sequence);
    store_le(&entry[log::kDescriptorCount], static_cast<uint32_t>(updates.size()));
    log_guid.store(&entry[log::kLogGuid]);
    store_le(&entry[log::kFlushedFileOffset], flushed_size);
    store_le(&entry[log::kLastFileOffset], last_size);
    std::byte* descriptor = &entry[log::kHeaderSize];
    std::byte* data = entry.data() + entry.size() - updates.size() * kLogSector;
    for (const Update& update : updates) {
        std::memcpy(descriptor, log::kDataDescriptor, 4);
        std::memcpy(descriptor + log::kTrailingBytes, &update.sector[log::kSequenceLow], 4);
        std::memcpy(descriptor + log::kLeadingBytes, &update.sector[0], 8);
        store_le(descriptor + log::kFileOffset, update.offset);
        store_le(descriptor + log::kDescriptorSequence, sequence);
        std::memcpy(data, log::kDataSector, 4);
        store_le(data + log::kSequenceHigh, static_cast<uint32_t>(sequence >> 32));
        std::memcpy(data + log::kData, &update.sector[log::kData], log::kDataLength);
        store_le(data + log::kSequenceLow, static_cast<uint32_t>(sequence));
        descriptor += log::kDescriptorSize;
        data += kLogSector;
    }
    store_le(&entry[log::kChecksum], crc32c(entry, log::kChecksum));
    return entry;
}

}  // namespace yado::storage::vhdx
