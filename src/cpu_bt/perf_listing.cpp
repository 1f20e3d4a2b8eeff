#include "cpu_bt/perf_listing.h"

namespace yado::cpu_bt {

namespace {
constexpr uint64_t kKernelAlignment = 2u << 20;  // CONFIG_PHYSICAL_ALIGN: KASLR moves by whole steps of it
}

PerfListing::PerfListing(std::unique_ptr<PerfFile> file, std::optional<GuestSymbols> symbols)
    : file_(std::move(file)), symbols_(std::move(symbols)) {
    if (symbols_) system_call_ = symbols_->address("entry_SYSCALL_64");
}

uint64_t PerfListing::slide(uint64_t lstar) const {
    const uint64_t moved = lstar - system_call_.value_or(lstar);
    return lstar != 0 && moved % kKernelAlignment == 0 ? moved : 0;
}

std::string PerfListing::name_of(const GuestPlace& place) const {
    if (place.user) return fmt::format("user:{:#x}", place.rip);
    if (symbols_)
        if (const auto name = symbols_->name(place.rip - slide(place.lstar))) return std::string(*name);
    return fmt::format("kernel:{:#x}", place.rip);
}

}  // namespace yado::cpu_bt
