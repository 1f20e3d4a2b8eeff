#include "storage/disk.h"

#include "storage/chain/chain.h"
#include "storage/overlay.h"
#include "storage/policy_image.h"

namespace yado::storage {

using io::or_return;

io::Task<Result<std::unique_ptr<block::DiskImage>>> open_disk(io::Executor& executor, DiskConfig config) {
    if (config.readonly && config.snapshot)
        co_return fail(ErrorKind::Usage, "disk {}: readonly=on and snapshot=on exclude each other", config.path);
    ChainConfig files{.path = config.path,
                      .format = config.format,
                      .readonly = config.readonly || config.snapshot,
                      .backing = config.backing,
                      .aio = config.aio,
                      .direct = config.cache == CacheMode::None,
                      .ignore_sync = config.cache == CacheMode::Unsafe,
                      .discard = config.discard,
                      .reconnect = config.reconnect};
    Chain chain = co_await or_return(co_await open_chain(executor, std::move(files)));
    auto image = std::move(chain.top);
    if (config.snapshot) {
        auto overlay = [&]() -> Result<std::unique_ptr<block::DiskImage>> {
            return make_overlay(executor, image, YADO_TRY(open_scratch(config.path)), config.aio);
        }();
        if (!overlay) (void)co_await image->close();
        co_return overlay;
    }
    const ImagePolicy policy{.flush_writes = config.cache == CacheMode::Writethrough, .discard = config.discard};
    co_return with_policy(std::move(image), policy);
}

}  // namespace yado::storage
