// io_uring behind AsyncIo. The executor watches the ring's own descriptor, which is readable while completions wait.
//
// A request that finds the ring idle is submitted at once, and if the page cache answers it, it never suspends. Requests
// that come while others are in flight are submitted together, by one system call a turn of the loop.
#include <liburing.h>
#include <sys/epoll.h>

#include <deque>
#include <vector>

#include "base/check.h"
#include "base/log.h"
#include "storage/file/async_io.h"

namespace yado::storage {
namespace {

constexpr unsigned kEntries = 256;

void prepare(io_uring_sqe* sqe, const FileOp& op) {
    const auto count = static_cast<unsigned>(op.pieces.size());
    switch (op.kind) {
    case FileOp::Kind::Readv: io_uring_prep_readv(sqe, op.fd, op.pieces.data(), count, op.offset); break;
    case FileOp::Kind::Writev: io_uring_prep_writev(sqe, op.fd, op.pieces.data(), count, op.offset); break;
    case FileOp::Kind::DataSync: io_uring_prep_fsync(sqe, op.fd, IORING_FSYNC_DATASYNC); break;
    case FileOp::Kind::Fallocate:
        io_uring_prep_fallocate(sqe, op.fd, op.mode, static_cast<off_t>(op.offset), static_cast<off_t>(op.length));
        break;
    case FileOp::Kind::WriteOut: io_uring_prep_sync_file_range(sqe, op.fd, 0, 0, kWriteOut); break;
    }
}

class UringIo final : public AsyncIo {
  public:
    UringIo(io::Executor& executor, const io_uring& ring) : executor_(executor), ring_(ring) {}
    ~UringIo() override {
        YADO_CHECK(in_flight_ == 0 && waiting_.empty());
        *alive_ = false;
        watch_ = {};
        io_uring_queue_exit(&ring_);
    }
    const char* name() const override { return "io_uring"; }

  private:
    bool start(Request& request) override {
        if (!watch_ && !begin_watch()) {
            request.result = -EIO;
            return true;
        }
        if (!enqueue(request)) {
            waiting_.push_back(&request);
            submit_later();
            return false;
        }
        if (in_flight_ > 1) {
            submit_later();
            return false;
        }
        submit();
        return take_if_done(request);
    }

    /// False: the submission queue is full, and the kernel would not take it.
    bool enqueue(Request& request) {
        io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
        if (!sqe) {
            submit();
            sqe = io_uring_get_sqe(&ring_);
        }
        if (!sqe) return false;
        prepare(sqe, request.op);
        io_uring_sqe_set_data(sqe, &request);
        ++in_flight_;
        return true;
    }

    void enqueue_waiting() {
        while (!waiting_.empty() && enqueue(*waiting_.front())) waiting_.pop_front();
    }

    bool begin_watch() {
        auto w = executor_.watch(ring_.ring_fd, EPOLLIN, [this](uint32_t) { reap(); });
        if (w) watch_ = std::move(*w);
        return w.has_value();
    }

    /// The only request in flight may have completed inside the submission.
    bool take_if_done(Request& request) {
        io_uring_cqe* cqe = nullptr;
        if (io_uring_peek_cqe(&ring_, &cqe) != 0) return false;
        YADO_CHECK(io_uring_cqe_get_data(cqe) == &request);
        request.result = cqe->res;
        io_uring_cqe_seen(&ring_, cqe);
        --in_flight_;
        return true;
    }

    void submit() {
        const int n = io_uring_submit(&ring_);
        if (n < 0) submit_later();  // EAGAIN, EBUSY: the kernel wants completions taken first
    }

    void submit_later() {
        if (submit_posted_) return;
        submit_posted_ = true;
        executor_.post([this, alive = alive_] {
            if (!*alive) return;
            submit_posted_ = false;
            enqueue_waiting();
            submit();
        });
    }

    /// A resumed coroutine may start requests, and may destroy this object: then the loop ends.
    void reap() {
        std::vector<Request*> done;
        io_uring_cqe* cqe = nullptr;
        while (io_uring_peek_cqe(&ring_, &cqe) == 0) {
            auto* request = static_cast<Request*>(io_uring_cqe_get_data(cqe));
            request->result = cqe->res;
            done.push_back(request);
            io_uring_cqe_seen(&ring_, cqe);
        }
        in_flight_ -= done.size();
        const std::shared_ptr<bool> alive = alive_;
        for (Request* request : done) request->waiter.resume();
        if (!*alive) return;
        enqueue_waiting();
        if (io_uring_sq_ready(&ring_) > 0) submit();
    }

    io::Executor& executor_;
    io_uring ring_;
    io::Executor::Watch watch_;
    size_t in_flight_ = 0;
    std::deque<Request*> waiting_;  // found the submission queue full
    bool submit_posted_ = false;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // shared with posted functions and reap()'s loop
};

}  // namespace

Result<std::unique_ptr<AsyncIo>> detail::make_uring_io(io::Executor& executor) {
    io_uring ring{};
    const int r = io_uring_queue_init(kEntries, &ring, 0);
    if (r < 0) return std::unexpected(errno_error(-r, "io_uring"));
    return std::make_unique<UringIo>(executor, ring);
}

Result<AioMode> parse_aio(std::string_view text) {
    if (text == "auto") return AioMode::Auto;
    if (text == "io_uring") return AioMode::IoUring;
    if (text == "threads") return AioMode::Threads;
    return fail(ErrorKind::Usage, "aio={}: choose auto, io_uring or threads", text);
}

Result<std::unique_ptr<AsyncIo>> make_async_io(io::Executor& executor, AioMode mode) {
    if (mode == AioMode::Threads) return detail::make_thread_io(executor);
    auto ring = detail::make_uring_io(executor);
    if (ring) return ring;
    if (mode == AioMode::IoUring)
        return fail(ErrorKind::Failed, "{}: this host refuses it; use aio=threads", ring.error().message());
    YADO_LOG(Debug, "{}; disk requests go to threads", ring.error().message());
    return detail::make_thread_io(executor);
}

}  // namespace yado::storage
