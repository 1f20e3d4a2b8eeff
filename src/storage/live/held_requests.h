// Requests that a disk keeps back because the host failed them, until it is mended and somebody says so.
//
//     wait() --retry()--> issued again          wait() --end()--> failed; from then on nothing is kept, until begin()
//
// Executor's thread.
#pragma once

#include <functional>
#include <utility>
#include <vector>

#include "base/check.h"
#include "io/task.h"

namespace yado::storage {

class HeldRequests {
  public:
    enum class Then : uint8_t { Retry, GiveUp };
    using Tell = std::function<void(const Error&)>;

    /// `tell` is called with the error of the first request that is kept back where none was.
    explicit HeldRequests(Tell tell) : tell_(std::move(tell)) {}
    HeldRequests(const HeldRequests&) = delete;
    ~HeldRequests() { YADO_CHECK(waiting_.empty()); }

    /// Keeps the request that failed. GiveUp at once while there is nobody who could resume it.
    io::Task<Then> wait(Error error) {
        if (!open_) co_return Then::GiveUp;
        io::Completion<Then> then;
        waiting_.push_back(&then);
        if (waiting_.size() == 1) tell_(error);
        count_changed();
        co_return co_await then;
    }

    /// `resting` gets the number of requests kept back whenever it changes.
    void begin(std::function<void(size_t)> resting) {
        resting_ = std::move(resting);
        open_ = true;
    }
    void retry() { let_go(Then::Retry); }
    void end() {
        open_ = false;
        let_go(Then::GiveUp);
        resting_ = {};
    }
    size_t count() const { return waiting_.size(); }

  private:
    void count_changed() const {
        if (resting_) resting_(waiting_.size());
    }
    void let_go(Then then) {
        const auto now = std::exchange(waiting_, {});
        if (now.empty()) return;
        count_changed();
        for (io::Completion<Then>* one : now) one->complete(then);
    }

    Tell tell_;
    std::function<void(size_t)> resting_;
    std::vector<io::Completion<Then>*> waiting_;
    bool open_ = false;
};

}  // namespace yado::storage
