// A guest's events: the last few are kept, listeners get each new one. Any thread.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "api/guest_info.h"
#include "base/guarded.h"

namespace yado::api {

class EventLog {
  public:
    explicit EventLog(const Clock& clock) : clock_(clock) {}

    /// Numbers and stamps the event and tells the listeners, on the calling thread.
    void add(std::string_view kind, std::string_view detail = {});

    using Listener = std::function<void(const Event&)>;  ///< quick and non-blocking; must not call the log
    /// Listens until destroyed.
    class Subscription {
      public:
        Subscription() = default;
        Subscription(Subscription&& o) noexcept;
        Subscription& operator=(Subscription&& o) noexcept;
        ~Subscription();

      private:
        friend class EventLog;
        EventLog* log_ = nullptr;
        uint64_t key_ = 0;
    };
    /// `past` gets the kept events with a number above `after`, in order; every later one reaches the listener.
    [[nodiscard]] Subscription subscribe(uint64_t after, std::vector<Event>& past, Listener listener);

    static constexpr size_t kKept = 128;

  private:
    struct State {
        uint64_t last_number = 0;
        std::deque<Event> kept;
        uint64_t next_key = 1;
        std::map<uint64_t, Listener> listeners;
    };
    const Clock& clock_;
    Guarded<State, LockRank::Sink> state_;
};

}  // namespace yado::api
