#include "storage/vmdk/layout.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "base/bytes.h"

namespace yado::storage::vmdk {

using io::or_return;

namespace {

using Header = std::array<std::byte, kSector>;

std::unexpected<Error> corrupt(const ImageFile& file, std::string_view what) {
    return fail(ErrorKind::Corrupt, "disk {}: not a sound VMDK: {}", file.name(), what);
}
bool has_text(const std::byte* at, std::string_view text) { return std::memcmp(at, text.data(), text.size()) == 0; }

/// Whether [sector, sector + bytes) lies inside the file.
bool inside(const ImageFile& file, uint64_t sector, uint64_t bytes) {
    const uint64_t size = file.size().value();
    return sector <= size / kSector && bytes <= size - sector * kSector;
}

std::string_view next_line(std::string_view& text) {
    const size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ' || line.back() == '\t')) line.remove_suffix(1);
    return line;
}

std::string unquoted(std::string_view value) {
    const size_t first = value.find_first_not_of(" \t\"");
    if (first == std::string_view::npos) return {};
    return std::string(value.substr(first, value.find_last_not_of(" \t\"") - first + 1));
}

Result<> check_magic(const ImageFile& file, const Header& h) {
    if (has_text(h.data(), kDescriptorMagic))
        return fail(ErrorKind::Failed,
                    "disk {}: a VMDK that is a list of other files, which are not opened; make it one file first (monolithicSparse)",
                    file.name());
    if (has_text(h.data(), "COWD")) return fail(ErrorKind::Failed, "disk {}: an ESX sparse VMDK, which is not supported", file.name());
    if (!has_text(h.data(), kMagic)) return corrupt(file, "no VMDK signature at its start");
    return {};
}

Result<> parse_header(const ImageFile& file, const Header& h, Layout& layout) {
    const uint32_t flags = load_le<uint32_t>(&h[header::kFlags]);
    layout.version = load_le<uint32_t>(&h[header::kVersion]);
    layout.table_entries = load_le<uint32_t>(&h[header::kNumGTEsPerGT]);
    layout.zeroed_grains = flags & header::kZeroedGrains;
    layout.compressed = flags & header::kCompressed;
    layout.unclean = h[header::kUncleanShutdown] != std::byte{0};
    const uint64_t capacity = load_le<uint64_t>(&h[header::kCapacity]), grain = load_le<uint64_t>(&h[header::kGrainSize]);
    if (layout.version < 1 || layout.version > 3)
        return fail(ErrorKind::Failed, "disk {}: VMDK version {}: 1 to 3 are known", file.name(), layout.version);
    if (!has_text(&h[header::kLineEnds], header::kLineEndText)) return corrupt(file, "its line ends were changed, as by a transfer as text");
    if (layout.compressed && load_le<uint16_t>(&h[header::kCompressAlgorithm]) != header::kDeflate)
        return fail(ErrorKind::Failed, "disk {}: compressed in a way that is not known", file.name());
    if (!std::has_single_bit(grain) || grain < kSmallestGrain || grain > kLargestGrain)
        return corrupt(file, fmt::format("grains of {} sectors", grain));
    if (layout.table_entries == 0 || layout.table_entries > kMostTableEntries)
        return corrupt(file, fmt::format("grain tables of {} entries", layout.table_entries));
    if (capacity == 0 || capacity > kMostTables * layout.table_entries * grain)
        return corrupt(file, fmt::format("a size of {} sectors", capacity));
    layout.capacity = capacity * kSector;
    layout.grain = grain * kSector;
    return {};
}

/// Only what is whole in this one file is read.
Result<> check_descriptor(const ImageFile& file, const Descriptor& d) {
    const auto refuse = [&](std::string_view what) {
        return fail(ErrorKind::Failed, "disk {}: {}, which is not supported; make it one file first", file.name(), what);
    };
    if (d.create_type != "monolithicSparse" && d.create_type != "streamOptimized")
        return refuse(fmt::format("a VMDK of the type \"{}\"", d.create_type));
    if (d.extents != 1 || !d.sparse) return refuse(fmt::format("a VMDK of {} extents or of other kinds of them", d.extents));
    if (!d.parent_content_id.empty() && d.parent_content_id != "ffffffff") return refuse("a VMDK with a parent");
    return {};
}

io::Task<Result<>> load_descriptor(ImageFile& file, const Header& h, Layout& layout) {
    const uint64_t sector = load_le<uint64_t>(&h[header::kDescriptorOffset]), sectors = load_le<uint64_t>(&h[header::kDescriptorSize]);
    if (sector == 0 || sectors == 0)
        co_return fail(ErrorKind::Failed, "disk {}: one of the files of a VMDK of several, which is not supported", file.name());
    if (sectors > kLongestDescriptor / kSector || !inside(file, sector, sectors * kSector))
        co_return corrupt(file, fmt::format("a descriptor of {} sectors at {}", sectors, sector));
    std::string text(sectors * kSector, '\0');
    co_await or_return(co_await read_bytes(file, Bytes(sector * kSector), std::as_writable_bytes(std::span(text))));
    text.resize(std::strlen(text.c_str()));
    layout.descriptor = parse_descriptor(text);
    co_return check_descriptor(file, layout.descriptor);
}

/// The header says it, or, where the file was written in one go, the footer.
io::Task<Result<uint64_t>> find_directory(ImageFile& file, const Header& h) {
    const uint64_t at = load_le<uint64_t>(&h[header::kGdOffset]);
    if (at != kGdAtEnd) co_return at;
    if (file.size().value() < kFooterFromEnd + kSector) co_return corrupt(file, "no room for its footer");
    Header footer;
    co_await or_return(co_await read_bytes(file, Bytes(file.size().value() / kSector * kSector - kFooterFromEnd), footer));
    const auto same = [&](size_t field, size_t size) { return std::memcmp(&h[field], &footer[field], size) == 0; };
    if (!has_text(footer.data(), kMagic) || !same(header::kCapacity, 16) || !same(header::kNumGTEsPerGT, 4))
        co_return corrupt(file, "no footer like its header (cut off?)");
    co_return load_le<uint64_t>(&footer[header::kGdOffset]);
}

}  // namespace

Descriptor parse_descriptor(std::string_view text) {
    Descriptor d;
    while (!text.empty()) {
        const std::string_view line = next_line(text);
        const size_t equals = line.find('=');
        if (line.starts_with("RW ") || line.starts_with("RDONLY ") || line.starts_with("NOACCESS ")) {
            ++d.extents;
            d.sparse = d.sparse && line.find(" SPARSE ") != std::string_view::npos;
        } else if (equals != std::string_view::npos && !line.starts_with('#')) {
            const std::string key = unquoted(line.substr(0, equals));
            if (key == "createType") d.create_type = unquoted(line.substr(equals + 1));
            if (key == "CID") d.content_id = unquoted(line.substr(equals + 1));
            if (key == "parentCID") d.parent_content_id = unquoted(line.substr(equals + 1));
        }
    }
    for (std::string* value : {&d.create_type, &d.content_id, &d.parent_content_id})
        std::ranges::replace_if(*value, [](char c) { return c < ' ' || c > '~'; }, '?');
    return d;
}

io::Task<Result<Layout>> load_layout(ImageFile& file) {
    Layout layout;
    Header h{};
    const size_t length = std::min<uint64_t>(file.size().value(), h.size());
    co_await or_return(co_await read_bytes(file, Bytes(0), std::span(h).first(length)));
    co_await or_return(check_magic(file, h));
    co_await or_return(parse_header(file, h, layout));
    co_await or_return(co_await load_descriptor(file, h, layout));
    const uint64_t directory = co_await or_return(co_await find_directory(file, h));
    if (directory == 0 || !inside(file, directory, layout.tables() * 4))
        co_return corrupt(file, fmt::format("a grain directory at sector {}", directory));
    layout.directory_offset = directory * kSector;
    layout.directory.resize(layout.tables());
    co_await or_return(co_await read_bytes(file, Bytes(layout.directory_offset), std::as_writable_bytes(std::span(layout.directory))));
    co_return layout;
}

io::Task<Result<std::vector<uint32_t>>> load_table(ImageFile& file, const Layout& layout, uint64_t n) {
    std::vector<uint32_t> table;
    const uint64_t sector = layout.directory[n];
    if (sector == 0) co_return table;
    table.resize(layout.table_entries);
    const std::span<std::byte> bytes = std::as_writable_bytes(std::span(table));
    if (!inside(file, sector, bytes.size())) co_return corrupt(file, fmt::format("a grain table at sector {}, behind its end", sector));
    co_await or_return(co_await read_bytes(file, Bytes(sector * kSector), bytes));
    co_return table;
}

}  // namespace yado::storage::vmdk
