// Mode pages (SPC-4 6.9, 6.11, 7.5; SBC-3 6.5): caching, of which WCE may be changed, and control.
#include <algorithm>

#include "base/bytes.h"
#include "virtio/scsi/disk_commands.h"

namespace yado::virtio {

namespace {

constexpr uint8_t kWce = 0x04;
constexpr size_t kLongestList = 256;

/// The two forms of the commands, by the CDB's length.
struct Form {
    size_t header;         // bytes of the mode parameter header
    uint64_t allocation;   // or the list's length
    bool long_lba;         // of block descriptors
};
Form form_of(const Cdb& cdb) {
    const auto opcode = static_cast<Opcode>(cdb[0]);
    if (opcode == Opcode::MODE_SENSE_6 || opcode == Opcode::MODE_SELECT_6) return {4, cdb[4], false};
    return {8, load_be<uint16_t>(&cdb[7]), opcode == Opcode::MODE_SENSE_10 && (cdb[1] & 0x10)};
}

std::vector<uint8_t> header_of(const Form& form, uint8_t device, size_t descriptors, size_t all) {  // SPC-4 7.5.5
    std::vector<uint8_t> header(form.header);
    if (form.header == 4) {
        header = {static_cast<uint8_t>(all - 1), 0, device, static_cast<uint8_t>(descriptors)};
    } else {
        store_be(&header[0], static_cast<uint16_t>(all - 2));
        header[3] = device;
        header[4] = form.long_lba;
        store_be(&header[6], static_cast<uint16_t>(descriptors));
    }
    return header;
}

}  // namespace

std::vector<uint8_t> ScsiDisk::mode_page(ModePage page, PageControl control) const {
    if (page == ModePage::Caching) {  // SBC-3 6.5.5
        std::vector<uint8_t> body(20);
        body[0] = std::to_underlying(page);
        body[1] = 18;
        const bool shown = control == PageControl::Current ? write_cache_ : true;  // may be changed, and on by default
        body[2] = shown ? kWce : 0;
        return body;
    }
    std::vector<uint8_t> body(12);  // SPC-4 7.5.7
    body[0] = std::to_underlying(ModePage::Control);
    body[1] = 10;
    constexpr uint8_t kUnrestrictedReordering = 0x10;
    if (control != PageControl::Changeable) body[3] = kUnrestrictedReordering;
    return body;
}

std::vector<uint8_t> ScsiDisk::block_descriptor(bool long_lba) const {  // SBC-3 6.5.2
    const uint64_t count = access_.sectors();
    std::vector<uint8_t> descriptor(long_lba ? 16 : 8);
    if (long_lba) {
        store_be(&descriptor[0], count);
    } else {
        store_be(&descriptor[0], static_cast<uint32_t>(std::min<uint64_t>(count, 0xffffffff)));
    }
    store_be(&descriptor[descriptor.size() - 4], static_cast<uint32_t>(DiskAccess::kSector));  // 24 bits in the short one, and 0 before
    return descriptor;
}

io::Task<ScsiFailure> ScsiDisk::mode_sense(const Cdb& cdb, Transfer& data) {
    constexpr uint8_t kWriteProtected = 0x80, kDpoFua = 0x10, kNoDescriptors = 0x08, kAllSubpages = 0xff;
    const Form form = form_of(cdb);
    const auto control = static_cast<PageControl>(cdb[2] >> 6);
    const auto page = static_cast<ModePage>(cdb[2] & 0x3f);
    if (control == PageControl::Saved) co_return sense::kNotSaved;
    if (cdb[3] != 0 && cdb[3] != kAllSubpages) co_return sense::cdb_field(3);
    if (page != ModePage::Caching && page != ModePage::Control && page != ModePage::All) co_return sense::cdb_field(2);

    std::vector<uint8_t> rest;
    if (!(cdb[1] & kNoDescriptors)) rest = block_descriptor(form.long_lba);
    const size_t descriptors = rest.size();
    for (const ModePage one : {ModePage::Caching, ModePage::Control}) {
        if (page != one && page != ModePage::All) continue;
        const std::vector<uint8_t> body = mode_page(one, control);
        rest.insert(rest.end(), body.begin(), body.end());
    }
    std::vector<uint8_t> answer = header_of(form, kDpoFua | (access_.readonly() ? kWriteProtected : 0), descriptors, form.header + rest.size());
    answer.insert(answer.end(), rest.begin(), rest.end());
    send_allocated(data, answer, form.allocation);
    co_return ScsiFailure{};
}

/// Number and size of the blocks are the image's; a number of 0 leaves it as it is.
bool ScsiDisk::same_blocks(std::span<const uint8_t> wanted, bool long_lba) const {
    const std::vector<uint8_t> now = block_descriptor(long_lba);
    if (wanted.size() != now.size()) return false;
    const size_t number = now.size() - 4;
    const bool none = std::ranges::all_of(wanted.first(number), [](uint8_t byte) { return byte == 0; });
    return std::equal(now.begin() + static_cast<ptrdiff_t>(none ? number : 0), now.end(), wanted.begin() + static_cast<ptrdiff_t>(none ? number : 0));
}

/// A page as the initiator wants it: nothing may differ but what may be changed.
ScsiFailure ScsiDisk::check_page(std::span<const uint8_t> page) const {
    const auto code = static_cast<ModePage>(page[0]);
    if (code != ModePage::Caching && code != ModePage::Control) return sense::kListField;
    const std::vector<uint8_t> now = mode_page(code, PageControl::Current), may = mode_page(code, PageControl::Changeable);
    if (page.size() != now.size()) return sense::kListField;
    for (size_t i = 2; i < page.size(); ++i)
        if ((page[i] ^ now[i]) & ~may[i]) return sense::kListField;
    return {};
}

io::Task<ScsiFailure> ScsiDisk::mode_select(const Cdb& cdb, Transfer& data) {
    constexpr uint8_t kPageFormat = 0x10;
    if (!(cdb[1] & kPageFormat)) co_return sense::cdb_field(1);
    const Form form = form_of(cdb);
    if (form.allocation == 0) co_return ScsiFailure{};
    if (form.allocation < form.header || form.allocation > kLongestList) co_return sense::kListLength;
    std::vector<uint8_t> list(form.allocation);
    data.receive(list);

    const bool long_lba = form.header == 8 && (list[4] & 1);
    const size_t descriptors = form.header == 4 ? list[3] : load_be<uint16_t>(&list[6]);
    std::span<const uint8_t> rest = std::span(list).subspan(form.header);
    if (descriptors > rest.size()) co_return sense::kListLength;
    if (descriptors && !same_blocks(rest.first(descriptors), long_lba)) co_return sense::kListField;
    rest = rest.subspan(descriptors);
    bool cache = write_cache_;
    while (!rest.empty()) {
        if (rest.size() < 2 || rest[1] + 2u > rest.size()) co_return sense::kListLength;
        const std::span<const uint8_t> page = rest.first(rest[1] + 2u);
        if (const ScsiFailure wrong = check_page(page)) co_return wrong;
        if (static_cast<ModePage>(page[0]) == ModePage::Caching) cache = page[2] & kWce;
        rest = rest.subspan(page.size());
    }
    co_return co_await set_write_cache(cache);
}

/// What the cache holds goes to the disk before it is off.
io::Task<ScsiFailure> ScsiDisk::set_write_cache(bool on) {
    const bool flushes = write_cache_ && !on;
    write_cache_ = on;
    if (flushes) co_return co_await flush();
    co_return ScsiFailure{};
}

}  // namespace yado::virtio
