// The stub: registers, memory, breakpoints.
#include <algorithm>

#include "base/bytes.h"
#include "base/units.h"
#include "gdb/packet.h"
#include "gdb/stub.h"

namespace yado::gdb {

namespace {

constexpr size_t kMaxRead = kMaxPayload / 2;

/// "ADDRESS,LENGTH" at the front of the arguments.
struct Range {
    uint64_t address;
    uint64_t length;
};
std::optional<Range> parse_range(Arguments& a) {
    const auto address = a.number();
    if (!address || !a.skip(",")) return {};
    const auto length = a.number();
    if (!length) return {};
    return Range{*address, *length};
}

/// "ADDRESS,LENGTH:" and then LENGTH bytes.
std::optional<Range> parse_write(Arguments& a) {
    const auto range = parse_range(a);
    return range && a.skip(":") ? range : std::nullopt;
}

std::optional<cpu::WatchKind> watch_kind(uint64_t type) {
    switch (type) {
    case 2: return cpu::WatchKind::Write;
    case 3: return cpu::WatchKind::Read;
    case 4: return cpu::WatchKind::Access;
    default: return {};
    }
}

/// "TYPE,ADDRESS,KIND" of Z and z; conditions are not announced and not taken.
struct Break {
    uint64_t type;
    uint64_t address;
    uint64_t kind;  ///< the length of what is watched
};
std::optional<Break> parse_break(std::string_view text) {
    Arguments a(text);
    const auto type = a.number();
    if (!type || !a.skip(",")) return {};
    const auto range = parse_range(a);
    if (!range || !a.empty()) return {};
    return Break{*type, range->address, range->length};
}

constexpr uint64_t kMaxType = 4, kMaxCodeType = 1;

}  // namespace

// --- registers ----------------------------------------------------------------------------------------------------------------

void Stub::read_registers(std::string_view) {
    const auto state = port_.state(chosen_);
    if (!state) return answer(std::unexpected(state.error()));
    std::string text;
    for (const Register* r : registers_.all()) text += to_hex(value_of(*state, *r));
    send_(text);
}

/// As many registers as the packet holds.
void Stub::write_registers(std::string_view arguments) {
    const auto bytes = hex_bytes(arguments);
    auto state = port_.state(chosen_);
    if (!bytes) return malformed();
    if (!state) return answer(std::unexpected(state.error()));
    size_t at = 0;
    for (const Register* r : registers_.all()) {
        if (bytes->size() - at < r->bits / 8) break;
        if (const auto set = r->access->set(*state, r->index, bytes->data() + at); !set) return answer(set);
        at += r->bits / 8;
    }
    answer(port_.set_state(chosen_, *state));
}

void Stub::read_register(std::string_view arguments) {
    const auto number = hex_number(arguments);
    const Register* r = number ? registers_.find(*number) : nullptr;
    if (!r) return malformed();
    const auto state = port_.state(chosen_);
    if (!state) return answer(std::unexpected(state.error()));
    send_(to_hex(value_of(*state, *r)));
}

void Stub::write_register(std::string_view arguments) {
    Arguments a(arguments);
    const auto number = a.number();
    const Register* r = number && a.skip("=") ? registers_.find(*number) : nullptr;
    const auto bytes = hex_bytes(a.rest());
    if (!r || !bytes || bytes->size() != r->bits / 8) return malformed();
    auto state = port_.state(chosen_);
    if (!state) return answer(std::unexpected(state.error()));
    if (const auto set = r->access->set(*state, r->index, bytes->data()); !set) return answer(set);
    answer(port_.set_state(chosen_, *state));
}

// --- memory -------------------------------------------------------------------------------------------------------------------

Result<> Stub::read_at(uint64_t address, std::span<std::byte> out) {
    if (physical_) return port_.read_physical(GuestPhysAddr(address), out);
    return port_.read(chosen_, GuestLinearAddr(address), out);
}

Result<> Stub::write_at(uint64_t address, std::span<const std::byte> bytes) {
    if (physical_) return port_.write_physical(GuestPhysAddr(address), bytes);
    return port_.write(chosen_, GuestLinearAddr(address), bytes);
}

/// What can be read is answered; an error only if nothing can.
void Stub::read_memory(std::string_view arguments) {
    Arguments a(arguments);
    const auto range = parse_range(a);
    if (!range || !a.empty()) return malformed();
    std::vector<std::byte> bytes(std::min<uint64_t>(range->length, kMaxRead));
    size_t done = 0;
    while (done < bytes.size()) {
        const uint64_t at = range->address + done;
        const auto piece = std::span(bytes).subspan(done, std::min<size_t>(bytes.size() - done, kPageSize - (at & kPageMask)));
        const auto read = read_at(at, piece);
        if (!read && done == 0) return answer(read);
        if (!read) break;
        done += piece.size();
    }
    send_(to_hex(std::span(bytes).first(done)));
}

void Stub::write_memory(std::string_view arguments) {
    Arguments a(arguments);
    const auto range = parse_write(a);
    const auto bytes = hex_bytes(a.rest());
    if (!range || !bytes || bytes->size() != range->length) return malformed();
    answer(write_at(range->address, *bytes));
}

void Stub::write_binary(std::string_view arguments) {
    Arguments a(arguments);
    const auto range = parse_write(a);
    if (!range || a.rest().size() != range->length) return malformed();
    answer(write_at(range->address, std::as_bytes(std::span(a.rest()))));
}

// --- breakpoints --------------------------------------------------------------------------------------------------------------

void Stub::insert(std::string_view arguments) {
    const auto b = parse_break(arguments);
    if (!b) return malformed();
    if (b->type > kMaxType) return unsupported();
    if (b->type <= kMaxCodeType) return answer(insert_code(b->address, static_cast<unsigned>(b->type)));
    const cpu::Watchpoint watch{GuestLinearAddr(b->address), Bytes(b->kind), *watch_kind(b->type)};
    const auto added = port_.add_watchpoint(watch);
    if (added && std::ranges::find(watches_, watch) == watches_.end()) watches_.push_back(watch);
    answer(added);
}

void Stub::remove(std::string_view arguments) {
    const auto b = parse_break(arguments);
    if (!b) return malformed();
    if (b->type > kMaxType) return unsupported();
    if (b->type <= kMaxCodeType) {
        remove_code(b->address, static_cast<unsigned>(b->type));
        return done();
    }
    const cpu::Watchpoint watch{GuestLinearAddr(b->address), Bytes(b->kind), *watch_kind(b->type)};
    port_.remove_watchpoint(watch);
    std::erase(watches_, watch);
    done();
}

/// Software and hardware breakpoints are the same to the engines: none writes into the guest's memory.
Result<> Stub::insert_code(uint64_t address, unsigned type) {
    YADO_TRY(port_.add_breakpoint(GuestLinearAddr(address)));
    code_breaks_[address] |= static_cast<uint8_t>(1u << type);
    return {};
}

void Stub::remove_code(uint64_t address, unsigned type) {
    const auto at = code_breaks_.find(address);
    if (at == code_breaks_.end()) return;
    at->second &= static_cast<uint8_t>(~(1u << type));
    if (at->second != 0) return;
    code_breaks_.erase(at);
    port_.remove_breakpoint(GuestLinearAddr(address));
}

}  // namespace yado::gdb
