// The machine that an instruction test runs on, once as this process and once as a guest: the same linear addresses hold
// the same bytes with the same rights, the registers hold the same values.
//
//   kCode    1 page  rwx (guest: user, executable)       then 1 page not mapped
//   kWindow  not mapped | page 0 rw | page 1 rw | page 2 read-only | not mapped
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace yado::oracle {

inline constexpr uint64_t kPage = 4096;
inline constexpr uint64_t kCode = 0x1357'9000;   ///< not near a power of two, where random numbers are
inline constexpr uint64_t kExit = 0x3a5c'7000;    ///< host only: the way back; a place that no operand hits by accident
inline constexpr uint64_t kWindow = 0x2000'0000;
inline constexpr uint64_t kWindowWritable = 2 * kPage;
inline constexpr uint64_t kWindowSize = 3 * kPage;
inline constexpr uint64_t kFsBase = 0x0123'4560;
inline constexpr uint64_t kGsBase = 0x0076'5430;

/// Long: 64-bit. Flat32: 32-bit code, flat segments. Real limits matter in Segmented16 only: 16-bit code and stack, CS = kCode
/// with a limit of one page, DS = ES = SS = kWindow with a limit of kWindowSize, all of them in the LDT.
enum class Mode : uint8_t { Long, Flat32, Segmented16 };
inline constexpr uint16_t kFlatData = 0x2b, kLongCode = 0x33, kFlat32Code = 0x23, kCode16 = 0x0f, kData16 = 0x17;
inline constexpr const char* kModeNames[] = {"64-bit", "32-bit", "16-bit"};

/// What an instruction can see and change. `fx` is an FXSAVE64 image; `high` are bits 255:128 of the YMM registers, zero where
/// the host has none.
struct Registers {
    std::array<uint64_t, 16> gpr{};
    uint64_t rip = 0;
    uint64_t rflags = 2;
    std::array<uint16_t, 6> selectors{};   ///< out only; in: see Mode; FS = GS = 0
    alignas(16) std::array<uint8_t, 512> fx{};
    alignas(16) std::array<uint8_t, 256> high{};
};

struct Trap {
    uint8_t vector;
    uint32_t error;
    uint64_t address;  ///< CR2; of #PF only
    friend bool operator==(const Trap&, const Trap&) = default;
};

/// One run: where it starts, the code bytes and where they lie.
struct Case {
    Mode mode = Mode::Long;
    std::vector<uint8_t> code;
    uint64_t at = kCode;          ///< linear address of code[0]
    unsigned instructions = 1;    ///< more than 1: a block; ends at at + code.size()
    Registers in;
    std::vector<std::pair<uint32_t, std::vector<uint8_t>>> pokes;  ///< window offset, bytes put there before the run
};

struct Outcome {
    bool trapped = false;
    Trap trap{};
    Registers out;
    unsigned steps = 0;
};

}  // namespace yado::oracle
