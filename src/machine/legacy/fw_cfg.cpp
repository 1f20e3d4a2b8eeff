#include "machine/legacy/fw_cfg.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/bytes.h"
#include "base/check.h"
#include "machine/legacy/legacy.pb.h"

namespace yado::machine {

namespace {

/// How far beyond an item's end a guest may read in one DMA: what lies there is zeros, and filling takes our time.
constexpr uint32_t kMaxZeros = 64 << 10;

template <typename T>
std::vector<std::byte> little_endian(T value) {
    const auto raw = as_bytes_of(value);
    return {raw.begin(), raw.end()};
}

}  // namespace

FwCfg::FwCfg(Wiring wiring) : wiring_(wiring) {
    constexpr std::string_view kSignature = "QEMU";
    const auto raw = std::as_bytes(std::span(kSignature));
    YADO_CHECK(add_item(kFwCfgSignature, {raw.begin(), raw.end()}).has_value());
    YADO_CHECK(add_item(kFwCfgId, little_endian<uint32_t>(kFwCfgTraditional | kFwCfgDma)).has_value());
    YADO_CHECK(add_item(kFwCfgFileDirectory, little_endian<uint32_t>(0)).has_value());
}

// ---- items ---------------------------------------------------------------------------------------------------------

Result<> FwCfg::add_item(uint16_t key, std::vector<std::byte> bytes) {
    if (key > kFwCfgKeyMask || bytes.size() > UINT32_MAX)
        return fail(ErrorKind::OutOfRange, "fw_cfg: no item {:#x} of {} bytes", key, bytes.size());
    auto s = state_.lock();
    if (!s->items.emplace(key, std::move(bytes)).second)
        return fail(ErrorKind::Conflict, "fw_cfg: item {:#x} exists", key);
    return {};
}

Result<> FwCfg::add_file(const std::string& name, std::vector<std::byte> bytes) {
    auto s = state_.lock();
    const size_t key = kFwCfgFirstFile + s->files.size();
    if (name.empty() || name.size() >= kFwCfgNameSize || key > kFwCfgKeyMask || bytes.size() > UINT32_MAX)
        return fail(ErrorKind::OutOfRange, "fw_cfg: file {} does not fit", name);
    if (std::ranges::find(s->files, name, &File::name) != s->files.end())
        return fail(ErrorKind::Conflict, "fw_cfg: file {} exists", name);
    s->files.push_back({name, static_cast<uint16_t>(key), static_cast<uint32_t>(bytes.size())});
    s->items[static_cast<uint16_t>(key)] = std::move(bytes);
    s->items[kFwCfgFileDirectory] = directory(*s);
    return {};
}

/// Count, then size, key, reserved, name of each file; big-endian, in the order of the names.
std::vector<std::byte> FwCfg::directory(const State& s) {
    std::vector<File> files = s.files;
    std::ranges::sort(files, {}, &File::name);
    std::vector<std::byte> out(4 + files.size() * (8 + kFwCfgNameSize));
    store_be(out.data(), static_cast<uint32_t>(files.size()));
    std::byte* at = out.data() + 4;
    for (const File& file : files) {
        store_be(at, file.size);
        store_be(at + 4, file.key);
        std::memcpy(at + 8, file.name.data(), file.name.size());
        at += 8 + kFwCfgNameSize;
    }
    return out;
}

void FwCfg::select(State& s, uint16_t key) {
    s.selector = key & kFwCfgKeyMask;
    s.offset = 0;
}

std::span<const std::byte> FwCfg::rest(const State& s) {
    const auto item = s.items.find(s.selector);
    if (item == s.items.end()) return {};
    return std::span(item->second).subspan(std::min<size_t>(s.offset, item->second.size()));
}

// ---- ports ---------------------------------------------------------------------------------------------------------

uint64_t FwCfg::Ports::read(uint64_t offset, unsigned size) {
    auto s = device_.state_.lock();
    if (offset != 1 || size != 1) return 0;
    const auto bytes = rest(*s);
    if (bytes.empty()) return 0;
    ++s->offset;
    return static_cast<uint64_t>(bytes[0]);
}

void FwCfg::Ports::write(uint64_t offset, unsigned size, uint64_t value) {
    if (offset != 0 || size != 2) return;  // writes of data are no longer supported, as on current versions
    select(*device_.state_.lock(), static_cast<uint16_t>(value));
}

uint64_t FwCfg::Dma::read(uint64_t offset, unsigned size) {
    std::array<std::byte, 16> raw{};
    store_be(raw.data(), kFwCfgDmaSignature);
    if (offset >= 8) return 0;
    return load_le<uint64_t>(raw.data() + offset) & mask_of_size(size);
}

/// The address is big-endian; writing its lower half starts the transfer.
void FwCfg::Dma::write(uint64_t offset, unsigned size, uint64_t value) {
    auto s = device_.state_.lock();
    if (size == 8 && offset == 0) return device_.start_dma(*s, std::byteswap(value));
    if (size != 4) return;
    const uint32_t half = std::byteswap(static_cast<uint32_t>(value));
    if (offset == 0) s->dma_high = half;
    if (offset == 4) device_.start_dma(*s, static_cast<uint64_t>(std::exchange(s->dma_high, 0)) << 32 | half);
}

// ---- DMA -----------------------------------------------------------------------------------------------------------

void FwCfg::start_dma(State& s, uint64_t at) {
    std::array<std::byte, kFwCfgDescriptorSize> raw;
    if (!wiring_.memory.read(GuestPhysAddr(at), raw)) return;  // nowhere to report to
    const FwCfgDmaControl control(load_be<uint32_t>(raw.data()));
    const bool ok = run_dma(s, control, load_be<uint32_t>(raw.data() + 4), load_be<uint64_t>(raw.data() + 8));
    FwCfgDmaControl done;
    done.set(FwCfgDmaControl::ERROR, !ok);
    (void)wiring_.memory.store(GuestPhysAddr(at), std::byteswap(done.raw));  // read-only there: the guest's own loss
}

bool FwCfg::run_dma(State& s, FwCfgDmaControl control, uint32_t length, uint64_t address) {
    if (control.get(FwCfgDmaControl::SELECT)) select(s, control.get(FwCfgDmaControl::KEY));
    if (control.get(FwCfgDmaControl::READ)) return copy_out(s, address, length).has_value();
    if (control.get(FwCfgDmaControl::WRITE)) return false;  // no item can be written
    if (control.get(FwCfgDmaControl::SKIP)) s.offset += static_cast<uint32_t>(std::min<size_t>(length, rest(s).size()));
    return true;
}

Result<> FwCfg::copy_out(State& s, uint64_t address, uint32_t length) {
    const auto bytes = rest(s);
    const auto n = static_cast<uint32_t>(std::min<size_t>(length, bytes.size()));
    if (length - n > kMaxZeros) return fail(ErrorKind::OutOfRange, "fw_cfg: {} bytes asked for, {} there", length, n);
    const auto end = GuestPhysAddr(address).checked_add(Bytes(length));
    if (!end) return fail(ErrorKind::OutOfRange, "fw_cfg: transfer to {:#x} wraps", address);
    if (n) YADO_TRY(wiring_.memory.write(GuestPhysAddr(address), bytes.first(n)));
    const std::vector<std::byte> zeros(length - n);
    if (!zeros.empty()) YADO_TRY(wiring_.memory.write(GuestPhysAddr(address) + Bytes(n), zeros));
    s.offset += n;
    return {};
}

// ---- lifecycle -----------------------------------------------------------------------------------------------------

void FwCfg::reset() {
    auto s = state_.lock();
    select(*s, kFwCfgSignature);
    s->dma_high = 0;
}

Result<state::Record> FwCfg::save() const {
    auto s = state_.lock();
    pb::FwCfg m;
    m.set_selector(s->selector);
    m.set_offset(s->offset);
    m.set_dma_high(s->dma_high);
    return state::make_record(*this, m);
}

Result<> FwCfg::load(const state::Record& record) {
    pb::FwCfg m;
    YADO_TRY(state::parse_record(record, m));
    if (m.selector() > kFwCfgKeyMask)
        return fail(ErrorKind::Corrupt, "saved state of {}: a register is out of range", record.name);
    auto s = state_.lock();
    select(*s, static_cast<uint16_t>(m.selector()));
    s->offset = static_cast<uint32_t>(std::min<size_t>(m.offset(), rest(*s).size()));
    s->dma_high = m.dma_high();
    return {};
}

}  // namespace yado::machine
