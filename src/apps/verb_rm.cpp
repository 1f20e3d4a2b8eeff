#include "apps/reach.h"
#include "apps/verbs.h"

namespace yado::apps {

Result<> remove_guest(const std::string& name) {
    const auto directory = YADO_TRY(control::RuntimeDir::open());
    const auto found = YADO_TRY(directory.find(name));
    if (found.alive) return fail(ErrorKind::Conflict, "guest {} runs; stop it first: yado stop {}", name, name);
    auto claim = YADO_TRY(directory.claim(name));
    claim.remove();
    return {};
}

}  // namespace yado::apps
