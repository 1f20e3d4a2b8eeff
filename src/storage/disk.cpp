#include "storage/disk.h"

#include "storage/overlay.h"
#include "storage/raw_image.h"

namespace yado::storage {

Result<std::unique_ptr<block::DiskImage>> open_disk(io::Executor& executor, const DiskConfig& config) {
    if (config.format != "raw") return fail(ErrorKind::Usage, "disk {}: format={}: only raw is known", config.path, config.format);
    if (config.readonly && config.snapshot)
        return fail(ErrorKind::Usage, "disk {}: readonly=on and snapshot=on exclude each other", config.path);
    const RawConfig raw{.path = config.path, .readonly = config.readonly || config.snapshot, .aio = config.aio};
    auto image = YADO_TRY(open_raw(executor, raw));
    if (!config.snapshot) return image;
    Fd scratch = YADO_TRY(open_scratch(config.path));
    return make_overlay(executor, std::move(image), std::move(scratch), config.aio);
}

}  // namespace yado::storage
