// One connection to an NBD server: libnbd's state machine, its descriptor watched by the executor with the directions that it
// asks for. Once dead it stays dead; nbd_file.h makes another.
//
// libnbd calls back under its own lock, so whoever waits is resumed after the call that completed the command.
// Executor's thread only.
#pragma once

#include <libnbd.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/units.h"
#include "io/executor.h"
#include "io/task.h"

namespace yado::storage::nbd {

/// What the server said of the export.
struct ExportFacts {
    Bytes size;  ///< whole blocks
    bool readonly = false;
    bool flush = false, trim = false, zeroes = false, block_status = false;
    uint32_t block = 1;        ///< requests are multiples of it; a power of two
    uint32_t max_payload = 0;  ///< of one request
    friend bool operator==(const ExportFacts&, const ExportFacts&) = default;
};

class Link {
  public:
    /// Errors: NotFound (no socket, no export), Unreachable (nobody listens, no answer in time), Usage (no such URI).
    static io::Task<Result<std::shared_ptr<Link>>> connect(io::Executor& executor, std::string uri, Nanoseconds patience);
    ~Link();
    Link(const Link&) = delete;

    const ExportFacts& facts() const { return facts_; }
    bool dead() const;
    /// Why it died, as libnbd says it.
    const std::string& last_words() const { return last_words_; }

    /// Issues one command by one of nbd_aio_*. 0, or an errno; where the link is dead afterwards, what became of the command is not known.
    using Issue = std::function<int64_t(nbd_handle*, nbd_completion_callback)>;
    io::Task<int> perform(const Issue& issue);
    /// Says goodbye. Nothing is in flight.
    void disconnect();

  private:
    struct Pending {
        Link* link;
        int error = 0;
        io::Completion<int> done;
    };
    Link(io::Executor& executor, std::string uri) : executor_(executor), uri_(std::move(uri)) {}

    Result<> begin();
    io::Task<Result<>> until_ready(Nanoseconds patience);
    Result<> learn_facts();
    std::unexpected<Error> not_connected() const;
    static int on_completed(void* user, int* error);
    void on_event(uint32_t events);
    void after_call(int64_t result);
    void watch_anew();
    void drain();

    io::Executor& executor_;
    const std::string uri_;
    nbd_handle* handle_ = nullptr;
    ExportFacts facts_;
    std::string last_words_;
    int last_errno_ = 0;
    bool connecting_ = true, timed_out_ = false;
    io::Completion<bool>* settled_ = nullptr;  // until_ready() waits for it
    uint32_t events_ = 0;                      // that watch_ waits for
    std::vector<Pending*> done_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // shared with posted functions
    io::Executor::Watch watch_;
};

}  // namespace yado::storage::nbd
