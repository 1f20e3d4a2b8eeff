#include "cpu_kvm/debug_slots.h"

#include <algorithm>
#include <bit>

namespace yado::cpu_kvm {

namespace {

/// DR7's LEN field of 1, 2, 4 or 8 bytes.
uint64_t length_field(unsigned size) { return size == 8 ? 2 : size - 1; }

constexpr uint64_t kFixed = 0x400, kGlobalExact = 1u << 9;

}  // namespace

Result<> DebugSlots::add(const Slot& slot) {
    const auto free = std::ranges::find(slots_, false, &Slot::used);
    if (free == slots_.end())
        return fail(ErrorKind::OutOfRange, "KVM has four debug registers for breakpoints and watchpoints; remove some");
    *free = slot;
    return {};
}

Result<> DebugSlots::add(const cpu::Watchpoint& w) {
    const unsigned access = w.kind == cpu::WatchKind::Write ? 1 : 3;  // there is no "reads only"
    uint64_t at = w.address.value(), left = w.size.value();
    while (left > 0) {
        const uint64_t aligned = at == 0 ? 8 : at & -at;
        const auto size = static_cast<unsigned>(std::min({aligned, std::bit_floor(left), uint64_t{8}}));
        YADO_TRY(add(Slot{at, size, access, true}));
        at += size;
        left -= size;
    }
    return {};
}

Result<DebugSlots> DebugSlots::create(const cpu::DebugControl& control) {
    DebugSlots slots;
    for (const GuestLinearAddr address : control.breakpoints) YADO_TRY(slots.add(Slot{address.value(), 1, 0, true}));
    for (const cpu::Watchpoint& watchpoint : control.watchpoints) YADO_TRY(slots.add(watchpoint));
    return slots;
}

uint64_t DebugSlots::dr7() const {
    uint64_t value = kFixed;
    for (size_t n = 0; n < slots_.size(); ++n) {
        const Slot& s = slots_[n];
        if (!s.used) continue;
        value |= kGlobalExact | uint64_t{2} << (2 * n) | uint64_t{s.access} << (16 + 4 * n) | length_field(s.size) << (18 + 4 * n);
    }
    return value;
}

std::optional<cpu::DebugStop> DebugSlots::stop_of(uint64_t dr6) const {
    for (size_t n = 0; n < slots_.size(); ++n) {
        if (!slots_[n].used || !(dr6 >> n & 1)) continue;
        const auto reason = slots_[n].access == 0 ? cpu::DebugReason::Breakpoint : cpu::DebugReason::Watchpoint;
        return cpu::DebugStop{reason, GuestLinearAddr(slots_[n].address)};
    }
    return {};
}

}  // namespace yado::cpu_kvm
