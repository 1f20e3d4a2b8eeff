#include "virtio/session.h"

namespace yado::virtio {

Result<std::unique_ptr<Session>> Session::create(const SessionConfig& config, mem::GuestMemory& memory, io::Executor& executor,
                                                 VirtQueue::Events& events) {
    std::unique_ptr<Session> session(new Session(config.features, memory, executor));
    for (unsigned i = 0; i < config.queues.size(); ++i) {
        std::unique_ptr<VirtQueue> queue;
        if (const auto& ring = config.queues[i]) {
            const RingPosition at = i < config.positions.size() ? config.positions[i] : RingPosition{};
            queue = YADO_TRY(VirtQueue::create(i, *ring, at, memory, session->gate_, events));
        }
        session->queues_.push_back(std::move(queue));
    }
    return session;
}

void Session::kick(unsigned index) {
    if (VirtQueue* q = queue(index)) q->kick();
}
void Session::kick_all() {
    for (const auto& q : queues_)
        if (q) q->kick();
}
void Session::hold() {
    for (const auto& q : queues_)
        if (q) q->hold();
}
void Session::release() {
    if (gate_.closed()) gate_.reopen();
    for (const auto& q : queues_)
        if (q) q->release();
}
void Session::fail_all() {
    for (const auto& q : queues_)
        if (q) q->fail_quietly();
}
void Session::stop() {
    for (const auto& q : queues_)
        if (q) q->stop();
}

std::vector<RingPosition> Session::positions() const {
    std::vector<RingPosition> all;
    for (const auto& q : queues_) all.push_back(q ? q->position() : RingPosition{});
    return all;
}

}  // namespace yado::virtio
