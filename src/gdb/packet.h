// The framing of GDB's remote protocol: `$payload#checksum`, acknowledged by + or -, and a bare 03H for Ctrl-C.
// GDB manual, appendix E.1. Pure: bytes in, items out.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace yado::gdb {

/// The longest payload in either direction, escapes included; what is longer ends the connection.
inline constexpr size_t kMaxPayload = 16 * 1024;

enum class ItemKind : uint8_t {
    Packet,
    BadPacket,  ///< its checksum is wrong
    Ack,
    Nack,
    Interrupt,
    Garbage,    ///< no protocol of ours: hang up. A browser that was made to talk to us ends here
};

struct Item {
    ItemKind kind = ItemKind::Garbage;
    std::string payload;  ///< Packet only, escapes undone
};

/// Cuts what the peer sends into items.
class PacketReader {
  public:
    void feed(std::string_view bytes) { buffer_ += bytes; }
    /// The next whole item. After Garbage nothing more makes sense.
    std::optional<Item> next();
    size_t buffered() const { return buffer_.size(); }

  private:
    std::optional<Item> next_packet();
    Item take(size_t bytes, ItemKind kind);
    std::string buffer_;
};

/// A payload of plain text (or escaped) as it goes over the wire.
std::string frame(std::string_view payload);
/// Binary data inside a payload.
std::string escape(std::string_view bytes);
std::string unescape(std::string_view bytes);

}  // namespace yado::gdb
