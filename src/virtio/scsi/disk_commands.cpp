#include "virtio/scsi/disk_commands.h"

#include <algorithm>

#include "base/bytes.h"
#include "virtio/virtio.pb.h"

namespace yado::virtio {

namespace {
uint64_t number(const Cdb& cdb, unsigned at, unsigned size) {
    uint64_t value = 0;
    for (unsigned i = 0; i < size; ++i) value = value << 8 | cdb[at + i];
    return value;
}
constexpr uint8_t kDpoFua = 0x18, kBytchk = 0x02, kNdob = 0x01, kFF = 0xff;
}  // namespace

namespace {
/// Rows are written by these, so that a row of the table says only what is special about it.
template <typename Command>
struct Rows {
    using Data = typename Command::Data;
    using Handler = decltype(Command::handler);
    static constexpr uint16_t kNoAction = Command::kNoAction;

    static Command asks(Opcode opcode, uint16_t action, uint8_t length, typename Command::Field count, Handler handler, std::array<uint8_t, 16> usage) {
        return {opcode, action, length, Data::Allocation, count, false, false, false, false, handler, usage};
    }
    static Command first(Command row) {
        row.before_attention = true;
        return row;
    }
    static Command tells(Opcode opcode, uint8_t length, typename Command::Field count, Handler handler, std::array<uint8_t, 16> usage) {
        return {opcode, kNoAction, length, Data::List, count, false, false, false, false, handler, usage};
    }
    /// On blocks, with `flags` in byte 1: 10, 12 and 16 bytes long ones have their fields at the same places.
    static Command blocks(Opcode opcode, uint8_t length, uint8_t flags, Data data, bool writes, Handler handler) {
        Command row{opcode, kNoAction, length, data, {}, false, true, true, writes, handler, {0, flags}};
        const unsigned lba = length == 16 ? 8 : 4, count_at = length == 10 ? 7 : length == 12 ? 6 : 10, count = length == 10 ? 2 : 4;
        for (unsigned i = 0; i < lba; ++i) row.usage[2 + i] = kFF;
        for (unsigned i = 0; i < count; ++i) row.usage[count_at + i] = kFF;
        return row;
    }
    static Command plain(Opcode opcode, uint8_t length, Data data, bool medium, bool ranged, bool writes, Handler handler, std::array<uint8_t, 16> usage) {
        return {opcode, kNoAction, length, data, {}, false, medium, ranged, writes, handler, usage};
    }
};
}  // namespace

std::span<const ScsiDisk::Command> ScsiDisk::commands() {
    using R = Rows<Command>;
    using D = Command::Data;
    using enum Opcode;
    using S = ScsiDisk;
    constexpr uint16_t kNo = Command::kNoAction;
    static const std::array kTable{
        R::plain(TEST_UNIT_READY, 6, D::None, true, false, false, &S::test_unit_ready, {}),
        R::first(R::asks(REQUEST_SENSE, kNo, 6, {4, 1}, &S::request_sense, {0, 0, 0, 0, kFF})),
        R::plain(READ_6, 6, D::BlocksIn, true, true, false, &S::read, {0, 0x1f, kFF, kFF, kFF}),
        R::plain(WRITE_6, 6, D::BlocksOut, true, true, true, &S::write, {0, 0x1f, kFF, kFF, kFF}),
        R::first(R::asks(INQUIRY, kNo, 6, {3, 2}, &S::inquiry, {0, 0x01, kFF, kFF, kFF})),
        R::tells(MODE_SELECT_6, 6, {4, 1}, &S::mode_select, {0, 0x10, 0, 0, kFF}),
        R::asks(MODE_SENSE_6, kNo, 6, {4, 1}, &S::mode_sense, {0, 0x08, kFF, kFF, kFF}),
        R::plain(START_STOP_UNIT, 6, D::None, false, false, false, &S::start_stop, {0, 0x01, 0, 0, 0x05}),
        R::plain(READ_CAPACITY_10, 10, D::Capacity, true, false, false, &S::read_capacity_10, {}),
        R::blocks(READ_10, 10, kDpoFua, D::BlocksIn, false, &S::read),
        R::blocks(WRITE_10, 10, kDpoFua, D::BlocksOut, true, &S::write),
        R::blocks(VERIFY_10, 10, 0x10 | kBytchk, D::BlocksCompared, false, &S::verify),
        R::blocks(SYNCHRONIZE_CACHE_10, 10, 0x06, D::None, false, &S::synchronize_cache),
        R::blocks(WRITE_SAME_10, 10, 0x08, D::OneBlock, true, &S::write_same),
        R::plain(UNMAP, 10, D::List, true, false, true, &S::unmap, {0, 0, 0, 0, 0, 0, 0, kFF, kFF}),
        R::tells(MODE_SELECT_10, 10, {7, 2}, &S::mode_select, {0, 0x10, 0, 0, 0, 0, 0, kFF, kFF}),
        R::asks(MODE_SENSE_10, kNo, 10, {7, 2}, &S::mode_sense, {0, 0x18, kFF, kFF, 0, 0, 0, kFF, kFF}),
        R::blocks(READ_16, 16, kDpoFua, D::BlocksIn, false, &S::read),
        R::blocks(WRITE_16, 16, kDpoFua, D::BlocksOut, true, &S::write),
        R::blocks(VERIFY_16, 16, 0x10 | kBytchk, D::BlocksCompared, false, &S::verify),
        R::blocks(SYNCHRONIZE_CACHE_16, 16, 0x06, D::None, false, &S::synchronize_cache),
        R::blocks(WRITE_SAME_16, 16, 0x08 | kNdob, D::OneBlock, true, &S::write_same),
        R::asks(SERVICE_ACTION_IN_16, SAI_READ_CAPACITY_16, 16, {10, 4}, &S::read_capacity_16, {0, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0, kFF, kFF, kFF, kFF}),
        R::first(R::asks(REPORT_LUNS, kNo, 12, {6, 4}, &S::report_luns, {0, 0, kFF, 0, 0, 0, kFF, kFF, kFF, kFF})),
        R::asks(MAINTENANCE_IN, MI_REPORT_SUPPORTED_OPERATION_CODES, 12, {6, 4}, &S::report_opcodes,
                {0, 0x1f, 0x87, kFF, kFF, kFF, kFF, kFF, kFF, kFF}),
        R::blocks(READ_12, 12, kDpoFua, D::BlocksIn, false, &S::read),
        R::blocks(WRITE_12, 12, kDpoFua, D::BlocksOut, true, &S::write),
        R::blocks(VERIFY_12, 12, 0x10 | kBytchk, D::BlocksCompared, false, &S::verify),
    };
    return kTable;
}

bool ScsiDisk::has_actions(uint8_t opcode) { return opcode == std::to_underlying(Opcode::SERVICE_ACTION_IN_16) || opcode == std::to_underlying(Opcode::MAINTENANCE_IN); }

const ScsiDisk::Command* ScsiDisk::find(uint8_t opcode, uint16_t action) {
    const auto row = std::ranges::find_if(commands(), [&](const Command& c) { return std::to_underlying(c.opcode) == opcode && c.action == action; });
    return row == commands().end() ? nullptr : &*row;
}

const ScsiDisk::Command* ScsiDisk::find(const Cdb& cdb) { return find(cdb[0], has_actions(cdb[0]) ? cdb[1] & 0x1f : Command::kNoAction); }

ScsiDisk::Blocks ScsiDisk::blocks_of(const Cdb& cdb) {
    switch (cdb[0] >> 5) {  // SPC-4 4.2.5.1: the group of the opcode says how long the CDB is
    case 0: return {number(cdb, 1, 3) & 0x1fffff, cdb[4] ? cdb[4] : 256u};
    case 1:
    case 2: return {number(cdb, 2, 4), number(cdb, 7, 2)};
    case 4: return {number(cdb, 2, 8), number(cdb, 10, 4)};
    default: return {number(cdb, 2, 4), number(cdb, 6, 4)};
    }
}

ScsiAmount ScsiDisk::amount(const Cdb& cdb) {
    using D = Command::Data;
    const Command* command = find(cdb);
    if (!command) return {};
    const uint64_t field = number(cdb, command->count.at, command->count.size);
    switch (command->data) {
    case D::None: return {};
    case D::Allocation: return {.in = field};
    case D::List: return {.out = field};
    case D::Capacity: return {.in = 8};
    case D::BlocksIn: return {.in = blocks_of(cdb).bytes()};
    case D::BlocksOut: return {.out = blocks_of(cdb).bytes()};
    case D::BlocksCompared: return {.out = cdb[1] & kBytchk ? blocks_of(cdb).bytes() : 0};
    case D::OneBlock: return {.out = cdb[1] & kNdob ? 0 : DiskAccess::kSector};
    }
    return {};
}

ScsiFailure ScsiDisk::wrong_range(const Command& command, const Cdb& cdb) const {
    const Blocks blocks = blocks_of(cdb);
    if (!access_.inside(blocks.lba, blocks.bytes())) return sense::kOutOfRange;
    using D = Command::Data;
    const bool transfers = command.data == D::BlocksIn || command.data == D::BlocksOut || command.data == D::BlocksCompared;
    if (transfers && blocks.count > kMaxBlocks) return sense::cdb_field(command.length == 12 ? 6 : 10);  // SBC-3 6.6.3
    return {};
}

ScsiFailure ScsiDisk::take_attention() {
    if (attentions_.empty()) return {};
    const uint16_t code = attentions_.front();
    attentions_.erase(attentions_.begin());
    return Sense{SenseKey::UnitAttention, static_cast<uint8_t>(code >> 8), static_cast<uint8_t>(code)};
}

/// What speaks against carrying a command out, before its own handler looks at it.
ScsiFailure ScsiDisk::refused(const Command* command, const Cdb& cdb) {
    if (!(command && command->before_attention))
        if (ScsiFailure attention = take_attention()) return attention;
    if (!command) return sense::kOpcode;
    for (uint8_t i = 1; i < command->length; ++i)
        if (cdb[i] & ~command->usage[i]) return sense::cdb_field(i);
    if (command->medium && stopped_) return sense::kStopped;
    if (command->writes && access_.readonly()) return sense::kWriteProtected;
    return command->ranged ? wrong_range(*command, cdb) : ScsiFailure{};
}

io::Task<ScsiFailure> ScsiDisk::execute(const Cdb& cdb, Transfer& data) {
    const Command* command = find(cdb);
    ScsiFailure failure = refused(command, cdb);
    if (!failure) failure = co_await (this->*command->handler)(cdb, data);
    if (failure && command && command->ranged && failure->key != SenseKey::UnitAttention) ++access_.counters.errors;
    co_return failure;
}

void send_allocated(Transfer& data, std::span<const uint8_t> bytes, uint64_t allocation) {
    data.send(bytes.first(std::min<uint64_t>(bytes.size(), allocation)));
}
void append_be16(std::vector<uint8_t>& to, uint16_t value) {
    to.resize(to.size() + 2);
    store_be(&to[to.size() - 2], value);
}
void append_be32(std::vector<uint8_t>& to, uint32_t value) {
    to.resize(to.size() + 4);
    store_be(&to[to.size() - 4], value);
}

}  // namespace yado::virtio
