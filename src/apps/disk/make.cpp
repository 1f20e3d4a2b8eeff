// create, convert, compact, clone.
#include "apps/disk/session.h"
#include "storage/operations/new_image.h"

namespace yado::apps {

Result<> disk_create(const NewImageOption& image, const std::string& size) {
    const storage::Format* format = YADO_TRY(storage::find_format(YADO_TRY(format_of_new(image))));
    storage::CreateOptions options;
    options.size = YADO_TRY(api::parse_size(size));
    options.cluster_size = YADO_TRY(optional_size(image.cluster_size));
    options.preallocated = image.preallocate;
    DiskSession session;
    return session.wait(storage::create_image(session.executor(), image.path, *format, std::move(options)));
}

Result<> disk_convert(const ImageOption& source, const NewImageOption& target) {
    DiskSession session;
    storage::ConvertTarget to{.path = target.path,
                              .format = YADO_TRY(format_of_new(target)),
                              .cluster_size = YADO_TRY(optional_size(target.cluster_size)),
                              .preallocated = target.preallocate};
    auto from = YADO_TRY(session.chain_of(source, Guess::Allowed));
    const storage::Control control = session.control();
    return session.outcome(session.wait(storage::convert(session.executor(), std::move(from), std::move(to), control)),
                           fmt::format("{} is removed again", target.path));
}

Result<> disk_compact(const ImageOption& image) {
    DiskSession session;
    auto chain = YADO_TRY(session.chain_of(image, Guess::Refused));
    const storage::Control control = session.control();
    return session.outcome(session.wait(storage::compact(session.executor(), std::move(chain), control)), fmt::format("{} is as it was", image.path));
}

Result<> disk_clone(const ImageOption& base, const NewImageOption& target) {
    DiskSession session;
    auto from = YADO_TRY(session.chain_of(base, Guess::Refused));
    storage::CloneTarget to{.path = target.path, .format = YADO_TRY(format_of_new(target))};
    return session.wait(storage::clone(session.executor(), std::move(from), std::move(to)));
}

}  // namespace yado::apps
