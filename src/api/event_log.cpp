#include "api/event_log.h"

namespace yado::api {

void EventLog::add(std::string_view kind, std::string_view detail) {
    auto state = state_.lock();
    Event event{++state->last_number, clock_.wall(), std::string(kind), std::string(detail)};
    for (const auto& [key, listener] : state->listeners) listener(event);
    state->kept.push_back(std::move(event));
    if (state->kept.size() > kKept) state->kept.pop_front();
}

EventLog::Subscription EventLog::subscribe(uint64_t after, std::vector<Event>& past, Listener listener) {
    auto state = state_.lock();
    for (const Event& event : state->kept)
        if (event.number > after) past.push_back(event);
    Subscription subscription;
    subscription.log_ = this;
    subscription.key_ = state->next_key++;
    state->listeners.emplace(subscription.key_, std::move(listener));
    return subscription;
}

EventLog::Subscription::Subscription(Subscription&& o) noexcept : log_(std::exchange(o.log_, nullptr)), key_(o.key_) {}

EventLog::Subscription& EventLog::Subscription::operator=(Subscription&& o) noexcept {
    std::swap(log_, o.log_);
    std::swap(key_, o.key_);
    return *this;
}

EventLog::Subscription::~Subscription() {
    if (log_) log_->state_.lock()->listeners.erase(key_);
}

}  // namespace yado::api
