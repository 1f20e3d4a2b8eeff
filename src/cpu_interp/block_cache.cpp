// find(): page lookup -> bucket -> block, or make(): copy bytes -> decode the copy -> register the bytes -> see that they
// have not changed meanwhile -> place in the arena. A store that comes later finds the bytes registered (shared.h).
#include "cpu_interp/block_cache.h"

#include <sys/mman.h>

#include <algorithm>
#include <new>

#include "base/check.h"
#include "cpu_interp/chain.h"
#include "cpu_interp/fpu/fpu.h"
#include "cpu_interp/run.h"
#include "cpu_interp/shared.h"
#include "cpu_interp/tier.h"

namespace yado::cpu_interp {

void fall_through(Core& c, const Insn* slot);

namespace {

void undefined(Core& c, const Insn* i) { c.raise(i, Vec::UD); }
void too_long(Core& c, const Insn* i) { c.raise(i, Vec::GP, 0); }

/// The handler of a crossing block. Where the bytes in the second page are others, it runs alone, and its page's blocks go as if its own
/// bytes had been written.
void run_crossing(Core& c, const Insn* i) {
    Block& b = *c.block;
    CrossingTail& tail = tail_of(b);
    const uint64_t next_page = page_down(c.block_rip) + kPageSize;
    uint32_t error = 0;
    const auto next = c.fetch_quietly(next_page, &error);
    const bool known = next && next->host;
    if (known && std::memcmp(next->host, tail.bytes, tail.size) == 0) [[likely]] {
        note_code(c, next_page);
        tail.context = c.context != 0 ? c.context : CrossingTail::kNever;
        tail.next_page = next->host;
        return tail.run(c, i);
    }
    tail.context = CrossingTail::kNever;
    if (known) c.wiring.memory.note_write(GuestPhysAddr(b.gpa), Bytes(1));
    c.run_alone(i);
    c.rip = c.block_rip;  // not in its block: the same, by the run loop
}

CodeMode code_mode_of(uint8_t mode) { return static_cast<CodeMode>(mode & 3); }

unsigned bucket_of(uint64_t gpa) { return (gpa ^ gpa >> 6) & 127; }
unsigned recent_slot(uint64_t gpa, uint8_t mode) { return (gpa ^ gpa >> 13 ^ mode << 5) & (BlockCache::kRecent - 1); }

/// Settles what depends on the place in the block: a RIP-relative operand becomes relative to the block's start.
void settle(Insn& i, unsigned offset) {
    i.offset = static_cast<uint8_t>(offset);
    if (i.base != kRipReg || i.addrsize != 8 || i.seg >= cpu::FS) return;
    int32_t disp = 0;
    if (__builtin_add_overflow(i.disp, static_cast<int32_t>(offset + i.length), &disp)) return;
    i.disp = disp;
    i.flat = true;
}

/// Chooses the handler; true if the block ends here.
bool choose(Insn& i, DecodeStatus status) {
    Selected s;
    if (status == DecodeStatus::Ok) s = select(i);
    if (status == DecodeStatus::TooLong) s = {too_long, true};
    if (!s.run) s = {undefined, true};
    i.run = s.run;
    return s.ends_block;
}

bool is_direct_branch(const Insn& i) {
    if (i.map == Map::Of) return i.opcode >= 0x80 && i.opcode <= 0x8f;
    if (i.map != Map::One) return false;
    return (i.opcode >= 0x70 && i.opcode <= 0x7f) || (i.opcode >= 0xe0 && i.opcode <= 0xe3) || i.opcode == 0xe8 ||
           i.opcode == 0xe9 || i.opcode == 0xeb;
}

Insn make_slot(const Insn& last, unsigned length, bool linkable) {
    Insn slot{};
    slot.run = fall_through;
    slot.offset = static_cast<uint8_t>(length);
    slot.mode = last.mode;
    slot.flat = linkable;
    return slot;
}

/// Writes the slots behind a block's last instruction. `from` is the block's offset in its page.
void add_slots(Insn* end, unsigned from, unsigned length, uint8_t mode) {
    const Insn& last = end[-1];
    const bool links = !(mode & kLimited) && code_mode_of(mode) != CodeMode::Bits16;
    const int64_t after = from + length;
    const int64_t target = after + last.imm;
    end[0] = make_slot(last, length, links && after < 4096);
    end[1] = make_slot(last, length, links && is_direct_branch(last) && last.opsize != 2 && target >= 0 && target < 4096);
}

constexpr size_t slots_for(size_t count) { return kBlockHeader + count + kBlockSlots; }  // in Insn's, header included

}  // namespace

uint64_t linear_of_rip(const Core& c, uint64_t rip) {
    if (c.code_mode == CodeMode::Bits64) return rip;
    return static_cast<uint32_t>(c.seg[cpu::CS].base + rip);
}

BlockCache::BlockCache(Core& core) : core_(core) {
    void* p = mmap(nullptr, kArenaBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) throw std::bad_alloc();  // caught in make_vcpu
    arena_ = static_cast<std::byte*>(p);
    for (Single& s : singles_) s.storage = std::make_unique<Insn[]>(slots_for(1));
}

BlockCache::~BlockCache() { munmap(arena_, kArenaBytes); }

void BlockCache::drop_pages(std::span<const uint64_t> pages) {
    size_t dropped = 0;
    for (const uint64_t page : pages) dropped += pages_.erase(page);
    core_.counters.pages_dropped.add(dropped);
    if (dropped != 0) forget_places();
}

void BlockCache::drop_all() {
    ++core_.counters.caches_dropped;
    pages_.clear();
    used_ = 0;
    generations_.reset();
    if (core_.tier) core_.tier->reset();
    forget_places();
}

/// Blocks are gone: whoever remembers where one was has to ask again.
void BlockCache::forget_places() {
    recent_.fill(nullptr);
    core_.forget_jumps();
}

template <typename Doomed>
void BlockCache::drop_if(Doomed doomed) {
    const size_t dropped = std::erase_if(pages_, [&](const auto& page) { return doomed(page.second); });
    core_.counters.pages_evicted.add(dropped);
    if (dropped != 0) forget_places();
}

void BlockCache::next_generation() {
    generations_.advance();
    used_ = generations_.begin();
    drop_if([&](const Page& page) { return page.decoded & generations_.youngest(); });
}

void BlockCache::note_code(const Block& block, GenerationSet generation) {
    const auto page = pages_.find(page_down(block.gpa));
    YADO_CHECK(page != pages_.end());
    page->second.code |= generation;
}

void BlockCache::drop_code(GenerationSet generation) {
    drop_if([&](const Page& page) { return page.code & generation; });
}

Block* BlockCache::lookup(uint64_t gpa, uint8_t mode) {
    Block*& recent = recent_[recent_slot(gpa, mode)];
    if (recent && recent->gpa == gpa && recent->mode == mode) return recent;
    const auto page = pages_.find(page_down(gpa));
    if (page == pages_.end()) return nullptr;
    for (Block* b = page->second.bucket[bucket_of(gpa)]; b; b = b->next)
        if (b->gpa == gpa && b->mode == mode) return recent = b;
    return nullptr;
}

/// How many bytes at RIP the code segment's limit allows, up to a block.
unsigned BlockCache::within_limit(uint64_t rip) const {
    if (core_.code_mode == CodeMode::Bits64) return kFetchBytes;
    const uint64_t limit = core_.seg[cpu::CS].limit;
    return rip > limit ? 0 : static_cast<unsigned>(std::min<uint64_t>(limit - rip + 1, kFetchBytes));
}

Block* BlockCache::find(uint64_t rip) {
    const bool is_limited = limited(core_);
    const uint8_t mode = static_cast<uint8_t>(core_.code_mode) | (is_limited ? kLimited : 0) |
                         static_cast<uint8_t>(static_cast<uint8_t>(core_.mmu) << kModeMmuShift);
    if (is_limited && within_limit(rip) < kFetchBytes) return nullptr;
    const uint64_t linear = linear_of_rip(core_, rip);
    const Core::CodePage page = core_.fetch_page(linear);
    if (!page.host) return nullptr;
    const uint64_t gpa = page_down(page.gpa) | (linear & kPageMask);
    if (Block* b = lookup(gpa, mode)) return b;
    if (Block* b = make(gpa, page.host, mode)) return b;
    return core_.code_mode == CodeMode::Bits64 ? make_crossing(linear, page, mode) : nullptr;
}

unsigned BlockCache::decode_run(const uint8_t* bytes, unsigned n, uint8_t mode, std::span<Insn> out, unsigned* length) {
    unsigned count = 0, at = 0;
    while (count < out.size() && at < n && at < kMaxBlockBytes) {
        Insn& i = out[count];
        const DecodeStatus status = decode(bytes + at, n - at, code_mode_of(mode), &i);
        if (status == DecodeStatus::NeedMore) break;
        if (status == DecodeStatus::TooLong) i.length = kMaxInsnBytes;
        settle(i, at);
        const bool ends = choose(i, status);
        at += i.length;
        ++count;
        if (ends) break;
    }
    *length = at;
    return count;
}

Block* BlockCache::make(uint64_t gpa, const uint8_t* host, uint8_t mode) {
    const unsigned from = gpa & kPageMask;
    const unsigned n = std::min<unsigned>(kFetchBytes, 4096 - from);
    const uint8_t* code = host + from;
    std::array<Insn, kMaxBlockInsns> insns;
    for (unsigned attempt = 0; attempt < 4; ++attempt) {
        uint8_t copy[kFetchBytes];
        std::memcpy(copy, code, n);
        unsigned length = 0;
        const unsigned count = decode_run(copy, n, mode, insns, &length);
        if (count == 0) return nullptr;
        core_.shared.register_code(core_, page_down(gpa), from, from + length);
        if (std::memcmp(copy, code, length) == 0) return place(gpa, mode, {insns.data(), count}, length);
    }
    return nullptr;  // someone keeps writing there
}

/// nullptr: there is none, or the next page cannot be fetched from.
Block* BlockCache::make_crossing(uint64_t linear, const Core::CodePage& page, uint8_t mode) {
    const auto from = static_cast<unsigned>(linear & kPageMask);
    const auto here = static_cast<unsigned>(kPageSize - from);
    const uint64_t next_page = page_down(linear) + kPageSize;
    if (here >= kMaxInsnBytes || !is_canonical(next_page)) return nullptr;
    uint32_t error = 0;
    const auto next = core_.fetch_quietly(next_page, &error);
    if (!next || !next->host) return nullptr;
    uint8_t bytes[kMaxInsnBytes];
    std::memcpy(bytes, page.host + from, here);
    std::memcpy(bytes + here, next->host, kMaxInsnBytes - here);
    Insn insn;
    if (decode(bytes, kMaxInsnBytes, code_mode_of(mode), &insn) != DecodeStatus::Ok || insn.length <= here) return nullptr;
    settle(insn, 0);
    choose(insn, DecodeStatus::Ok);
    core_.shared.register_code(core_, page_down(page.gpa), from, kPageSize);
    if (std::memcmp(bytes, page.host + from, here) != 0) return nullptr;

    Block* b = place(page_down(page.gpa) | from, mode, {&insn, 1}, insn.length, kTailSlots);
    auto* tail = new (&tail_of(*b)) CrossingTail{.run = b->first, .size = static_cast<uint8_t>(insn.length - here), .bytes = {}};
    std::memcpy(tail->bytes, bytes + here, tail->size);
    b->crossing = true;
    b->first = run_crossing;
    if (b->insn[0].run == tail->run) b->insn[0].run = run_crossing;  // else a tier's
    return b;
}

Block* BlockCache::place(uint64_t gpa, uint8_t mode, std::span<const Insn> insns, unsigned length, unsigned more) {
    const size_t bytes = (slots_for(insns.size()) + more) * sizeof(Insn);
    if (!generations_.has_room(used_, bytes)) next_generation();
    for (unsigned n = 0; n < Generations::kCount && pages_.size() >= kMaxPages; ++n) next_generation();
    ++core_.counters.blocks_decoded;
    Page& page = pages_[page_down(gpa)];
    page.decoded |= generations_.youngest();
    Block*& bucket = page.bucket[bucket_of(gpa)];
    Block* b = reinterpret_cast<Block*>(arena_ + used_);
    used_ += bytes;
    *b = Block{.gpa = gpa,
               .next = bucket,
               .bytes = static_cast<uint16_t>(length),
               .count = static_cast<uint8_t>(insns.size()),
               .mode = mode};
    std::ranges::copy(insns, b->insn);
    add_slots(b->insn + insns.size(), gpa & kPageMask, length, mode);
    b->first = b->insn[0].run;
    b->refused = insns.back().run == undefined || insns.back().run == too_long;
    bucket = b;
    if (core_.tier) core_.tier->placed(*b);
    return b;
}

/// Up to `want` bytes of the page at linear; bytewise from a device where there is no RAM.
unsigned BlockCache::fetch_bytes(uint64_t linear, unsigned want, uint8_t* out) {
    const Core::CodePage page = core_.fetch_page(linear);
    const unsigned from = linear & kPageMask;
    const unsigned n = std::min(want, 4096 - from);
    if (page.host) {
        std::memcpy(out, page.host + from, n);
        return n;
    }
    fpu_leave(*core_.fpu);
    for (unsigned k = 0; k < n; ++k)
        out[k] = static_cast<uint8_t>(core_.wiring.devices.mmio_read(GuestPhysAddr(page_down(page.gpa) + from + k), 1));
    return n;
}

/// The remembered instruction if the bytes at RIP are still its own; fetches what it needs of them, as decoding would.
bool BlockCache::is_remembered(const Single& s, uint64_t rip, uint8_t mode, unsigned allowed, uint8_t* bytes, unsigned* n) {
    if (s.mode != mode || s.length > allowed) return false;
    const unsigned have = std::min<unsigned>(*n, s.length);
    if (std::memcmp(s.bytes, bytes, have) != 0) return false;
    if (*n < s.length) *n += fetch_bytes(linear_of_rip(core_, rip + *n), s.length - *n, bytes + *n);
    return *n >= s.length && std::memcmp(s.bytes, bytes, s.length) == 0;
}

Block* BlockCache::alone(uint64_t rip) {
    uint8_t bytes[16] = {};
    const uint64_t linear = linear_of_rip(core_, rip);
    const unsigned allowed = std::min(within_limit(rip), kMaxInsnBytes);
    if (allowed == 0) core_.raise(nullptr, Vec::GP, 0);
    unsigned n = fetch_bytes(linear, allowed, bytes);

    const uint8_t mode = static_cast<uint8_t>(core_.code_mode);
    Single& s = singles_[linear & 63];
    Block* b = reinterpret_cast<Block*>(s.storage.get());
    if (is_remembered(s, rip, mode, allowed, bytes, &n)) return b;

    Insn i;
    DecodeStatus status = decode(bytes, n, core_.code_mode, &i);
    if (status == DecodeStatus::NeedMore && n < allowed) {
        n += fetch_bytes(linear_of_rip(core_, rip + n), allowed - n, bytes + n);
        status = decode(bytes, n, core_.code_mode, &i);
    }
    if (status == DecodeStatus::NeedMore) core_.raise(nullptr, Vec::GP, 0);  // the segment ends inside the instruction

    std::memcpy(s.bytes, bytes, sizeof bytes);
    s.mode = mode;
    settle(i, 0);
    choose(i, status);
    s.length = status == DecodeStatus::Ok ? i.length : 0xff;  // what is refused is looked at anew
    *b = Block{.gpa = 0, .next = nullptr, .bytes = i.length, .count = 1, .mode = mode};
    b->insn[0] = i;
    add_slots(b->insn + 1, 0, i.length, mode | kLimited);
    return b;
}

}  // namespace yado::cpu_interp
