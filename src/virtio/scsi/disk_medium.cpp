// The medium: reading, writing, clearing, what is on the disk for certain, and the unit's own state.
#include <algorithm>
#include <cerrno>

#include "base/bytes.h"
#include "virtio/scsi/disk_commands.h"
#include "virtio/virtio.pb.h"

namespace yado::virtio {

namespace {

constexpr uint8_t kFua = 0x08, kUnmapBit = 0x08, kNdob = 0x01, kBytchk = 0x02;
constexpr size_t kChunk = 16 * 1024;  // of data that only we look at

/// What the initiator is told when the image fails.
ScsiFailure told(const Result<>& done, const Sense& otherwise) {
    if (done) return {};
    if (done.error().kind() == ErrorKind::Denied) return sense::kWriteProtected;
    const int number = done.error().number();
    const bool full = number == ENOSPC || number == EDQUOT || number == EFBIG;
    return full ? sense::kNoSpace : otherwise;
}

}  // namespace

ScsiDisk::ScsiDisk(block::DiskImage& image, Options options)
    : access_(image, options.attachment, options.id), options_(std::move(options)), attentions_{sense::kPowerOn.code()} {}

void ScsiDisk::reset(const Sense& why) {
    write_cache_ = true;
    stopped_ = false;
    attentions_ = {why.code()};
}

void ScsiDisk::attention(const Sense& sense) {
    if (std::ranges::find(attentions_, sense.code()) == attentions_.end()) attentions_.push_back(sense.code());
}

void ScsiDisk::resized() {
    access_.resized();
    attention(sense::kCapacityChanged);
}

io::Task<ScsiFailure> ScsiDisk::test_unit_ready(const Cdb&, Transfer&) { co_return ScsiFailure{}; }

io::Task<ScsiFailure> ScsiDisk::start_stop(const Cdb& cdb, Transfer&) {  // SBC-3 5.25
    constexpr uint8_t kStart = 0x01, kNoFlush = 0x04;
    const bool start = cdb[4] & kStart;
    if (!start && !(cdb[4] & kNoFlush))
        if (const ScsiFailure failure = co_await flush()) co_return failure;
    stopped_ = !start;
    co_return ScsiFailure{};
}

io::Task<ScsiFailure> ScsiDisk::flush() {
    if (access_.readonly()) co_return ScsiFailure{};
    const Result<> done = co_await access_.flush();
    co_return told(done, sense::kWriteError);
}

io::Task<ScsiFailure> ScsiDisk::made_stable(bool force) {
    if (force || !write_cache_) co_return co_await flush();
    co_return ScsiFailure{};
}

io::Task<ScsiFailure> ScsiDisk::read(const Cdb& cdb, Transfer& data) {
    const Blocks blocks = blocks_of(cdb);
    if (blocks.count == 0) co_return ScsiFailure{};
    const bool fua = cdb[0] >> 5 != 0 && (cdb[1] & kFua);
    if (fua && write_cache_)  // SBC-3 5.9: what the cache alone has goes to the medium first
        if (const ScsiFailure failure = co_await flush()) co_return failure;
    const std::vector<iovec> into = data.lend_in(blocks.bytes());
    const Result<> done = co_await access_.read(blocks.lba, into);
    data.arrived(blocks.bytes(), done);
    co_return told(done, sense::kReadError);
}

io::Task<ScsiFailure> ScsiDisk::write(const Cdb& cdb, Transfer& data) {
    const Blocks blocks = blocks_of(cdb);
    if (blocks.count == 0) co_return ScsiFailure{};
    const std::vector<iovec> from = data.lend_out(blocks.bytes());
    const Result<> done = co_await access_.write(blocks.lba, from);
    if (!done) co_return told(done, sense::kWriteError);
    data.left(blocks.bytes());
    co_return co_await made_stable(cdb[0] >> 5 != 0 && (cdb[1] & kFua));
}

io::Task<ScsiFailure> ScsiDisk::verify(const Cdb& cdb, Transfer& data) {
    const Blocks blocks = blocks_of(cdb);
    const bool compares = cdb[1] & kBytchk;
    std::vector<uint8_t> found(std::min<uint64_t>(blocks.bytes(), kChunk)), wanted(compares ? found.size() : 0);
    for (uint64_t at = 0; at < blocks.bytes(); at += kChunk) {
        const size_t length = std::min<uint64_t>(kChunk, blocks.bytes() - at);
        const iovec into{found.data(), length};
        const Result<> done = co_await access_.read(blocks.lba + at / DiskAccess::kSector, std::span(&into, 1));
        if (!done) co_return told(done, sense::kReadError);
        if (!compares) continue;
        data.receive(std::span(wanted).first(length));
        if (!std::equal(found.begin(), found.begin() + static_cast<ptrdiff_t>(length), wanted.begin())) co_return sense::kMiscompare;
    }
    co_return ScsiFailure{};
}

io::Task<ScsiFailure> ScsiDisk::synchronize_cache(const Cdb&, Transfer&) { co_return co_await flush(); }

io::Task<ScsiFailure> ScsiDisk::unmap(const Cdb& cdb, Transfer& data) {  // SBC-3 5.30
    constexpr size_t kHeader = 8, kDescriptor = 16;
    const auto length = load_be<uint16_t>(&cdb[7]);
    if (length == 0) co_return ScsiFailure{};
    if (length < kHeader) co_return sense::kListLength;
    std::array<uint8_t, kHeader> header;
    data.receive(header);
    const size_t count = load_be<uint16_t>(&header[2]) / kDescriptor;
    if (count * kDescriptor > length - kHeader) co_return sense::kListLength;
    if (count > kMaxUnmapDescriptors) co_return sense::kListField;
    std::vector<uint8_t> list(count * kDescriptor);
    data.receive(list);

    std::vector<Blocks> ranges;
    uint64_t all = 0;
    for (size_t i = 0; i < count; ++i) {
        const Blocks one{load_be<uint64_t>(&list[i * kDescriptor]), load_be<uint32_t>(&list[i * kDescriptor + 8])};
        if (!access_.inside(one.lba, one.bytes())) co_return sense::kOutOfRange;
        all += one.count;
        if (one.count) ranges.push_back(one);
    }
    if (all > DiskAccess::kMaxClearSectors) co_return sense::kListField;
    ++access_.counters.discards;
    for (const Blocks& one : ranges) {
        const Result<> done = co_await access_.discard(one.lba, one.count);
        if (!done) co_return told(done, sense::kWriteError);
    }
    co_return co_await made_stable(false);
}

io::Task<ScsiFailure> ScsiDisk::write_same(const Cdb& cdb, Transfer& data) {  // SBC-3 5.41
    const Blocks blocks = blocks_of(cdb);
    if (blocks.count == 0 || blocks.count > DiskAccess::kMaxClearSectors) co_return sense::cdb_field(cdb[0] >> 5 == 4 ? 10 : 7);
    std::array<uint8_t, DiskAccess::kSector> block{};
    if (!(cdb[1] & kNdob)) data.receive(block);
    if (std::ranges::any_of(block, [](uint8_t byte) { return byte != 0; })) co_return co_await write_pattern(blocks, block);
    ++access_.counters.discards;
    const Result<> done = co_await access_.write_zeroes(blocks.lba, blocks.count, cdb[1] & kUnmapBit);
    if (!done) co_return told(done, sense::kWriteError);
    co_return co_await made_stable(false);
}

/// The same block many times over: pieces that all lead to it, so that it costs no memory.
io::Task<ScsiFailure> ScsiDisk::write_pattern(Blocks blocks, std::span<uint8_t> block) {
    constexpr uint64_t kAtOnce = 256;
    const std::vector<iovec> pieces(std::min(blocks.count, kAtOnce), {block.data(), block.size()});
    for (uint64_t at = 0; at < blocks.count; at += kAtOnce) {
        const std::span<const iovec> from = std::span(pieces).first(std::min(kAtOnce, blocks.count - at));
        const Result<> done = co_await access_.write(blocks.lba + at, from);
        if (!done) co_return told(done, sense::kWriteError);
    }
    co_return co_await made_stable(false);
}

// ---- state ----

void ScsiDisk::save(pb::ScsiUnit& m) const {
    m.set_write_cache(write_cache_);
    m.set_stopped(stopped_);
    for (const uint16_t code : attentions_) m.add_attentions(code);
}

bool ScsiDisk::valid(const pb::ScsiUnit& m) {
    constexpr std::array kKnown{sense::kPowerOn.code(), sense::kUnitReset.code(), sense::kNexusLost.code(), sense::kCapacityChanged.code()};
    return static_cast<size_t>(m.attentions_size()) <= kKnown.size() &&
           std::ranges::all_of(m.attentions(), [&](uint32_t code) { return std::ranges::find(kKnown, code) != kKnown.end(); });
}

void ScsiDisk::load(const pb::ScsiUnit& m) {
    write_cache_ = m.write_cache();
    stopped_ = m.stopped();
    attentions_.clear();
    for (const uint32_t code : m.attentions()) attentions_.push_back(static_cast<uint16_t>(code));
}

}  // namespace yado::virtio
