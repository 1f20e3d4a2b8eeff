#include "gdb/packet.h"

#include <fmt/core.h>

#include "gdb/text.h"

namespace yado::gdb {

namespace {

constexpr char kEscape = '}', kEscapeBit = 0x20, kInterrupt = 3;

uint8_t checksum(std::string_view payload) {
    uint8_t sum = 0;
    for (const char c : payload) sum = static_cast<uint8_t>(sum + static_cast<uint8_t>(c));
    return sum;
}

}  // namespace

std::optional<Item> PacketReader::next() {
    if (buffer_.empty()) return {};
    switch (buffer_[0]) {
    case '+': return take(1, ItemKind::Ack);
    case '-': return take(1, ItemKind::Nack);
    case kInterrupt: return take(1, ItemKind::Interrupt);
    case '$': return next_packet();
    default: return Item{ItemKind::Garbage, {}};
    }
}

Item PacketReader::take(size_t bytes, ItemKind kind) {
    buffer_.erase(0, bytes);
    return {kind, {}};
}

std::optional<Item> PacketReader::next_packet() {
    const size_t end = buffer_.find('#');
    if (end > kMaxPayload && buffer_.size() > kMaxPayload) return Item{ItemKind::Garbage, {}};
    if (end == buffer_.npos || buffer_.size() < end + 3) return {};
    const std::string_view payload(buffer_.data() + 1, end - 1);
    const auto sum = hex_number(std::string_view(buffer_).substr(end + 1, 2));
    if (!sum || *sum != checksum(payload)) return take(end + 3, ItemKind::BadPacket);
    std::string plain = unescape(payload);
    Item item = take(end + 3, ItemKind::Packet);
    item.payload = std::move(plain);
    return item;
}

std::string frame(std::string_view payload) { return fmt::format("${}#{:02x}", payload, checksum(payload)); }

std::string escape(std::string_view bytes) {
    std::string out;
    for (const char c : bytes) {
        if (c == '#' || c == '$' || c == kEscape || c == '*') {
            out += kEscape;
            out += static_cast<char>(c ^ kEscapeBit);
        } else {
            out += c;
        }
    }
    return out;
}

std::string unescape(std::string_view bytes) {
    std::string out;
    for (size_t i = 0; i < bytes.size(); ++i) {
        const bool escaped = bytes[i] == kEscape && i + 1 < bytes.size();
        out += escaped ? static_cast<char>(bytes[++i] ^ kEscapeBit) : bytes[i];
    }
    return out;
}

}  // namespace yado::gdb
