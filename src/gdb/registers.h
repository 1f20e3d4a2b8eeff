// The registers as GDB numbers them, and the target description that tells it so. GDB manual, appendix G: the features
// org.gnu.gdb.i386.core, .sse, .segments, .avx, and one of our own for control registers.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "cpu/state.h"

namespace yado::gdb {

/// How registers of one sort come out of the state and go into it. Values are little-endian, as long as the register.
struct RegisterAccess {
    void (*get)(const cpu::CpuState& state, unsigned index, std::byte* out);
    /// Errors: Usage (this one cannot be set so).
    Result<> (*set)(cpu::CpuState& state, unsigned index, const std::byte* in);
};

struct Register {
    std::string name;
    unsigned bits;
    const char* type;   ///< GDB's, or one that the feature declares
    const char* group;  ///< "" for GDB's own choice
    const RegisterAccess* access;
    unsigned index;     ///< within its access
};

struct Feature {
    const char* name;
    const char* types;  ///< XML
    std::vector<Register> registers;
};

class RegisterFile {
  public:
    enum class Vectors : uint8_t { Sse, Avx };
    explicit RegisterFile(Vectors vectors);

    /// By GDB's numbers, which are positions in the list.
    std::span<const Register* const> all() const { return all_; }
    /// nullptr: none has this number.
    const Register* find(uint64_t number) const { return number < all_.size() ? all_[number] : nullptr; }
    /// target.xml
    std::string description() const;

  private:
    std::vector<Feature> features_;
    std::vector<const Register*> all_;
};

/// The value, bits/8 bytes of it.
std::vector<std::byte> value_of(const cpu::CpuState& state, const Register& r);

}  // namespace yado::gdb
