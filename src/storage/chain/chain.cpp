#include "storage/chain/chain.h"

#include <sys/stat.h>

#include <algorithm>

#include "storage/file/host_file.h"
#include "storage/nbd/nbd_file.h"

namespace yado::storage {
namespace {

using io::or_return;

/// One image on the way down: its file is open and locked, its header read.
struct Link {
    std::unique_ptr<ImageFile> file;
    Place place;
    Layer layer;
    struct stat st{};
};

bool same_file(const struct stat& a, const struct stat& b) { return a.st_dev == b.st_dev && a.st_ino == b.st_ino; }

HostFileConfig top_config(const ChainConfig& config) {
    return {.path = config.path, .readonly = config.readonly, .aio = config.aio, .direct = config.direct, .ignore_sync = config.ignore_sync,
            .reconnect = config.reconnect};
}

class Walk {
  public:
    Walk(io::Executor& executor, const ChainConfig& config) : executor_(executor), config_(config) {}

    io::Task<Result<Chain>> run() {
        auto down = co_await go_down();
        if (down) co_return co_await build_up();
        for (Link& link : links_)
            if (link.file) (void)co_await link.file->close();
        co_return std::unexpected(down.error());
    }

  private:
    io::Task<Result<>> go_down() {
        const HostFileConfig top = top_config(config_);
        const Format* format = co_await or_return(find_format(config_.format));
        if (is_nbd_uri(config_.path)) co_return co_await take_export(*format, top);
        auto fd = co_await or_return(open_host_fd(top));
        auto place = co_await or_return(place_of(config_.path));
        co_await or_return(add(std::move(fd), std::move(place), *format, top));
        links_.back().file = limit_writeback(std::move(links_.back().file), config_.writeback, executor_);
        co_await or_return(co_await read_header());
        while (links_.back().layer.info.backing) co_await or_return(co_await step());
        co_return Result<>{};
    }

    /// An export lies nowhere that a name in its header could start from, and a server does not choose files of this host.
    io::Task<Result<>> take_export(const Format& format, const HostFileConfig& top) {
        auto file = co_await or_return(co_await open_nbd_file(executor_, top));
        Link link{.file = std::move(file), .place = {.path = top.path, .folder = {}}, .layer = {}};
        link.layer.format = &format;
        link.layer.path = top.path;
        links_.push_back(std::move(link));
        co_await or_return(co_await read_header());
        if (!links_.back().layer.info.backing) co_return Result<>{};
        co_return fail(ErrorKind::Denied, "disk {}: its header names a backing file, \"{}\", which is not followed from a server; serve what the chain shows",
                       top.path, printable(links_.back().layer.info.backing->path));
    }

    io::Task<Result<>> step() {
        const Link& above = links_.back();
        const BackingClaim claim = *above.layer.info.backing;
        const bool readonly = !(config_.base_writable && links_.size() == 1);
        auto found = co_await or_return(follow(above.place, claim, config_.backing, readonly));
        const auto format = find_format(claim.format);
        if (!format)
            co_return fail(ErrorKind::Failed, "disk {}: its header says that {} has the format \"{}\", which is not known", above.place.path,
                           found.place.path, printable(claim.format));
        const HostFileConfig host{.path = found.place.path, .readonly = readonly, .aio = config_.aio, .ignore_sync = config_.ignore_sync};
        co_await or_return(add(std::move(found.fd), std::move(found.place), **format, host));
        co_return co_await read_header();
    }

    Result<> add(Fd fd, Place place, const Format& format, const HostFileConfig& host) {
        Link link{.file = nullptr, .place = std::move(place), .layer = {}};
        if (fstat(fd.get(), &link.st) < 0) return fail_errno(fmt::format("disk {}", link.place.path));
        for (const Link& above : links_)
            if (same_file(above.st, link.st))
                return fail(ErrorKind::Corrupt, "disk {}: lies below itself: {} and {} are one file", config_.path, above.place.path, link.place.path);
        if (links_.size() == kMaxChain)
            return fail(ErrorKind::Failed, "disk {}: more than {} images lie one on the other; commit or convert some of them", config_.path, kMaxChain);
        link.file = YADO_TRY(adopt_host_file(executor_, std::move(fd), host));
        link.layer.format = &format;
        link.layer.path = link.place.path;
        link.layer.modified_seconds = link.st.st_mtim.tv_sec;
        link.layer.device = link.st.st_dev;
        link.layer.inode = link.st.st_ino;
        links_.push_back(std::move(link));
        return {};
    }

    io::Task<Result<>> read_header() {
        Link& link = links_.back();
        link.layer.info = co_await or_return(co_await link.layer.format->info(*link.file));
        co_return Result<>{};
    }

    io::Task<Result<Chain>> build_up() {
        std::unique_ptr<block::DiskImage> below;
        std::string id;
        while (!links_.empty()) {
            Link link = std::move(links_.back());
            links_.pop_back();
            OpenOptions options;
            options.backing = std::move(below);
            options.backing_id = id;
            options.discard = config_.discard;
            id = link.layer.id();
            auto image = co_await link.layer.format->open(std::move(link.file), std::move(options));
            if (!image) co_return co_await give_up(image.error());
            below = std::move(*image);
            link.layer.image = below.get();
            layers_.insert(layers_.begin(), std::move(link.layer));
        }
        Chain chain{.top = std::move(below), .layers = std::move(layers_)};
        co_return std::move(chain);
    }

    io::Task<Result<Chain>> give_up(Error error) {
        for (Link& link : links_) (void)co_await link.file->close();
        co_return std::unexpected(std::move(error));
    }

    io::Executor& executor_;
    const ChainConfig& config_;
    std::vector<Link> links_;  // from the top down
    std::vector<Layer> layers_;
};

}  // namespace

std::string Layer::id() const {
    const auto found = std::ranges::find(info.details, "id", [](const auto& detail) { return detail.first; });
    return found == info.details.end() ? "" : found->second;
}

Result<std::unique_ptr<ImageFile>> open_top_file(io::Executor& executor, const ChainConfig& config) {
    return limit_writeback(YADO_TRY(open_host_file(executor, top_config(config))), config.writeback, executor);
}

io::Task<Result<Chain>> open_chain(io::Executor& executor, ChainConfig config) {
    Walk walk(executor, config);
    co_return co_await walk.run();
}

io::Task<Result<block::Extent>> map_through(std::span<const Layer> layers, Bytes offset, Bytes length) {
    block::Extent extent{block::Extent::Kind::Zero, length};
    for (const Layer& layer : layers) {
        const Bytes size = layer.image->size();
        if (offset >= size) {
            extent.kind = block::Extent::Kind::Zero;
            co_return extent;
        }
        extent.length = std::min(extent.length, size - offset);
        extent = co_await or_return(co_await layer.image->map(offset, extent.length));
        if (extent.kind != block::Extent::Kind::Absent) co_return extent;
    }
    extent.kind = block::Extent::Kind::Zero;
    co_return extent;
}

}  // namespace yado::storage
