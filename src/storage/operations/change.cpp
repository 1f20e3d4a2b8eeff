// resize, commit and rebase: an image is changed in place.
#include <cstring>
#include <vector>

#include "storage/file/host_file.h"
#include "storage/operations/copy.h"
#include "storage/operations/new_image.h"
#include "storage/operations/operations.h"
#include "storage/operations/parent.h"

namespace yado::storage {
namespace {

using block::Extent;
using io::or_return;

io::Task<Result<>> resize_open(Chain& chain, Bytes size, Shrink shrink) {
    const Bytes old = chain.top->size();
    const std::string& path = chain.layers.front().path;
    if (size < old && shrink == Shrink::Refuse)
        co_return fail(ErrorKind::Usage, "disk {}: {} bytes are less than its {}; --shrink cuts it off", path, size.value(), old.value());
    if (size < old && shrink == Shrink::IfUnused) {
        const auto data = co_await or_return(co_await first_data(chain.layers, size));
        if (data)
            co_return fail(ErrorKind::Failed, "disk {}: holds data at byte {}, behind the new end; shrink the file system first, or use --force to lose it",
                           path, data->value());
    }
    co_await or_return(co_await chain.top->resize(size));
    co_return co_await chain.top->flush();
}

Result<> check_has_base(const Chain& chain) {
    if (chain.layers.size() > 1) return {};
    return fail(ErrorKind::Usage, "disk {}: has no base", chain.layers.front().path);
}

/// Data goes down first and is durable there before anything of the overlay goes.
io::Task<Result<>> copy_down(Chain& chain, const Control& control) {
    co_await or_return(check_has_base(chain));
    const Layer& top = chain.layers[0];
    if (!top.info.snapshots.empty())
        co_return fail(ErrorKind::Failed, "disk {}: holds {} snapshots, which need its base as it is; delete them first", top.path, top.info.snapshots.size());
    block::DiskImage& base = *chain.layers[1].image;
    if (base.size() < top.image->size()) co_await or_return(co_await base.resize(top.image->size()));
    co_await or_return(co_await copy_own(*top.image, base, control));
    co_return co_await base.flush();
}

/// A new, empty image takes the place of the committed one.
io::Task<Result<>> put_empty_in_place(io::Executor& executor, const Chain& chain) {
    const Layer& top = chain.layers[0];
    CreateOptions options;
    options.size = top.image->size();
    options.cluster_size = top.info.cluster_size;
    options.parent = parent_as_claimed(chain.layers);
    const NewFile fresh(name_beside(top.path));
    co_await or_return(co_await create_image(executor, fresh.path(), *top.format, std::move(options)));
    co_return replace_file(fresh.path(), top.path);  // what NewFile then removes is not there any more
}

/// Where the image itself holds nothing, what it shows must not change: what differs is written into it.
class KeepShown final : public ChunkWork {
  public:
    KeepShown(const Chain& image, block::DiskImage* next, Bytes unit) : image_(image), next_(next), unit_(unit) {}
    io::Task<Result<Extent>> look(Bytes at, Bytes length) override {
        Extent own = co_await or_return(co_await image_.top->map(at, length));
        own.kind = own.kind == Extent::Kind::Absent ? Extent::Kind::Data : Extent::Kind::Absent;
        co_return own;
    }
    io::Task<Result<>> chunk(Bytes at, Extent, std::span<std::byte> buffer) override {
        std::vector<std::byte> next(buffer.size());
        co_await or_return(co_await read_shown(*image_.top, at, buffer));
        if (next_) co_await or_return(co_await read_shown(*next_, at, next));
        for (size_t begin = 0; begin < buffer.size();) {
            // Up to the next multiple of the unit on the disk, so that no cluster is allocated for what is alike in it.
            const size_t n = std::min<size_t>(buffer.size() - begin, unit_.value() - (at.value() + begin) % unit_.value());
            const auto piece = buffer.subspan(begin, n);
            if (std::memcmp(piece.data(), next.data() + begin, n) != 0) {
                const iovec v{piece.data(), n};
                co_await or_return(co_await image_.top->writev(at + Bytes(begin), {&v, 1}));
            }
            begin += n;
        }
        co_return Result<>{};
    }

  private:
    const Chain& image_;
    block::DiskImage* next_;
    const Bytes unit_;
};

io::Task<Result<>> take_over(Chain& chain, block::DiskImage* next, const Control& control) {
    const Bytes unit = std::clamp(chain.layers[0].info.cluster_size.value_or(64_KiB), 4_KiB, kChunk);
    KeepShown work(chain, next, unit);
    co_await or_return(co_await walk(chain.top->size(), work, control));
    co_return co_await chain.top->flush();
}

io::Task<Result<>> take_over_from(io::Executor& executor, const ChainConfig& image, const std::optional<NewBase>& base, const Control& control) {
    Chain chain = co_await or_return(co_await open_chain(executor, image));
    std::optional<Chain> next;
    Result<> done;
    if (base) {
        ChainConfig below = image;
        below.path = base->path;
        below.format = base->format;
        below.readonly = true;
        auto opened = co_await open_chain(executor, std::move(below));
        if (opened) next.emplace(std::move(*opened));
        else done = std::unexpected(opened.error());
    }
    if (done) done = co_await take_over(chain, next ? next->top.get() : nullptr, control);
    if (next) (void)co_await next->close();
    const auto closed = co_await chain.close();
    co_return done ? closed : done;
}

}  // namespace

io::Task<Result<>> resize(io::Executor& executor, ChainConfig image, Bytes size, Shrink shrink) {
    if (size.value() == 0 || size.value() % 512)
        co_return fail(ErrorKind::Usage, "disk {}: size {}: must be a multiple of 512, and not 0", image.path, size.value());
    Chain chain = co_await or_return(co_await open_chain(executor, std::move(image)));
    const auto done = co_await resize_open(chain, size, shrink);
    const auto closed = co_await chain.close();
    co_return done ? closed : done;
}

io::Task<Result<>> commit(io::Executor& executor, ChainConfig image, AfterCommit after, const Control& control) {
    image.path = co_await or_return(real_path(image.path));
    image.base_writable = true;
    Chain chain = co_await or_return(co_await open_chain(executor, std::move(image)));
    Result<> done = co_await copy_down(chain, control);
    if (done && after == AfterCommit::Empty) done = co_await put_empty_in_place(executor, chain);
    const auto closed = co_await chain.close();
    co_return done ? closed : done;
}

io::Task<Result<>> rebase(io::Executor& executor, ChainConfig image, std::optional<NewBase> base, RebaseMode mode, const Control& control) {
    const Format* format = co_await or_return(find_format(image.format));
    std::optional<CreateOptions::Parent> parent;
    if (base) {
        if (co_await or_return(real_path(base->path)) == co_await or_return(real_path(image.path)))
            co_return fail(ErrorKind::Usage, "disk {}: cannot be its own base", image.path);
        const ParentFacts facts = co_await or_return(co_await parent_facts(executor, image.path, *base));
        parent = facts.parent;
    }
    if (mode == RebaseMode::Safe) co_await or_return(co_await take_over_from(executor, image, base, control));
    const HostFileConfig host{.path = image.path};
    auto file = co_await or_return(open_host_file(executor, host));
    const auto done = co_await format->set_backing(*file, parent);
    const auto closed = co_await file->close();
    co_return done ? closed : done;
}

}  // namespace yado::storage
