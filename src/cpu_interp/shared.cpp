#include "cpu_interp/shared.h"

#include <algorithm>

#include "base/check.h"
#include "cpu_interp/core.h"
#include "cpu_interp/interp.h"

namespace yado::cpu_interp {

namespace {

constexpr size_t kMaxStalePages = 1024;  // then all blocks go
constexpr unsigned kGranule = 4;

template <typename Granules, typename F>
void for_each_granule(Granules& granules, unsigned first, unsigned last, F f) {
    for (unsigned g = first / kGranule; g <= (last - 1) / kGranule; ++g) f(granules[g / 64], uint64_t{1} << (g % 64));
}

}  // namespace

std::shared_ptr<Shared> make_shared_state(mem::GuestMemory& memory) { return std::make_shared<Shared>(memory); }

Shared::Shared(mem::GuestMemory& memory) : memory_(memory) { memory_.add_watcher(this); }
Shared::~Shared() { memory_.remove_watcher(this); }

void Shared::add(Core& core) {
    const std::scoped_lock lock(world_, code_);
    members_.push_back({.core = &core});
}

void Shared::remove(Core& core) {
    const std::scoped_lock lock(world_, code_);
    std::erase_if(members_, [&](const Member& m) { return m.core == &core; });
}

Shared::Member& Shared::member(const Core& core) {
    const auto at = std::ranges::find(members_, &core, &Member::core);
    YADO_CHECK(at != members_.end());
    return *at;
}

void Shared::enter(Core& core) {
    std::unique_lock lock(world_);
    changed_.wait(lock, [&] { return stopper_ == nullptr; });
    member(core).running = true;
}

void Shared::leave(Core& core) {
    const std::lock_guard lock(world_);
    member(core).running = false;
    changed_.notify_all();
}

/// members_ may grow meanwhile: look the member up again.
void Shared::wait_stopped(std::unique_lock<std::mutex>& lock, Member& m) {
    const Core& core = *m.core;
    m.stopped = true;
    changed_.notify_all();
    changed_.wait(lock, [&] { return stopper_ == nullptr; });
    member(core).stopped = false;
}

void Shared::answer(Core& core) {
    std::unique_lock lock(world_);
    core.requests.fetch_and(~Core::kReqStop);
    if (stopper_ && stopper_ != &core) wait_stopped(lock, member(core));
}

bool Shared::others_stopped(const Core& self) const {
    return std::ranges::all_of(members_, [&](const Member& m) { return m.core == &self || !m.running || m.stopped; });
}

void Shared::stop_others(Core& self, const std::function<void()>& f) {
    {
        std::unique_lock lock(world_);
        if (stopper_ == &self) {
            lock.unlock();
            return f();
        }
        while (stopper_) wait_stopped(lock, member(self));
        stopper_ = &self;
        for (Member& m : members_)
            if (m.core != &self && m.running && !m.stopped) m.core->request(Core::kReqStop);
        changed_.wait(lock, [&] { return others_stopped(self); });
    }
    struct Release {
        Shared& s;
        ~Release() {
            const std::lock_guard lock(s.world_);
            s.stopper_ = nullptr;
            s.changed_.notify_all();
        }
    } release{*this};
    f();
}

void Shared::register_code(Core& self, uint64_t page, unsigned first, unsigned last) {
    {
        const std::lock_guard lock(code_);
        if (const auto at = pages_.find(page); at != pages_.end()) {
            for_each_granule(at->second, first, last, [](uint64_t& word, uint64_t bit) { word |= bit; });
            return;
        }
    }
    stop_others(self, [&] { mark(self, page, first, last); });
}

void Shared::mark(Core&, uint64_t page, unsigned first, unsigned last) {
    const std::lock_guard lock(code_);
    memory_.mark_code(GuestPhysAddr(page));
    for (Member& m : members_) m.core->tlb_drop_write(page);
    for_each_granule(pages_[page], first, last, [](uint64_t& word, uint64_t bit) { word |= bit; });
}

void Shared::code_written(GuestPhysAddr addr, Bytes size) {
    const uint64_t page = page_down(addr.value());
    const unsigned first = addr.value() & kPageMask;
    const std::lock_guard lock(code_);
    const auto at = pages_.find(page);
    if (at == pages_.end() || size.value() == 0) return;
    bool hit = false;
    for_each_granule(at->second, first, first + static_cast<unsigned>(size.value()),
                     [&](uint64_t word, uint64_t bit) { hit |= (word & bit) != 0; });
    if (!hit) return;
    pages_.erase(at);
    memory_.clear_code(GuestPhysAddr(page));
    for (Member& m : members_) {
        if (m.stale.pages.size() >= kMaxStalePages) m.stale.all = true;
        else m.stale.pages.push_back(page);
        m.core->request(Core::kReqStale);
    }
}

void Shared::request_all(uint32_t bits) {
    const std::lock_guard lock(code_);
    for (Member& m : members_) m.core->request(bits);
}
void request_flush(Shared& shared) { shared.request_all(Core::kReqFlush); }

Shared::Stale Shared::take_stale(Core& core) {
    const std::lock_guard lock(code_);
    core.requests.fetch_and(~Core::kReqStale);
    return std::exchange(member(core).stale, {});
}

}  // namespace yado::cpu_interp
