#include "storage/disk.h"

#include "storage/overlay.h"
#include "storage/policy_image.h"

namespace yado::storage {

using io::or_return;

ChainConfig chain_config(const DiskConfig& config) {
    return {.path = config.path,
            .format = config.format,
            .readonly = config.readonly || config.snapshot,
            .backing = config.backing,
            .aio = config.aio,
            .direct = config.cache == CacheMode::None,
            .ignore_sync = config.cache == CacheMode::Unsafe,
            .discard = config.discard,
            .reconnect = config.reconnect,
            .writeback = config.writeback};
}

io::Task<Result<DiskLayers>> open_layers(io::Executor& executor, DiskConfig config) {
    if (config.readonly && config.snapshot)
        co_return fail(ErrorKind::Usage, "disk {}: readonly=on and snapshot=on exclude each other", config.path);
    ChainConfig files = chain_config(config);
    Chain chain = co_await or_return(co_await open_chain(executor, std::move(files)));
    DiskLayers disk{.image = std::move(chain.top), .layers = std::move(chain.layers)};
    if (!config.snapshot) co_return std::move(disk);
    auto overlay = [&]() -> Result<std::unique_ptr<block::DiskImage>> {
        return make_overlay(executor, disk.image, YADO_TRY(open_scratch(config.path)), config.aio);
    }();
    if (!overlay) {
        (void)co_await disk.image->close();
        co_return std::unexpected(overlay.error());
    }
    disk.image = std::move(*overlay);
    disk.layers.clear();
    co_return std::move(disk);
}

std::unique_ptr<block::DiskImage> with_policy_of(const DiskConfig& config, std::unique_ptr<block::DiskImage> image) {
    if (config.snapshot) return image;
    return with_policy(std::move(image), {.flush_writes = config.cache == CacheMode::Writethrough, .discard = config.discard});
}

io::Task<Result<std::unique_ptr<block::DiskImage>>> open_disk(io::Executor& executor, DiskConfig config) {
    DiskConfig below = config;
    DiskLayers disk = co_await or_return(co_await open_layers(executor, std::move(below)));
    co_return with_policy_of(config, std::move(disk.image));
}

}  // namespace yado::storage
