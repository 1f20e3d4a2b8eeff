#include "storage/file/writeback_file.h"

#include <algorithm>
#include <vector>

#include "io/gate.h"
#include "storage/pieces.h"

namespace yado::storage {
namespace {

using io::or_return;

class WritebackFile final : public ImageFile {
  public:
    WritebackFile(std::unique_ptr<ImageFile> file, WritebackPolicy policy, io::TimerQueue& timers)
        : file_(std::move(file)), policy_(policy), timers_(timers), timer_(timers.make_timer([this] { aged(); })) {}

    const std::string& name() const override { return file_->name(); }
    bool readonly() const override { return file_->readonly(); }
    Bytes size() const override { return file_->size(); }
    const char* carrier() const override { return file_->carrier(); }

    io::Task<Result<>> readv(Bytes offset, std::span<const iovec> into) override { return file_->readv(offset, into); }
    io::Task<Result<>> writev(Bytes offset, std::span<const iovec> from) override {
        const auto pass = co_await or_return(gate_.enter());
        co_await room();
        co_await or_return(co_await file_->writev(offset, from));
        waiting_ += total_of(from);
        consider();
        co_return Result<>{};
    }
    io::Task<Result<>> sync() override {
        const uint64_t before = waiting_;
        co_await or_return(co_await file_->sync());
        waiting_ -= std::min(waiting_, before);
        wake();
        co_return Result<>{};
    }
    io::Task<Result<>> write_out() override { return file_->write_out(); }
    io::Task<Result<>> write_zeroes(Bytes offset, Bytes length, ZeroMode mode) override { return file_->write_zeroes(offset, length, mode); }
    io::Task<Result<>> discard(Bytes offset, Bytes length) override { return file_->discard(offset, length); }
    io::Task<Result<>> resize(Bytes size) override { return file_->resize(size); }
    io::Task<Result<block::Extent>> map(Bytes offset, Bytes length) override { return file_->map(offset, length); }
    void end_writing() override { file_->end_writing(); }
    Result<> relock(LockUse use) override { return file_->relock(use); }
    void renamed(std::string name) override { file_->renamed(std::move(name)); }
    io::Task<Result<>> close() override {
        timer_->cancel();
        co_await gate_.close();
        timer_->cancel();
        co_return co_await file_->close();
    }

  private:
    bool full() const { return policy_.limit.value() > 0 && waiting_ + leaving_ >= policy_.limit.value(); }

    io::Task<> room() {
        while (full() && sending_) {
            io::Completion<bool> moved;
            stopped_.push_back(&moved);
            co_await moved;
        }
    }
    void wake() {
        for (io::Completion<bool>* one : std::exchange(stopped_, {})) one->complete(true);
    }

    void consider() {
        if (sending_ || waiting_ == 0 || failed_ || gate_.closed()) return;
        if (policy_.limit.value() > 0 && waiting_ >= policy_.limit.value() / 2) return start();
        if (policy_.age.count() == 0 || armed_) return;
        armed_ = true;
        timer_->arm(timers_.clock().now() + policy_.age);
    }
    void aged() {
        armed_ = false;
        if (!sending_ && waiting_ > 0 && !failed_ && !gate_.closed()) start();
    }

    void start() {
        sending_ = true;
        leaving_ = std::exchange(waiting_, 0);
        io::spawn(send());
    }
    io::Task<> send() {
        const auto pass = gate_.enter();  // start() has seen it open
        const Result<> sent = co_await file_->write_out();
        failed_ = !sent.has_value();  // sync() tells of it; nothing is held up for it
        leaving_ = 0;
        sending_ = false;
        consider();
        wake();
    }

    std::unique_ptr<ImageFile> file_;
    const WritebackPolicy policy_;
    io::TimerQueue& timers_;
    uint64_t waiting_ = 0, leaving_ = 0;  // bytes
    bool sending_ = false, armed_ = false, failed_ = false;
    std::vector<io::Completion<bool>*> stopped_;
    io::Gate gate_;
    std::unique_ptr<io::Timer> timer_;
};

}  // namespace

std::unique_ptr<ImageFile> limit_writeback(std::unique_ptr<ImageFile> file, WritebackPolicy policy, io::TimerQueue& timers) {
    if (!policy.any() || file->readonly()) return file;
    return std::make_unique<WritebackFile>(std::move(file), policy, timers);
}

}  // namespace yado::storage
