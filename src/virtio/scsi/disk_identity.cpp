// What the disk says about itself: INQUIRY, capacity, logical units, supported commands, sense data.
#include <algorithm>

#include "base/bytes.h"
#include "virtio/scsi/disk_commands.h"

namespace yado::virtio {

namespace {

constexpr std::string_view kVendor = "YADO    ", kProduct = "DISK            ", kRevision = "1   ";
constexpr uint8_t kNoUnit = 0x7f;            // SPC-4 6.4.2: peripheral qualifier 011b, device type 1Fh
constexpr uint8_t kPhysicalExponent = 3;     // 4 KiB
constexpr uint32_t kGranularity = 1 << kPhysicalExponent;

void append(std::vector<uint8_t>& to, std::string_view text) { to.insert(to.end(), text.begin(), text.end()); }

/// Lists carry their own length, without the bytes up to and including that field.
void set_length16(std::vector<uint8_t>& page, size_t at) { store_be(&page[at], static_cast<uint16_t>(page.size() - at - 2)); }

std::vector<uint8_t> standard_inquiry(uint8_t device) {  // SPC-4 6.4.2
    constexpr uint8_t kSpc4 = 6, kHisupFormat2 = 0x12, kCommandQueuing = 0x02;
    std::vector<uint8_t> answer{device, 0, kSpc4, kHisupFormat2, 0, 0, 0, kCommandQueuing};
    append(answer, kVendor);
    append(answer, kProduct);
    append(answer, kRevision);
    answer.resize(58);
    for (const uint16_t standard : {0x00a0, 0x0460, 0x04c0}) append_be16(answer, standard);  // SAM-5, SPC-4, SBC-3
    answer.resize(96);
    answer[4] = static_cast<uint8_t>(answer.size() - 5);
    return answer;
}

ScsiFailure send_luns(const Cdb& cdb, Transfer& data) {  // SPC-4 6.33
    constexpr uint8_t kAll = 2, kWellKnown = 1;
    const uint8_t select = cdb[2];
    const auto allocation = load_be<uint32_t>(&cdb[6]);
    if (select > kAll) return sense::cdb_field(2);
    if (allocation < 16) return sense::cdb_field(6);
    std::vector<uint8_t> list(select == kWellKnown ? 8 : 16);  // LUN 0, or none
    store_be(&list[0], static_cast<uint32_t>(list.size() - 8));
    send_allocated(data, list, allocation);
    return {};
}

}  // namespace

std::array<uint8_t, kSenseBytes> fixed_sense(const Sense& sense) {
    constexpr uint8_t kCurrentFixed = 0x70, kFieldValid = 0x80, kInCdb = 0x40;
    std::array<uint8_t, kSenseBytes> bytes{kCurrentFixed};
    bytes[2] = std::to_underlying(sense.key);
    bytes[7] = kSenseBytes - 8;
    bytes[12] = sense.asc;
    bytes[13] = sense.ascq;
    if (sense.cdb_byte) {
        bytes[15] = kFieldValid | kInCdb;
        bytes[17] = *sense.cdb_byte;
    }
    return bytes;
}

ScsiFailure ScsiDisk::execute_absent(const Cdb& cdb, Transfer& data) {
    switch (static_cast<Opcode>(cdb[0])) {
    case Opcode::INQUIRY:
        if (cdb[1] & 1) return sense::cdb_field(1);
        send_allocated(data, standard_inquiry(kNoUnit), load_be<uint16_t>(&cdb[3]));
        return {};
    case Opcode::REQUEST_SENSE: send_allocated(data, fixed_sense(sense::kNoSuchUnit), cdb[4]); return {};
    case Opcode::REPORT_LUNS: return send_luns(cdb, data);
    default: return sense::kNoSuchUnit;
    }
}

io::Task<ScsiFailure> ScsiDisk::inquiry(const Cdb& cdb, Transfer& data) {
    const auto allocation = load_be<uint16_t>(&cdb[3]);
    if (!(cdb[1] & 1)) {
        if (cdb[2]) co_return sense::cdb_field(2);
        send_allocated(data, standard_inquiry(0), allocation);
        co_return ScsiFailure{};
    }
    const auto page = vital_product_data(static_cast<VpdPage>(cdb[2]));
    if (!page) co_return sense::cdb_field(2);
    std::vector<uint8_t> answer(4 + page->size());
    answer[1] = cdb[2];
    std::ranges::copy(*page, answer.begin() + 4);
    set_length16(answer, 2);
    send_allocated(data, answer, allocation);
    co_return ScsiFailure{};
}

std::optional<std::vector<uint8_t>> ScsiDisk::vital_product_data(VpdPage page) const {
    switch (page) {
    case VpdPage::SupportedPages: return std::vector<uint8_t>{0x00, 0x80, 0x83, 0xb0, 0xb1, 0xb2};
    case VpdPage::SerialNumber: {
        std::vector<uint8_t> text;
        append(text, serial());
        return text;
    }
    case VpdPage::DeviceIdentification: return identification();
    case VpdPage::BlockLimits: return block_limits();
    case VpdPage::BlockDeviceCharacteristics: {
        std::vector<uint8_t> body(60);
        body[1] = 1;  // SBC-3 6.6.2: nothing rotates
        return body;
    }
    case VpdPage::LogicalBlockProvisioning: {  // SBC-3 6.6.5
        constexpr uint8_t kUnmap = 0x80, kWriteSame16 = 0x40, kWriteSame10 = 0x20, kReadsZeroes = 0x04, kThin = 2;
        if (access_.readonly()) return std::vector<uint8_t>(4);
        return std::vector<uint8_t>{0, kUnmap | kWriteSame16 | kWriteSame10 | kReadsZeroes, kThin, 0};
    }
    }
    return std::nullopt;
}

std::vector<uint8_t> ScsiDisk::identification() const {  // SPC-4 7.8.6: a T10 vendor id designator
    constexpr uint8_t kAscii = 2, kT10Vendor = 1;
    std::vector<uint8_t> body{kAscii, kT10Vendor, 0, 0};
    append(body, kVendor);
    append(body, serial());
    body[3] = static_cast<uint8_t>(body.size() - 4);
    return body;
}

std::vector<uint8_t> ScsiDisk::block_limits() const {  // SBC-3 6.6.3; offsets are those of the page, without its header
    constexpr uint8_t kNoZeroLength = 0x01;
    constexpr uint32_t kAlignmentValid = 0x80000000;
    std::vector<uint8_t> body{kNoZeroLength, 0};
    append_be16(body, kGranularity);
    append_be32(body, kMaxBlocks);
    append_be32(body, 0);  // no optimal length
    append_be32(body, 0);  // no prefetch
    const bool clears = !access_.readonly();
    append_be32(body, clears ? DiskAccess::kMaxClearSectors : 0);
    append_be32(body, clears ? kMaxUnmapDescriptors : 0);
    append_be32(body, clears ? kGranularity : 0);
    append_be32(body, clears ? kAlignmentValid : 0);
    append_be32(body, 0);
    append_be32(body, clears ? DiskAccess::kMaxClearSectors : 0);  // WRITE SAME: 8 bytes
    body.resize(60);
    return body;
}

io::Task<ScsiFailure> ScsiDisk::request_sense(const Cdb& cdb, Transfer& data) {
    const ScsiFailure attention = take_attention();
    send_allocated(data, fixed_sense(attention ? *attention : stopped_ ? sense::kStopped : sense::kNone), cdb[4]);
    co_return ScsiFailure{};
}

io::Task<ScsiFailure> ScsiDisk::report_luns(const Cdb& cdb, Transfer& data) { co_return send_luns(cdb, data); }

io::Task<ScsiFailure> ScsiDisk::read_capacity_10(const Cdb&, Transfer& data) {
    const uint64_t sectors = access_.sectors(), last = sectors ? sectors - 1 : 0;
    std::vector<uint8_t> answer;
    append_be32(answer, static_cast<uint32_t>(std::min<uint64_t>(last, 0xffffffff)));
    append_be32(answer, DiskAccess::kSector);
    data.send(answer);
    co_return ScsiFailure{};
}

io::Task<ScsiFailure> ScsiDisk::read_capacity_16(const Cdb& cdb, Transfer& data) {  // SBC-3 5.16
    constexpr uint8_t kProvisioned = 0x80, kReadsZeroes = 0x40;
    const uint64_t sectors = access_.sectors(), last = sectors ? sectors - 1 : 0;
    std::vector<uint8_t> answer(32);
    store_be(&answer[0], last);
    store_be(&answer[8], static_cast<uint32_t>(DiskAccess::kSector));
    answer[13] = kPhysicalExponent;
    if (!access_.readonly()) answer[14] = kProvisioned | kReadsZeroes;
    send_allocated(data, answer, load_be<uint32_t>(&cdb[10]));
    co_return ScsiFailure{};
}

// ---- REPORT SUPPORTED OPERATION CODES (SPC-4 6.35) ----

namespace {
constexpr uint8_t kWithTimeouts = 0x80, kDescriptorFollows = 0x80;

void append_timeouts(std::vector<uint8_t>& to) {  // 6.35.4: none are recommended
    append_be16(to, 10);
    to.resize(to.size() + 10);
}
}  // namespace

std::vector<uint8_t> ScsiDisk::all_opcodes(bool timeouts) {
    constexpr uint8_t kTimeoutsBit = 0x02, kActionBit = 0x01;
    std::vector<uint8_t> list(4);
    for (const Command& command : commands()) {
        const bool action = command.action != Command::kNoAction;
        list.push_back(std::to_underlying(command.opcode));
        list.push_back(0);
        append_be16(list, action ? command.action : 0);
        list.push_back(0);
        list.push_back((timeouts ? kTimeoutsBit : 0) | (action ? kActionBit : 0));
        append_be16(list, command.length);
        if (timeouts) append_timeouts(list);
    }
    store_be(&list[0], static_cast<uint32_t>(list.size() - 4));
    return list;
}

std::vector<uint8_t> ScsiDisk::one_opcode(const Command* command, bool timeouts) {
    constexpr uint8_t kNotSupported = 1, kSupported = 3;
    std::vector<uint8_t> answer(command ? 4u + command->length : 4u);
    answer[1] = command ? kSupported : kNotSupported;
    if (!command) return answer;
    if (timeouts) answer[1] |= kDescriptorFollows;
    store_be(&answer[2], static_cast<uint16_t>(command->length));
    std::copy_n(command->usage.begin(), command->length, answer.begin() + 4);
    answer[4] = std::to_underlying(command->opcode);
    if (command->action != Command::kNoAction) answer[5] = static_cast<uint8_t>(command->action);
    if (timeouts) append_timeouts(answer);
    return answer;
}

io::Task<ScsiFailure> ScsiDisk::report_opcodes(const Cdb& cdb, Transfer& data) {
    enum Option : uint8_t { All = 0, WithoutAction = 1, WithAction = 2, Either = 3 };
    const bool timeouts = cdb[2] & kWithTimeouts, actions = has_actions(cdb[3]);
    const auto option = static_cast<Option>(cdb[2] & 7);
    const auto requested = load_be<uint16_t>(&cdb[4]);
    const auto allocation = load_be<uint32_t>(&cdb[6]);
    if (option > Either || (option == WithoutAction && actions) || (option == WithAction && !actions)) co_return sense::cdb_field(2);
    if (option == All) {
        send_allocated(data, all_opcodes(timeouts), allocation);
        co_return ScsiFailure{};
    }
    const bool known = actions || option == WithoutAction || requested == 0;
    const Command* command = known ? find(cdb[3], actions ? requested : Command::kNoAction) : nullptr;
    send_allocated(data, one_opcode(command, timeouts), allocation);
    co_return ScsiFailure{};
}

}  // namespace yado::virtio
