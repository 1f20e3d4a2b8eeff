// What every disk verb needs while it runs: an executor on this thread, progress on a terminal, and an ear for SIGINT.
#pragma once

#include <chrono>

#include "apps/disk/disk_verbs.h"
#include "io/call_on.h"
#include "storage/operations/operations.h"

namespace yado::apps {

enum class Guess : uint8_t { Refused, Allowed };

class DiskSession {
  public:
    DiskSession();
    ~DiskSession();
    DiskSession(const DiskSession&) = delete;

    io::Executor& executor() { return executor_; }
    template <typename T>
    T wait(io::Task<T> task) {
        return io::run_until_done(executor_, std::move(task));
    }

    /// The format that the user named, or what the file looks like where a guess is allowed. Errors: Usage.
    Result<std::string> format_of(const ImageOption& image, Guess guess);
    Result<storage::ChainConfig> chain_of(const ImageOption& image, Guess guess);
    /// Progress on stderr if that is a terminal; cancelled by SIGINT, SIGTERM and SIGHUP.
    storage::Control control();
    /// One of those has come.
    bool interrupted() const;
    /// The error, or "interrupted" and what became of `what`.
    Result<> outcome(Result<> done, const std::string& what) const;

  private:
    void show(Bytes done, Bytes total);

    io::Executor executor_;
    std::chrono::steady_clock::time_point shown_{};
    bool line_open_ = false;
};

/// The format of a file that is to be made. Errors: Usage.
Result<std::string> format_of_new(const NewImageOption& image);
/// Nothing if the text is empty. Errors: Usage.
Result<std::optional<Bytes>> optional_size(const std::string& text);

}  // namespace yado::apps
