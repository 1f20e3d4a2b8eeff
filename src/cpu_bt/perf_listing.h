// Names translated blocks for `perf`: by the guest kernel's symbol where a System.map says it, else by the guest's address.
// Any thread; one for all vCPUs of a guest.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "cpu_bt/guest_symbols.h"
#include "cpu_bt/perf_files.h"

namespace yado::cpu_bt {

/// A block as the guest sees it.
struct GuestPlace {
    uint64_t rip;
    bool user;      ///< of a page that user code may run
    uint64_t lstar; ///< IA32_LSTAR: tells how far the kernel has moved itself (KASLR); 0: not yet
};

class PerfListing {
  public:
    PerfListing(std::unique_ptr<PerfFile> file, std::optional<GuestSymbols> symbols);

    void translated(const GuestPlace& place, Code code) const { file_->add(code, name_of(place)); }
    /// The translator's own code, which blocks share.
    void shared_part(Code code) const { file_->add(code, "yado:runtime"); }
    void dropped(Code code) const { file_->drop(code); }
    std::string name_of(const GuestPlace& place) const;

  private:
    uint64_t slide(uint64_t lstar) const;

    std::unique_ptr<PerfFile> file_;
    std::optional<GuestSymbols> symbols_;
    std::optional<uint64_t> system_call_;  ///< where the System.map has Linux' entry for SYSCALL
};

}  // namespace yado::cpu_bt
