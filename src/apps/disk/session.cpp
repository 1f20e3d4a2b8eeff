#include "apps/disk/session.h"

#include <signal.h>
#include <unistd.h>

#include <array>

#include "storage/operations/new_image.h"

namespace yado::apps {

namespace {

constexpr std::array kSignals = {SIGINT, SIGTERM, SIGHUP};
volatile sig_atomic_t interrupted = 0;

// The second signal finds the default again, and ends what does not listen.
void listen(bool on) {
    struct sigaction action{};
    if (on) action.sa_handler = [](int) { interrupted = 1; };
    else action.sa_handler = SIG_DFL;
    action.sa_flags = on ? static_cast<int>(SA_RESETHAND) : 0;
    for (const int number : kSignals) sigaction(number, &action, nullptr);
}

}  // namespace

DiskSession::DiskSession() {
    yado::apps::interrupted = 0;
    listen(true);
}

DiskSession::~DiskSession() {
    listen(false);
    if (line_open_) fmt::print(stderr, "\r\033[K");
}

Result<std::string> DiskSession::format_of(const ImageOption& image, Guess guess) {
    const bool allowed = guess == Guess::Allowed;
    if (image.format.empty())
        return fail(ErrorKind::Usage, "disk {}: name its format with --format (raw, qcow2, ...){}", image.path,
                    allowed ? ", or --format auto to have it guessed" : "");
    if (image.format != "auto") return image.format;
    if (!allowed) return fail(ErrorKind::Usage, "disk {}: --format auto is for reading only, since a guest can forge it; name the format", image.path);
    if (image.backing != "none")
        return fail(ErrorKind::Usage, "disk {}: no backing file is followed by a guess; name the format instead of --format auto", image.path);
    return wait(storage::guess_format(executor_, image.path));
}

Result<storage::ChainConfig> DiskSession::chain_of(const ImageOption& image, Guess guess) {
    return storage::ChainConfig{.path = image.path,
                                .format = YADO_TRY(format_of(image, guess)),
                                .backing = YADO_TRY(storage::parse_backing(image.backing))};
}

bool DiskSession::interrupted() const { return yado::apps::interrupted != 0; }

storage::Control DiskSession::control() {
    storage::Control control;
    control.cancelled = [this] { return interrupted(); };
    if (isatty(STDERR_FILENO)) control.progress = [this](Bytes done, Bytes total) { show(done, total); };
    return control;
}

void DiskSession::show(Bytes done, Bytes total) {
    const auto now = std::chrono::steady_clock::now();
    if (now - shown_ < std::chrono::milliseconds(100) && done < total) return;
    shown_ = now;
    line_open_ = true;
    fmt::print(stderr, "\r\033[K{:5.1f} % of {:.1f} GiB", 100.0 * static_cast<double>(done.value()) / static_cast<double>(total.value()),
               static_cast<double>(total.value()) / static_cast<double>(1 << 30));
}

Result<> DiskSession::outcome(Result<> done, const std::string& what) const {
    if (!done && interrupted()) return fail(ErrorKind::Failed, "interrupted; {}", what);
    return done;
}

Result<std::string> format_of_new(const NewImageOption& image) {
    if (image.format.empty()) {
        const auto by_name = storage::format_of_extension(image.path);
        if (!by_name) return fail(ErrorKind::Usage, "{} with --format", by_name.error().message());
        return by_name;
    }
    if (image.format == "auto") return fail(ErrorKind::Usage, "disk {}: a new image needs a format; name it", image.path);
    return image.format;
}

Result<std::optional<Bytes>> optional_size(const std::string& text) {
    if (text.empty()) return std::nullopt;
    return YADO_TRY(api::parse_size(text));
}

}  // namespace yado::apps
