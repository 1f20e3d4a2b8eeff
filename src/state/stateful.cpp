#include "state/stateful.h"

#include <array>
#include <set>

#include "base/bytes.h"

namespace yado::state {

namespace {

constexpr std::string_view kMagic = "YADOSTA1";
constexpr uint32_t kMaxName = 256;
constexpr uint32_t kMaxPayload = 64u << 20;
constexpr uint32_t kMaxRecords = 65'536;

// CRC-32C (Castagnoli), bit-reflected polynomial 0x82f63b78.
constexpr std::array<uint32_t, 256> crc_table() {
    std::array<uint32_t, 256> table{};
    for (uint32_t i = 0; i < 256; ++i) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; ++bit) c = c & 1 ? c >> 1 ^ 0x82f63b78u : c >> 1;
        table[i] = c;
    }
    return table;
}

uint32_t crc32c(std::string_view bytes) {
    static constexpr auto kTable = crc_table();
    uint32_t c = ~0u;
    for (const char b : bytes) c = kTable[(c ^ static_cast<uint8_t>(b)) & 0xff] ^ c >> 8;
    return ~c;
}

void put_u32(std::string& out, uint32_t v) {
    char raw[4];
    store_le(raw, v);
    out.append(raw, 4);
}

/// Reads bounded pieces off the front of a stream.
class Cursor {
  public:
    explicit Cursor(std::string_view s) : rest_(s) {}
    Result<std::string_view> take(size_t n) {
        if (n > rest_.size()) return fail(ErrorKind::Corrupt, "saved state: truncated");
        const auto piece = rest_.substr(0, n);
        rest_.remove_prefix(n);
        return piece;
    }
    Result<uint32_t> u32() { return load_le<uint32_t>(YADO_TRY(take(4)).data()); }
    bool empty() const { return rest_.empty(); }

  private:
    std::string_view rest_;
};

}  // namespace

Record make_record(const Stateful& thing, const google::protobuf::MessageLite& message) {
    return Record{thing.state_name(), thing.state_version(), message.SerializeAsString()};
}

Result<> parse_record(const Record& record, google::protobuf::MessageLite& message) {
    if (!message.ParseFromString(record.payload))
        return fail(ErrorKind::Corrupt, "saved state of {}: not a valid message", record.name);
    return {};
}

std::string encode(std::span<const Record> records) {
    std::string out(kMagic);
    for (const Record& r : records) {
        std::string body;
        put_u32(body, static_cast<uint32_t>(r.name.size()));
        body += r.name;
        put_u32(body, r.version);
        body += r.payload;
        put_u32(out, static_cast<uint32_t>(body.size()));
        put_u32(out, crc32c(body));
        out += body;
    }
    put_u32(out, 0);  // end
    return out;
}

Result<std::vector<Record>> decode(std::string_view stream) {
    Cursor in(stream);
    if (YADO_TRY(in.take(kMagic.size())) != kMagic)
        return fail(ErrorKind::Corrupt, "saved state: not a state stream of this format");
    std::vector<Record> records;
    std::set<std::string> names;
    while (true) {
        const uint32_t size = YADO_TRY(in.u32());
        if (size == 0) break;
        if (size > kMaxPayload + kMaxName + 8 || records.size() == kMaxRecords)
            return fail(ErrorKind::Corrupt, "saved state: record {} is too large or one too many", records.size());
        const uint32_t crc = YADO_TRY(in.u32());
        const std::string_view body = YADO_TRY(in.take(size));
        if (crc32c(body) != crc) return fail(ErrorKind::Corrupt, "saved state: record {}: wrong checksum", records.size());
        Cursor record(body);
        const uint32_t name_size = YADO_TRY(record.u32());
        if (name_size == 0 || name_size > kMaxName)
            return fail(ErrorKind::Corrupt, "saved state: record {}: bad name", records.size());
        Record r;
        r.name = YADO_TRY(record.take(name_size));
        r.version = YADO_TRY(record.u32());
        r.payload = body.substr(4 + name_size + 4);
        if (!names.insert(r.name).second)
            return fail(ErrorKind::Corrupt, "saved state: {} appears twice", r.name);
        records.push_back(std::move(r));
    }
    if (!in.empty()) return fail(ErrorKind::Corrupt, "saved state: bytes after the end");
    return records;
}

}  // namespace yado::state
