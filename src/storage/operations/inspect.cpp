// What needs one file only: info, check, snapshots; and comparing two chains.
#include <algorithm>
#include <cstring>
#include <vector>

#include "storage/nbd/nbd_file.h"
#include "storage/operations/copy.h"
#include "storage/operations/operations.h"

namespace yado::storage {
namespace {

using block::Extent;
using io::or_return;

io::Task<Result<std::unique_ptr<ImageFile>>> open_alone(io::Executor& executor, const std::string& path, bool readonly) {
    const HostFileConfig host{.path = path, .readonly = readonly};
    co_return co_await open_named_file(executor, host);
}

/// The first difference.
class Compare final : public SearchWork {
  public:
    Compare(const Chain& left, const Chain& right) : left_(left), right_(right) {}
    io::Task<Result<Extent>> look(Bytes at, Bytes length) override {
        Extent a = co_await or_return(co_await shown(left_, at, length));
        const Extent b = co_await or_return(co_await shown(right_, at, a.length));
        a.length = b.length;
        const bool both_zero = a.kind == Extent::Kind::Zero && b.kind == Extent::Kind::Zero;
        a.kind = both_zero ? Extent::Kind::Absent : Extent::Kind::Data;
        co_return a;
    }
    io::Task<Result<>> chunk(Bytes at, Extent, std::span<std::byte> buffer) override {
        std::vector<std::byte> other(buffer.size());
        co_await or_return(co_await read_shown(*left_.top, at, buffer));
        co_await or_return(co_await read_shown(*right_.top, at, other));
        if (std::memcmp(buffer.data(), other.data(), other.size()) == 0) co_return Result<>{};
        const auto first = std::mismatch(other.begin(), other.end(), buffer.begin()).first - other.begin();
        co_return found_at(at + Bytes(static_cast<uint64_t>(first)));
    }

  private:
    static io::Task<Result<Extent>> shown(const Chain& chain, Bytes at, Bytes length) {
        Extent beyond{Extent::Kind::Zero, length};
        if (at >= chain.top->size()) co_return beyond;
        co_return co_await map_through(chain.layers, at, length);
    }
    const Chain& left_;
    const Chain& right_;
};

}  // namespace

io::Task<Result<Comparison>> compare(io::Executor& executor, ChainConfig left, ChainConfig right, const Control& control) {
    left.readonly = right.readonly = true;
    Chain a = co_await or_return(co_await open_chain(executor, std::move(left)));
    auto opened = co_await open_chain(executor, std::move(right));
    if (!opened) {
        (void)co_await a.close();
        co_return std::unexpected(opened.error());
    }
    Chain b = std::move(*opened);
    Comparison result{.difference = {}, .left = a.top->size(), .right = b.top->size()};
    Compare work(a, b);
    const auto difference = co_await search(std::max(result.left, result.right), work, control);
    (void)co_await a.close();
    (void)co_await b.close();
    if (!difference) co_return std::unexpected(difference.error());
    result.difference = *difference;
    co_return result;
}

io::Task<Result<ImageInfo>> read_info(io::Executor& executor, std::string path, std::string format) {
    const Format* known = co_await or_return(find_format(format));
    auto file = co_await or_return(co_await open_alone(executor, path, true));
    auto info = co_await known->info(*file);
    (void)co_await file->close();
    co_return info;
}

io::Task<Result<CheckReport>> check_image(io::Executor& executor, std::string path, std::string format, Repair repair) {
    const Format* known = co_await or_return(find_format(format));
    auto file = co_await or_return(co_await open_alone(executor, path, repair == Repair::No));
    auto report = co_await known->check(*file, repair);
    const auto closed = co_await file->close();
    if (report && !closed) co_return std::unexpected(closed.error());
    co_return report;
}

io::Task<Result<>> change_snapshot(io::Executor& executor, std::string path, std::string format, SnapshotVerb verb, std::string which) {
    const Format* known = co_await or_return(find_format(format));
    auto file = co_await or_return(co_await open_alone(executor, path, false));
    const auto done = co_await known->snapshot(*file, verb, which);
    const auto closed = co_await file->close();
    co_return done ? closed : done;
}

}  // namespace yado::storage
