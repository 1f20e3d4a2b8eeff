#include "apps/reach.h"

namespace yado::apps {

Result<control::RuntimeDir::Found> find_living(const std::string& name) {
    const auto directory = YADO_TRY(control::RuntimeDir::open());
    auto found = YADO_TRY(directory.find(name));
    if (!found.alive) return fail(ErrorKind::Conflict, "guest {} does not run: {}", name, ending_text(found));
    return found;
}

Result<control::Client> reach(const std::string& name) {
    const auto found = YADO_TRY(find_living(name));
    auto client = control::Client::connect(found.socket());
    if (client) return client;
    // Alive but without a socket: it starts or ends right now.
    return fail(ErrorKind::Unreachable, "guest {} (pid {}) does not answer: {}", name, found.pid, client.error().message());
}

std::string ending_text(const control::RuntimeDir::Found& found) {
    if (!found.ended) return "dead";
    const std::string word(api::to_string(found.ended->reason));
    return found.ended->detail.empty() ? word : fmt::format("{} ({})", word, found.ended->detail);
}

}  // namespace yado::apps
