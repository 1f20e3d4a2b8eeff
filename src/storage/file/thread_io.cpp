// Threads behind AsyncIo, for hosts and sandboxes without io_uring. Threads start with the first request.
#include <fcntl.h>
#include <unistd.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "base/check.h"
#include "storage/file/async_io.h"

namespace yado::storage {
namespace {

constexpr size_t kThreads = 4;

int64_t perform(const FileOp& op) {
    const int count = static_cast<int>(op.pieces.size());
    const auto offset = static_cast<off_t>(op.offset);
    int64_t n = 0;
    switch (op.kind) {
    case FileOp::Kind::Readv: n = preadv(op.fd, op.pieces.data(), count, offset); break;
    case FileOp::Kind::Writev: n = pwritev(op.fd, op.pieces.data(), count, offset); break;
    case FileOp::Kind::DataSync: n = fdatasync(op.fd); break;
    case FileOp::Kind::Fallocate: n = fallocate(op.fd, op.mode, offset, static_cast<off_t>(op.length)); break;
    case FileOp::Kind::WriteOut: n = sync_file_range(op.fd, 0, 0, kWriteOut); break;
    }
    return n < 0 ? -errno : n;
}

class ThreadIo final : public AsyncIo {
  public:
    explicit ThreadIo(io::Executor& executor) : executor_(executor) {}
    ~ThreadIo() override {
        {
            const std::lock_guard lock(mutex_);
            YADO_CHECK(queue_.empty());
            stop_ = true;
        }
        wake_.notify_all();
    }
    const char* name() const override { return "threads"; }

  private:
    bool start(Request& request) override {
        {
            const std::lock_guard lock(mutex_);
            queue_.push_back(&request);
            if (threads_.size() < kThreads && idle_ < queue_.size()) threads_.emplace_back([this] { work(); });
        }
        wake_.notify_one();
        return false;
    }

    void work() {
        while (Request* request = next()) {
            request->result = perform(request->op);
            executor_.post([request] { request->waiter.resume(); });
        }
    }

    Request* next() {
        std::unique_lock lock(mutex_);
        ++idle_;
        wake_.wait(lock, [&] { return stop_ || !queue_.empty(); });
        --idle_;
        if (queue_.empty()) return nullptr;
        Request* request = queue_.front();
        queue_.pop_front();
        return request;
    }

    io::Executor& executor_;
    std::mutex mutex_;  // guards all below
    std::condition_variable wake_;
    std::deque<Request*> queue_;
    size_t idle_ = 0;
    bool stop_ = false;
    std::vector<std::jthread> threads_;  // last: joined before the rest goes
};

}  // namespace

std::unique_ptr<AsyncIo> detail::make_thread_io(io::Executor& executor) { return std::make_unique<ThreadIo>(executor); }

}  // namespace yado::storage
