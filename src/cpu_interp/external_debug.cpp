#include "cpu_interp/external_debug.h"

#include <algorithm>

#include "cpu_interp/block_cache.h"

namespace yado::cpu_interp {

namespace {

bool counts(cpu::WatchKind kind, Acc acc) {
    if (kind == cpu::WatchKind::Access) return true;
    return (kind == cpu::WatchKind::Write) == (acc == Acc::Write);
}

std::optional<cpu::DebugStop> take_hit(Core& c) {
    const auto hit = std::exchange(c.debug->hit, std::nullopt);
    if (!hit) return {};
    return cpu::DebugStop{cpu::DebugReason::Watchpoint, GuestLinearAddr(*hit)};
}

}  // namespace

ExternalDebug::ExternalDebug(const cpu::DebugControl& control) : control_(control) { std::ranges::sort(control_.breakpoints); }

bool ExternalDebug::breaks_at(uint64_t linear) const {
    return std::ranges::binary_search(control_.breakpoints, GuestLinearAddr(linear));
}

bool ExternalDebug::breaks_in_page(uint64_t linear) const {
    const auto at = std::ranges::lower_bound(control_.breakpoints, GuestLinearAddr(page_down(linear)));
    return at != control_.breakpoints.end() && page_down(at->value()) == page_down(linear);
}

bool ExternalDebug::watches_page(uint64_t linear) const {
    const uint64_t page = page_down(linear);
    return std::ranges::any_of(control_.watchpoints, [&](const cpu::Watchpoint& w) {
        return w.address.value() - page < kPageSize || page - w.address.value() < w.size.value();  // modulo 2^64
    });
}

std::optional<uint64_t> ExternalDebug::watched(uint64_t linear, unsigned size, Acc acc) const {
    for (const cpu::Watchpoint& w : control_.watchpoints) {
        if (!counts(w.kind, acc)) continue;
        if (linear - w.address.value() < w.size.value()) return linear;
        if (w.address.value() - linear < size) return w.address.value();
    }
    return {};
}

void Core::watched_access(const Insn* i, uint64_t linear, unsigned size, Acc acc) {
    const auto hit = debug->watched(linear, size, acc);
    if (!hit) return;
    if (!alone && block && i >= block->insn && i < block->end()) {
        icount -= static_cast<uint64_t>(block->end() - i);
        rip = rip_of(i);
        throw RetryAlone{};
    }
    if (!debug->hit) debug->hit = hit;
    request(kReqDebug);
}

void arm(Core& c, const cpu::DebugControl& control) {
    const cpu::DebugControl before = c.debug ? c.debug->control() : cpu::DebugControl{};
    c.debug = control.empty() ? nullptr : std::make_unique<ExternalDebug>(control);
    if (control.watchpoints != before.watchpoints) return c.tlb_flush_all();
    if (control.breakpoints != before.breakpoints) c.forget_jumps();
}

std::optional<cpu::DebugStop> stop_before(Core& c) {
    if (!c.debug) return {};
    if (const auto stop = take_hit(c)) return stop;  // by the delivery of an event
    const uint64_t linear = linear_of_rip(c, c.rip);
    if (!c.debug->breaks_at(linear)) return {};
    return cpu::DebugStop{cpu::DebugReason::Breakpoint, GuestLinearAddr(linear)};
}

std::optional<cpu::DebugStop> stop_after(Core& c) {
    if (!c.debug) return {};
    if (const auto stop = take_hit(c)) return stop;
    if (!c.debug->single_step()) return {};
    return cpu::DebugStop{cpu::DebugReason::Step, GuestLinearAddr(linear_of_rip(c, c.rip))};
}

}  // namespace yado::cpu_interp
