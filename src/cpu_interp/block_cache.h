// The decoded code of one vCPU, by guest-physical address, offset and mode. Memory is bounded: the oldest generation's pages
// give way (generations.h). A page's blocks die together, wherever they and their translations lie.
// Thread: the vCPU's own, at block boundaries only.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <unordered_map>

#include "cpu_interp/block.h"
#include "cpu_interp/decode/decode.h"
#include "cpu_interp/generations.h"

namespace yado::cpu_interp {

class BlockCache {
  public:
    static constexpr unsigned kRecent = 16384;

    explicit BlockCache(Core& core);
    ~BlockCache();
    BlockCache(const BlockCache&) = delete;

    /// The block at RIP, decoded if need be. nullptr: its first instruction has to run alone (it crosses a page outside of 64-bit
    /// code, does not lie in RAM, or comes near the code segment's limit). Throws GuestFault as an instruction fetch does.
    Block* find(uint64_t rip);
    /// A block of the one instruction at RIP, decoded from memory as it is now; good until the next call. Throws
    /// GuestFault as an instruction fetch does.
    Block* alone(uint64_t rip);
    /// The block at a guest-physical address, if it is decoded.
    Block* known(uint64_t gpa, uint8_t mode) { return lookup(gpa, mode); }

    void drop_pages(std::span<const uint64_t> pages);
    void drop_all();
    /// The tier has put code of this block's page into a generation of its own memory.
    void note_code(const Block& block, GenerationSet generation);
    /// Drops the pages that have code in that memory of the tier.
    void drop_code(GenerationSet generation);

  private:
    static constexpr size_t kArenaBytes = 32u << 20;
    static constexpr size_t kMaxPages = 16384;
    static constexpr unsigned kBuckets = 128;
    static constexpr unsigned kFetchBytes = kMaxBlockBytes + kMaxInsnBytes;
    struct Page {
        std::array<Block*, kBuckets> bucket{};
        GenerationSet decoded = 0, code = 0;  ///< where its blocks and the tier's code for them lie
    };
    /// Decoded single instructions, found by their bytes: nothing to invalidate.
    struct Single {
        uint8_t bytes[16] = {};
        uint8_t mode = 0xff;
        uint8_t length = 0xff;
        std::unique_ptr<Insn[]> storage;
    };

    bool is_remembered(const Single& s, uint64_t rip, uint8_t mode, unsigned allowed, uint8_t* bytes, unsigned* n);
    Block* lookup(uint64_t gpa, uint8_t mode);
    Block* make(uint64_t gpa, const uint8_t* host, uint8_t mode);
    unsigned decode_run(const uint8_t* bytes, unsigned n, uint8_t mode, std::span<Insn> out, unsigned* length);
    Block* make_crossing(uint64_t linear, const Core::CodePage& page, uint8_t mode);
    Block* place(uint64_t gpa, uint8_t mode, std::span<const Insn> insns, unsigned length, unsigned more = 0);
    unsigned fetch_bytes(uint64_t linear, unsigned want, uint8_t* out);
    void next_generation();
    template <typename Doomed>
    void drop_if(Doomed doomed);
    void forget_places();
    unsigned within_limit(uint64_t rip) const;

    Core& core_;
    std::byte* arena_;
    size_t used_ = 0;  ///< the next block's place
    Generations generations_{0, kArenaBytes};
    std::unordered_map<uint64_t, Page> pages_;
    std::array<Block*, kRecent> recent_{};  ///< what lookup() has found, by a hash: most of its work is waiting for memory
    std::array<Single, 64> singles_;
};

/// Linear address of RIP in the current code segment.
uint64_t linear_of_rip(const Core& c, uint64_t rip);
/// True if the code segment's limit matters (not in 64-bit mode, not with a limit of 4 GiB).
inline bool limited(const Core& c) { return c.code_mode != CodeMode::Bits64 && c.seg[cpu::CS].limit != 0xffffffff; }

}  // namespace yado::cpu_interp
