#include "cpu_bt/lockstep_state.h"

#include <algorithm>
#include <cstring>
#include <map>

namespace yado::cpu_bt {

void Registers::take(Core& c) {
    cpu_interp::fpu_leave(*c.fpu);
    std::copy_n(c.gpr, 16, gpr.begin());
    rip = c.rip;
    sysflags = c.sysflags;
    cr2 = c.cr2;
    icount = c.icount;
    aflags = c.aflags;
    std::memcpy(fpu.data(), c.fpu.get(), fpu.size());
}

void Registers::put(Core& c) const {
    cpu_interp::fpu_leave(*c.fpu);
    std::ranges::copy(gpr, c.gpr);
    c.rip = rip;
    c.sysflags = sysflags;
    c.cr2 = cr2;
    c.icount = icount;
    c.aflags = aflags;
    std::memcpy(static_cast<void*>(c.fpu.get()), fpu.data(), fpu.size());
}

bool Difference::any() const {
    const Registers &t = translator, &i = interpreter;
    return t.gpr != i.gpr || (rip && t.rip != i.rip) || t.sysflags != i.sysflags || ((t.aflags ^ i.aflags) & Registers::kArithmetic) ||
           t.fpu != i.fpu || !memory.empty() || !interpreter_raised.empty();
}

void StoredBytes::keep(const StoreLog& log) {
    for (size_t n = 0; n < log.records().size(); ++n) std::memcpy(after_[n].data(), log.records()[n].host, log.records()[n].size);
}

namespace {

struct Byte {
    uint64_t linear;
    uint8_t before, translator;
};
using Bytes = std::map<const uint8_t*, Byte>;

void add(Bytes& bytes, const StoreRecord& r, const uint8_t* after) {
    for (uint64_t n = 0; n < r.size; ++n) {
        const uint8_t was = r.before[n];
        bytes.try_emplace(r.host + n, r.linear ? r.linear + n : 0, was, after ? after[n] : was);
    }
}

}  // namespace

void StoredBytes::compare(const StoreLog& translator, const StoreLog& interpreter, std::vector<MemoryDifference>& found) const {
    found.clear();
    const auto theirs = interpreter.records();
    const auto ours = translator.records();
    const bool same_places = std::ranges::equal(ours, theirs, [](const auto& a, const auto& b) { return a.host == b.host && a.size == b.size; });
    const auto agrees = [&](size_t n) { return std::memcmp(ours[n].host, after_[n].data(), ours[n].size) == 0; };
    bool all = same_places;
    for (size_t n = 0; n < ours.size() && all; ++n) all = agrees(n);
    if (all) return;

    Bytes bytes;
    for (size_t n = 0; n < ours.size(); ++n) add(bytes, ours[n], after_[n].data());
    for (const StoreRecord& r : theirs) add(bytes, r, nullptr);
    for (const auto& [at, byte] : bytes)
        if (byte.translator != *at) found.push_back({byte.linear, byte.before, byte.translator, *at});
}

}  // namespace yado::cpu_bt
