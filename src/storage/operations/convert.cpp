// convert, compact and clone: a new file from an old one.
#include "storage/operations/copy.h"
#include "storage/operations/new_image.h"
#include "storage/operations/operations.h"
#include "storage/operations/parent.h"

namespace yado::storage {
namespace {

using io::or_return;

io::Task<Result<>> copy_to_new(io::Executor& executor, Chain& source, const ConvertTarget& target, const Control& control) {
    const Format* format = co_await or_return(find_format(target.format));
    CreateOptions options;
    options.size = source.top->size();
    options.cluster_size = target.cluster_size;
    options.preallocated = target.preallocated;
    auto fresh = co_await or_return(co_await create_open_image(executor, target.path, *format, std::move(options), nullptr));
    NewFile made(target.path);
    auto done = co_await copy_shown(source.layers, *fresh.image, fresh.cluster_size, control);
    const auto closed = co_await fresh.image->close();
    if (done) done = closed;
    if (done) made.keep();
    co_return done;
}

Result<> check_compactable(const Layer& layer) {
    if (!layer.info.snapshots.empty())
        return fail(ErrorKind::Failed, "disk {}: holds {} snapshots, which compacting would lose; delete them first", layer.path, layer.info.snapshots.size());
    if (layer.info.variant == "fixed")
        return fail(ErrorKind::Failed, "disk {}: has a fixed size, so that nothing can be won; convert it", layer.path);
    return {};
}

/// What the image holds by itself goes into a new file beside it.
io::Task<Result<std::string>> copy_beside(io::Executor& executor, Chain& image, const Control& control) {
    const Layer& top = image.layers.front();
    CreateOptions options;
    options.size = top.image->size();
    options.cluster_size = top.info.cluster_size;
    if (top.info.backing) options.parent = parent_as_claimed(image.layers);
    auto below = image.layers.size() > 1 ? borrow(*image.layers[1].image) : nullptr;
    const std::string name = name_beside(top.path);
    auto fresh = co_await or_return(co_await create_open_image(executor, name, *top.format, std::move(options), std::move(below)));
    NewFile made(name);
    Result<> done;
    if (top.info.backing) done = co_await copy_own(*top.image, *fresh.image, control);
    else done = co_await copy_shown(image.layers, *fresh.image, fresh.cluster_size, control);
    const auto closed = co_await fresh.image->close();
    if (done) done = closed;
    if (!done) co_return std::unexpected(done.error());
    made.keep();
    co_return name;
}

}  // namespace

io::Task<Result<>> convert(io::Executor& executor, ChainConfig source, ConvertTarget target, const Control& control) {
    source.readonly = true;
    Chain chain = co_await or_return(co_await open_chain(executor, std::move(source)));
    const auto done = co_await copy_to_new(executor, chain, target, control);
    const auto closed = co_await chain.close();
    co_return done ? closed : done;
}

io::Task<Result<>> compact(io::Executor& executor, ChainConfig image, const Control& control) {
    image.path = co_await or_return(real_path(image.path));
    Chain chain = co_await or_return(co_await open_chain(executor, image));  // for writing: nobody else may be at it
    Result<> done = check_compactable(chain.layers.front());
    if (done) {
        const auto fresh = co_await copy_beside(executor, chain, control);
        if (fresh) {
            NewFile made(*fresh);
            done = replace_file(*fresh, image.path);
            if (done) made.keep();
        } else {
            done = std::unexpected(fresh.error());
        }
    }
    const auto closed = co_await chain.close();
    co_return done ? closed : done;
}

io::Task<Result<>> clone(io::Executor& executor, ChainConfig base, CloneTarget target) {
    const Format* format = co_await or_return(find_format(target.format));
    const NewBase below{.path = base.path, .format = base.format};
    const ParentFacts facts = co_await or_return(co_await parent_facts(executor, target.path, below));
    CreateOptions options;
    options.size = facts.size;
    options.parent = facts.parent;
    co_return co_await create_image(executor, target.path, *format, std::move(options));
}

}  // namespace yado::storage
