// What the vCPUs of one guest share: stopping each other, and the pages that hold decoded code.
//
// Rendezvous: stop_others() asks every running vCPU by kReqStop; each answers at its next block boundary and waits. A vCPU
// that waits for its own turn counts as stopped; one outside run() does too and cannot enter meanwhile. While f runs, the
// stopper may touch the others' Cores.
//
// Code pages: a page is marked in GuestMemory before the first decode from it, with everyone stopped, so that no write
// permission for it is left in any TLB. A write to a decoded byte unmarks the page and puts it on every vCPU's list of
// stale pages (kReqStale); a vCPU drops those blocks at its next block boundary.
#pragma once

#include <array>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "mem/guest_memory.h"

namespace yado::cpu_interp {

class Core;

class Shared final : public mem::CodeWatcher {
  public:
    explicit Shared(mem::GuestMemory& memory);
    ~Shared() override;

    /// A vCPU's life; add before it runs, remove after. Any thread.
    void add(Core& core);
    void remove(Core& core);

    /// Brackets Vcpu::run. enter() waits while the world is stopped. The vCPU's thread.
    void enter(Core& core);
    void leave(Core& core);
    /// Answers kReqStop at a block boundary: waits until the stopper is done. The vCPU's thread.
    void answer(Core& core);
    /// Runs f with every other vCPU stopped. The vCPU's thread; nests.
    void stop_others(Core& self, const std::function<void()>& f);

    /// Notes that bytes [first, last) of a guest-physical page were decoded; marks the page if it was not. The vCPU's
    /// thread, at a block boundary.
    void register_code(Core& self, uint64_t page, unsigned first, unsigned last);
    /// mem::CodeWatcher. Any thread.
    void code_written(GuestPhysAddr addr, Bytes size) override;

    /// Posts request bits to every vCPU. Any thread.
    void request_all(uint32_t bits);

    struct Stale {
        bool all = false;
        std::vector<uint64_t> pages;
    };
    /// The pages whose blocks this vCPU has to drop; clears the list.
    Stale take_stale(Core& core);

  private:
    struct Member {
        Core* core;
        bool running = false;
        bool stopped = false;
        Stale stale;
    };
    /// One bit for four bytes of a page.
    using Granules = std::array<uint64_t, 16>;

    Member& member(const Core& core);
    bool others_stopped(const Core& self) const;
    void wait_stopped(std::unique_lock<std::mutex>& lock, Member& m);
    void mark(Core& self, uint64_t page, unsigned first, unsigned last);

    mem::GuestMemory& memory_;

    std::mutex world_;  // members_' list and flags, stopper_
    std::condition_variable changed_;
    std::vector<Member> members_;  // changes only under both locks
    const Core* stopper_ = nullptr;

    std::mutex code_;  // pages_, members_[].stale; taken after world_
    std::unordered_map<uint64_t, Granules> pages_;
};

}  // namespace yado::cpu_interp
