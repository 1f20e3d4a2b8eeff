// Waiting for what happens to a guest.
#pragma once

#include <chrono>
#include <string>

#include "api/guest_info.h"
#include "control/client.h"

namespace yado::apps {

/// The events of a guest from now on.
class GuestEvents {
  public:
    /// Errors: as control::Client's.
    static Result<GuestEvents> follow(const std::string& socket);

    /// The next one. Errors: TimedOut, Unreachable (the guest ended).
    Result<api::Event> next(std::chrono::steady_clock::time_point deadline);

  private:
    explicit GuestEvents(control::Client::Stream stream) : socket_(std::move(stream.socket)), text_(std::move(stream.first)) {}
    Result<std::string> next_line(std::chrono::steady_clock::time_point deadline);
    Result<> receive(std::chrono::steady_clock::time_point deadline);

    Fd socket_;
    std::string text_;
};

}  // namespace yado::apps
