#include "virtio/queue/virt_queue.h"

namespace yado::virtio {

namespace {
// A driver that never lets a queue run dry must not keep the executor from everybody else.
constexpr unsigned kBudget = 256;
}  // namespace

Result<std::unique_ptr<VirtQueue>> VirtQueue::create(unsigned index, const RingConfig& config, const RingPosition& at,
                                                     mem::GuestMemory& memory, io::Gate& gate, Events& events) {
    YADO_TRY(config.packed ? PackedRing::check(memory, config) : SplitRing::check(memory, config));
    Ring ring = config.packed ? Ring(PackedRing(memory, config, at)) : Ring(SplitRing(memory, config, at));
    return std::unique_ptr<VirtQueue>(new VirtQueue(index, std::move(ring), memory, gate, events));
}

Result<std::optional<ParsedChain>> VirtQueue::take() {
    return std::visit(
        [&](auto& ring) -> Result<std::optional<ParsedChain>> {
            // Two rounds at most: arming says that something came in, or the driver will kick.
            for (int round = 0; round < 2; ++round) {
                auto chain = YADO_TRY(ring.pop());
                if (chain) {
                    if (armed_) YADO_TRY(ring.disarm_kicks());
                    armed_ = false;
                    return chain;
                }
                armed_ = true;
                if (!YADO_TRY(ring.arm_kicks())) return std::nullopt;
            }
            return std::nullopt;
        },
        ring_);
}

std::optional<Chain> VirtQueue::pop() {
    if (held_ || failed_ || stopped_) return std::nullopt;
    auto pass = gate_.enter();
    if (!pass) return std::nullopt;
    auto parsed = take();
    if (!parsed) {
        fail_queue(parsed.error());
        return std::nullopt;
    }
    if (!*parsed) return std::nullopt;
    return std::optional<Chain>(std::in_place, std::move(**parsed), std::move(*pass));
}

void VirtQueue::put_back(Chain chain) {
    std::visit([&](auto& ring) { ring.unpop(chain.parsed_.slots); }, ring_);
}

void VirtQueue::complete(Chain chain, uint32_t written) {
    if (failed_ || stopped_) return;
    const Result<bool> signal = std::visit([&](auto& ring) { return ring.push(chain.parsed_.id, chain.parsed_.slots, written); }, ring_);
    if (!signal) return fail_queue(signal.error());
    if (*signal) events_.signal(index_);
}

void VirtQueue::fail_queue(const Error& error) {
    if (failed_ || stopped_) return;
    failed_ = true;
    events_.failed(index_, error);
}

bool VirtQueue::offer(Next& next) {
    if (stopped_) {
        next.result_.emplace(fail(ErrorKind::Conflict, "queue {} stopped", index_));
        return true;
    }
    if (++served_ > kBudget) {
        events_.again(index_);
        return false;
    }
    auto chain = pop();
    if (!chain) return false;
    next.result_.emplace(std::move(*chain));
    return true;
}

void VirtQueue::kick() {
    if (kicking_ || held_ || failed_ || stopped_) return;  // re-entered from a handler: its loop looks again anyway
    kicking_ = true;
    served_ = 0;
    if (waiting_) {
        if (offer(*waiting_)) std::exchange(waiting_, nullptr)->waiter_.resume();
    } else if (on_kick_) {
        on_kick_();
    }
    kicking_ = false;
}

void VirtQueue::stop() {
    if (std::exchange(stopped_, true)) return;
    on_kick_ = {};
    if (Next* waiting = std::exchange(waiting_, nullptr)) {
        offer(*waiting);
        waiting->waiter_.resume();
    }
}

RingPosition VirtQueue::position() const {
    return std::visit([](const auto& ring) { return ring.position(); }, ring_);
}

}  // namespace yado::virtio
