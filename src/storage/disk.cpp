#include "storage/disk.h"

#include "storage/file/host_file.h"
#include "storage/format.h"
#include "storage/overlay.h"

namespace yado::storage {

using io::or_return;

io::Task<Result<std::unique_ptr<block::DiskImage>>> open_disk(io::Executor& executor, DiskConfig config) {
    const Format* format = co_await or_return(find_format(config.format));
    if (config.readonly && config.snapshot)
        co_return fail(ErrorKind::Usage, "disk {}: readonly=on and snapshot=on exclude each other", config.path);
    const HostFileConfig host{.path = config.path, .readonly = config.readonly || config.snapshot, .aio = config.aio};
    auto file = co_await or_return(open_host_file(executor, host));
    OpenOptions options;  // named: GCC 12.2 destroys an aggregate made inside a co_await expression twice
    auto image = co_await or_return(co_await format->open(std::move(file), std::move(options)));
    if (!config.snapshot) co_return std::move(image);
    auto overlay = [&]() -> Result<std::unique_ptr<block::DiskImage>> {
        return make_overlay(executor, image, YADO_TRY(open_scratch(config.path)), config.aio);
    }();
    if (!overlay) (void)co_await image->close();
    co_return overlay;
}

}  // namespace yado::storage
