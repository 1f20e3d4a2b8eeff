// Names of the guest kernel's functions, from the System.map of its build or a copy of its /proc/kallsyms. Immutable once made:
// any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace yado::cpu_bt {

class GuestSymbols {
  public:
    /// Lines of "ADDRESS TYPE NAME" as nm prints them; those of modules ("NAME\t[MODULE]") are left out. Errors: Corrupt, with
    /// "source:line", or for a list that names no code.
    static Result<GuestSymbols> parse(std::string text, std::string_view source);
    /// Errors: those of the file, and of parse().
    static Result<GuestSymbols> read(const std::string& path);

    /// The function that an address lies in; nullopt outside of the kernel's text.
    std::optional<std::string_view> name(uint64_t address) const;
    std::optional<uint64_t> address(std::string_view name) const;

  private:
    struct Symbol {
        uint64_t address;
        std::string_view name;  ///< in text_
    };
    std::unique_ptr<const std::string> text_;
    std::vector<Symbol> symbols_;  ///< of code, by address
};

}  // namespace yado::cpu_bt
