#include "machine/acpi/aml.h"

#include "base/bytes.h"
#include "base/check.h"

namespace yado::machine::acpi::aml {

namespace {

constexpr char kZeroOp = 0x00, kOneOp = 0x01, kNameOp = 0x08, kBytePrefix = 0x0a, kWordPrefix = 0x0b, kDWordPrefix = 0x0c,
               kStringPrefix = 0x0d, kQWordPrefix = 0x0e, kScopeOp = 0x10, kBufferOp = 0x11, kPackageOp = 0x12, kMethodOp = 0x14,
               kDualNamePrefix = 0x2e, kMultiNamePrefix = 0x2f, kExtOpPrefix = 0x5b, kLocal0Op = 0x60, kArg0Op = 0x68, kStoreOp = 0x70, kAndOp = 0x7b, kOrOp = 0x7d,
               kCreateDWordFieldOp = static_cast<char>(0x8a), kLNotOp = static_cast<char>(0x92), kLEqualOp = static_cast<char>(0x93), kIfOp = static_cast<char>(0xa0),
               kReturnOp = static_cast<char>(0xa4);
constexpr char kDeviceExtOp = static_cast<char>(0x82);

template <typename T>
Bytes raw(T value) {
    char b[sizeof(T)];
    store_le(b, value);
    return Bytes(b, sizeof(T));
}

/// PkgLength counts itself (20.2.4).
Bytes with_length(const Bytes& contents) {
    const size_t n = contents.size();
    if (n + 1 < 0x40) return Bytes(1, static_cast<char>(n + 1)) + contents;
    const unsigned more = n + 2 < 0x1000 ? 1 : n + 3 < 0x100000 ? 2 : 3;
    const size_t total = n + 1 + more;
    YADO_CHECK(total < 0x10000000);
    Bytes out(1, static_cast<char>(more << 6 | (total & 0xf)));
    for (unsigned i = 0; i < more; ++i) out += static_cast<char>(total >> (4 + 8 * i) & 0xff);
    return out + contents;
}

Bytes join(std::initializer_list<Bytes> terms) {
    Bytes all;
    for (const Bytes& t : terms) all += t;
    return all;
}

/// Large resource item header: type, length of what follows (6.4.3).
Bytes large(uint8_t type, const Bytes& body) { return Bytes(1, static_cast<char>(type)) + raw<uint16_t>(body.size()) + body; }

/// Address space descriptor of width T (6.4.3.5): producer, positive decode, fixed minimum and maximum.
template <typename T>
Bytes address_space(uint8_t tag, uint8_t resource_type, uint8_t type_flags, T first, T last) {
    constexpr uint8_t kMinMaxFixed = 0x0c;
    return large(tag, Bytes{static_cast<char>(resource_type), kMinMaxFixed, static_cast<char>(type_flags)} + raw<T>(0) + raw(first) +
                          raw(last) + raw<T>(0) + raw<T>(static_cast<T>(last - first + 1)));
}

constexpr uint8_t kWordAddress = 0x88, kDWordAddress = 0x87, kQWordAddress = 0x8a;
constexpr uint8_t kMemoryRange = 0, kIoRange = 1, kBusRange = 2;

}  // namespace

Bytes integer(uint64_t v) {
    if (v == 0) return Bytes(1, kZeroOp);
    if (v == 1) return Bytes(1, kOneOp);
    if (v <= 0xff) return Bytes(1, kBytePrefix) + raw<uint8_t>(v);
    if (v <= 0xffff) return Bytes(1, kWordPrefix) + raw<uint16_t>(v);
    if (v <= 0xffffffff) return Bytes(1, kDWordPrefix) + raw<uint32_t>(v);
    return Bytes(1, kQWordPrefix) + raw(v);
}

Bytes text(std::string_view s) { return Bytes(1, kStringPrefix) + Bytes(s) + Bytes(1, '\0'); }

Bytes buffer(const Bytes& contents) { return Bytes(1, kBufferOp) + with_length(integer(contents.size()) + contents); }

Bytes package(const std::vector<Bytes>& elements) {
    YADO_CHECK(elements.size() <= 255);
    Bytes body(1, static_cast<char>(elements.size()));
    for (const Bytes& e : elements) body += e;
    return Bytes(1, kPackageOp) + with_length(body);
}
Bytes package(std::initializer_list<Bytes> elements) { return package(std::vector<Bytes>(elements)); }

Bytes eisa_id(std::string_view id) {
    YADO_CHECK(id.size() == 7);
    const auto letter = [&](int n) { return static_cast<uint32_t>(id[n] - 0x40) & 0x1f; };
    const uint32_t vendor = letter(0) << 10 | letter(1) << 5 | letter(2);
    const uint32_t product = static_cast<uint32_t>(std::stoul(std::string(id.substr(3)), nullptr, 16));
    return Bytes(1, kDWordPrefix) + raw(std::byteswap(vendor << 16 | product));
}

Bytes name_string(std::string_view path) {
    Bytes out;
    if (path.starts_with('\\')) {
        out = "\\";
        path.remove_prefix(1);
    }
    std::vector<std::string> segments;
    while (!path.empty()) {
        const size_t dot = std::min(path.find('.'), path.size());
        std::string segment(path.substr(0, dot));
        YADO_CHECK(!segment.empty() && segment.size() <= 4);
        segment.resize(4, '_');
        segments.push_back(segment);
        path.remove_prefix(std::min(dot + 1, path.size()));
    }
    if (segments.size() == 2) out += kDualNamePrefix;
    if (segments.size() > 2) out += Bytes(1, kMultiNamePrefix) + static_cast<char>(segments.size());
    for (const auto& s : segments) out += s;
    return out;
}

Bytes name(std::string_view path, const Bytes& value) { return Bytes(1, kNameOp) + name_string(path) + value; }
Bytes scope(std::string_view path, const Bytes& terms) { return Bytes(1, kScopeOp) + with_length(name_string(path) + terms); }
Bytes scope(std::string_view path, std::initializer_list<Bytes> terms) { return scope(path, join(terms)); }
Bytes device(std::string_view path, std::initializer_list<Bytes> terms) {
    return Bytes{kExtOpPrefix, kDeviceExtOp} + with_length(name_string(path) + join(terms));
}
Bytes method(std::string_view path, unsigned arguments, const Bytes& body) {
    return Bytes(1, kMethodOp) + with_length(name_string(path) + Bytes(1, static_cast<char>(arguments)) + body);
}
Bytes return_value(const Bytes& value) { return Bytes(1, kReturnOp) + value; }
Bytes argument(unsigned n) { return Bytes(1, static_cast<char>(kArg0Op + n)); }
Bytes store(const Bytes& value, const Bytes& target) { return Bytes(1, kStoreOp) + value + target; }
Bytes if_equal(const Bytes& left, const Bytes& right, const Bytes& body) {
    return Bytes(1, kIfOp) + with_length(Bytes(1, kLEqualOp) + left + right + body);
}
Bytes if_unequal(const Bytes& left, const Bytes& right, const Bytes& body) {
    return Bytes(1, kIfOp) + with_length(Bytes{kLNotOp, kLEqualOp} + left + right + body);
}
Bytes local(unsigned n) { return Bytes(1, static_cast<char>(kLocal0Op + n)); }
Bytes bit_and(const Bytes& left, const Bytes& right, const Bytes& target) { return Bytes(1, kAndOp) + left + right + target; }
Bytes bit_or(const Bytes& left, const Bytes& right, const Bytes& target) { return Bytes(1, kOrOp) + left + right + target; }
Bytes dword_field(const Bytes& source, unsigned offset, std::string_view field) {
    return Bytes(1, kCreateDWordFieldOp) + source + integer(offset) + name_string(field);
}

Bytes io_ports(uint16_t first, uint16_t last, uint8_t length) {  // 6.4.2.5
    return Bytes{0x47, 1} + raw(first) + raw(last) + Bytes{1, static_cast<char>(length)};
}
Bytes irq(uint16_t number) { return Bytes(1, 0x22) + raw<uint16_t>(1u << number); }  // 6.4.2.1, no flags: edge, high
Bytes memory32(uint32_t base, uint32_t length) { return large(0x86, Bytes(1, 1) + raw(base) + raw(length)); }  // 6.4.3.4
Bytes bus_range(uint16_t first, uint16_t last) { return address_space<uint16_t>(kWordAddress, kBusRange, 0, first, last); }
Bytes io_range(uint16_t first, uint16_t last) { return address_space<uint16_t>(kWordAddress, kIoRange, 3, first, last); }
Bytes memory_range32(uint32_t first, uint32_t last) { return address_space<uint32_t>(kDWordAddress, kMemoryRange, 1, first, last); }
Bytes memory_range64(uint64_t first, uint64_t last) { return address_space<uint64_t>(kQWordAddress, kMemoryRange, 1, first, last); }
Bytes resources(std::initializer_list<Bytes> descriptors) { return buffer(join(descriptors) + Bytes{0x79, 0}); }  // end tag, no checksum

}  // namespace yado::machine::acpi::aml
