// serve: one image to NBD clients, until a signal or, without --persistent, until the last client has left.
#include <stdlib.h>
#include <unistd.h>

#include <cctype>
#include <memory>

#include "apps/disk/session.h"
#include "io/listener.h"
#include "storage/operations/serve.h"

namespace yado::apps {

namespace {

struct Place {
    Fd listener;
    std::string uri;
    std::string socket;  ///< to be removed at the end
};

/// As a URI has it: what is not a letter, a digit or one of a few others is written as %XX.
std::string escaped(const std::string& text) {
    std::string out;
    for (const char c : text) {
        const bool plain = std::isalnum(static_cast<unsigned char>(c)) || std::string_view("-._~/").find(c) != std::string_view::npos;
        out += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
    return out;
}

Result<std::string> absolute(const std::string& path) {
    if (path.starts_with('/')) return path;
    const std::unique_ptr<char, void (*)(void*)> here(getcwd(nullptr, 0), free);
    if (!here) return fail_errno("current folder");
    return fmt::format("{}/{}", here.get(), path);
}

std::unexpected<Error> not_listening(const ServeOptions& options, const Error& error) {
    if (error.kind() != ErrorKind::Conflict) return std::unexpected(error);
    if (options.socket.empty()) return fail(ErrorKind::Conflict, "{}; choose another port", error.message());
    return fail(ErrorKind::Conflict, "{}; choose another path, or remove it if no server uses it", error.message());
}

Result<Place> listen_at_socket(const ServeOptions& options) {
    auto listener = io::listen_unix(options.socket, "--socket " + options.socket);
    if (!listener) return not_listening(options, listener.error());
    const std::string where = YADO_TRY(absolute(options.socket));
    return Place{std::move(*listener), fmt::format("nbd+unix:///{}?socket={}", escaped(options.export_name), escaped(where)), where};
}

Result<Place> listen_at_port(const ServeOptions& options) {
    const auto at = api::parse_listen(options.tcp);
    if (!at) return fail(ErrorKind::Usage, "--tcp {}: write [ADDRESS:]PORT, such as 127.0.0.1:10809", options.tcp);
    auto listener = io::listen_tcp(at->address, at->port, "--tcp " + options.tcp);
    if (!listener) return not_listening(options, listener.error());
    const bool six = at->address.find(':') != std::string::npos;
    const std::string host = six ? fmt::format("[{}]", at->address) : at->address;
    return Place{std::move(listener->fd), fmt::format("nbd://{}:{}/{}", host, listener->port, escaped(options.export_name)), {}};
}

Result<Place> listen(const ServeOptions& options) {
    if (options.socket.empty() == options.tcp.empty()) return fail(ErrorKind::Usage, "serve: say where: --socket PATH, or --tcp [ADDRESS:]PORT");
    if (options.export_name.size() > kMaxExportName) return fail(ErrorKind::Usage, "--export: a name has at most {} bytes", kMaxExportName);
    return options.tcp.empty() ? listen_at_socket(options) : listen_at_port(options);
}

/// Removes the socket that was made, whatever happens.
struct Removed {
    std::string path;
    ~Removed() {
        if (!path.empty()) unlink(path.c_str());
    }
};

}  // namespace

Result<> disk_serve(const ImageOption& image, const ServeOptions& options) {
    DiskSession session;
    storage::ServeConfig config{.image = YADO_TRY(session.chain_of(image, options.readonly ? Guess::Allowed : Guess::Refused)),
                                .export_name = options.export_name,
                                .listener = {}};
    config.image.readonly = options.readonly;
    Place place = YADO_TRY(listen(options));
    const Removed removed{place.socket};
    config.listener = std::move(place.listener);
    bool over = false;
    auto served = YADO_TRY(session.wait(storage::ServedImage::start(session.executor(), std::move(config), [&] { over = !options.persistent; })));
    fmt::print("{}{}\n", place.uri, served->readonly() ? " (read-only)" : "");
    fflush(stdout);
    while (!over && !session.interrupted()) session.executor().run_once(std::chrono::milliseconds(500));
    return session.wait(served->close());
}

}  // namespace yado::apps
