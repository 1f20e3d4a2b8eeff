// resize, commit, rebase.
#include "apps/disk/session.h"

namespace yado::apps {

namespace {

/// "20G" as it is, "+5G" on top of what the image has.
Result<Bytes> new_size(DiskSession& session, const storage::ChainConfig& image, const std::string& text) {
    if (!text.starts_with('+')) return api::parse_size(text);
    const Bytes more = YADO_TRY(api::parse_size(text.substr(1)));
    const auto info = YADO_TRY(session.wait(storage::read_info(session.executor(), image.path, image.format)));
    if (more.value() > ~0ull - info.size.value()) return fail(ErrorKind::Usage, "disk {}: {} is too much", image.path, text);
    return info.size + more;
}

}  // namespace

Result<> disk_resize(const ImageOption& image, const ResizeOptions& options) {
    DiskSession session;
    auto chain = YADO_TRY(session.chain_of(image, Guess::Refused));
    const Bytes size = YADO_TRY(new_size(session, chain, options.size));
    const storage::Shrink shrink = !options.shrink ? storage::Shrink::Refuse : options.force ? storage::Shrink::Cut : storage::Shrink::IfUnused;
    return session.wait(storage::resize(session.executor(), std::move(chain), size, shrink));
}

Result<> disk_commit(const ImageOption& image, bool keep) {
    DiskSession session;
    auto chain = YADO_TRY(session.chain_of(image, Guess::Refused));
    const storage::Control control = session.control();
    const auto after = keep ? storage::AfterCommit::Keep : storage::AfterCommit::Empty;
    return session.outcome(session.wait(storage::commit(session.executor(), std::move(chain), after, control)),
                           fmt::format("the base has a part of {}; commit it again, and use the base for nothing else before", image.path));
}

Result<> disk_rebase(const ImageOption& image, const RebaseOptions& options) {
    DiskSession session;
    auto chain = YADO_TRY(session.chain_of(image, Guess::Refused));
    std::optional<storage::NewBase> base;
    if (options.onto != "none") {
        const ImageOption onto{.path = options.onto, .format = options.onto_format};
        if (options.onto_format.empty()) return fail(ErrorKind::Usage, "disk {}: name its format with --onto-format", options.onto);
        base = storage::NewBase{options.onto, YADO_TRY(session.format_of(onto, Guess::Refused))};
    }
    const storage::Control control = session.control();
    const auto mode = options.header_only ? storage::RebaseMode::HeaderOnly : storage::RebaseMode::Safe;
    return session.outcome(session.wait(storage::rebase(session.executor(), std::move(chain), std::move(base), mode, control)),
                           fmt::format("{} shows what it did, on its old base", image.path));
}

}  // namespace yado::apps
