// An ImageFile in memory with a log of its writes. What a crash may leave is made from the log: everything up to the
// last completed sync, and of what came later any choice, in part, in units of 512 bytes (torn 4 KiB writes are
// what that gives). Requests can be made to fail by number.
#pragma once

#include <cstring>
#include <functional>
#include <random>
#include <vector>

#include "storage/file/image_file.h"
#include "storage/pieces.h"

namespace yado::fakes {

class ModelFile final : public storage::ImageFile {
  public:
    using Contents = std::vector<std::byte>;
    struct Op {
        enum class Kind : uint8_t { Write, Zero, Resize, Sync } kind;
        uint64_t offset = 0;
        uint64_t length = 0;  ///< Resize: the new size
        Contents data;
    };

    explicit ModelFile(Contents contents = {}, bool readonly = false)
        : contents_(std::move(contents)), start_(contents_), readonly_(readonly) {}

    const std::string& name() const override { return name_; }
    bool readonly() const override { return readonly_; }
    Bytes size() const override { return Bytes(contents_.size()); }
    const char* carrier() const override { return "memory"; }

    io::Task<Result<>> readv(Bytes offset, std::span<const iovec> into) override {
        co_await io::or_return(turn("read"));
        const uint64_t length = storage::total_of(into);
        if (offset.value() > contents_.size() || length > contents_.size() - offset.value())
            co_return fail(ErrorKind::Failed, "disk {}: read behind the end", name_);
        storage::scatter(std::span(contents_).subspan(offset.value(), length), into);
        co_return Result<>{};
    }
    io::Task<Result<>> writev(Bytes offset, std::span<const iovec> from) override {
        co_await io::or_return(turn("write"));
        Op op{Op::Kind::Write, offset.value(), storage::total_of(from), Contents(storage::total_of(from))};
        storage::gather(from, op.data);
        do_op(std::move(op));
        co_return Result<>{};
    }
    io::Task<Result<>> sync() override {
        if (auto r = turn("sync"); !r) sync_lost_ = true;
        if (sync_lost_) co_return fail(ErrorKind::Failed, "disk {}: flush: made to fail", name_);
        do_op({Op::Kind::Sync});
        co_return Result<>{};
    }
    io::Task<Result<>> write_zeroes(Bytes offset, Bytes length, storage::ZeroMode) override {
        co_await io::or_return(turn("write zeroes"));
        do_op({Op::Kind::Zero, offset.value(), length.value()});
        co_return Result<>{};
    }
    io::Task<Result<>> discard(Bytes offset, Bytes length) override {
        co_await io::or_return(turn("discard"));
        do_op({Op::Kind::Zero, offset.value(), length.value()});
        co_return Result<>{};
    }
    io::Task<Result<>> resize(Bytes size) override {
        co_await io::or_return(turn("resize"));
        do_op({Op::Kind::Resize, 0, size.value()});
        co_return Result<>{};
    }
    io::Task<Result<block::Extent>> map(Bytes offset, Bytes length) override {
        const auto at = contents_.begin() + static_cast<ptrdiff_t>(offset.value());
        const bool zero = std::all_of(at, at + static_cast<ptrdiff_t>(length.value()), [](std::byte b) { return b == std::byte{0}; });
        co_return block::Extent{zero ? block::Extent::Kind::Zero : block::Extent::Kind::Data, length};
    }
    io::Task<Result<>> close() override { co_return co_await sync(); }

    const Contents& contents() const { return contents_; }
    const std::vector<Op>& log() const { return log_; }

    /// Called with "read", "write", ... and the request's number; true makes it fail (EIO).
    std::function<bool(const char*, uint64_t)> fail_if;

    /// The file after a crash behind the first `ops` entries of the log, as the random source has it.
    Contents after_crash(size_t ops, std::mt19937_64& random) const {
        Contents out = start_;
        size_t synced = 0;
        for (size_t n = 0; n < ops; ++n)
            if (log_[n].kind == Op::Kind::Sync) synced = n;
        for (size_t n = 0; n < ops; ++n) {
            if (n < synced) apply(log_[n], out, [] { return true; });
            else if (random() % 4 != 0) apply(log_[n], out, [&] { return random() % 8 != 0; });
        }
        return out;
    }

  private:
    Result<> turn(const char* what) {
        if (fail_if && fail_if(what, ++requests_)) return fail(ErrorKind::Failed, "disk {}: {}: made to fail", name_, what);
        return {};
    }
    void do_op(Op op) {
        apply(op, contents_, [] { return true; });
        log_.push_back(std::move(op));
    }
    /// `keep` is asked for each 512 bytes.
    template <typename Keep>
    static void apply(const Op& op, Contents& to, Keep keep) {
        if (op.kind == Op::Kind::Sync) return;
        if (op.kind == Op::Kind::Resize) return to.resize(op.length);
        if (to.size() < op.offset + op.length) to.resize(op.offset + op.length);
        for (uint64_t at = 0; at < op.length; at += 512) {
            const uint64_t n = std::min<uint64_t>(512, op.length - at);
            if (!keep()) continue;
            if (op.kind == Op::Kind::Zero) std::memset(to.data() + op.offset + at, 0, n);
            else std::memcpy(to.data() + op.offset + at, op.data.data() + at, n);
        }
    }

    std::string name_ = "model";
    Contents contents_, start_;
    std::vector<Op> log_;
    uint64_t requests_ = 0;
    bool readonly_, sync_lost_ = false;
};

}  // namespace yado::fakes
