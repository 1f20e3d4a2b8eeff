// yado pause, resume, reset.
#include "apps/reach.h"
#include "apps/verbs.h"

namespace yado::apps {

Result<> post_verb(const std::string& name, const std::string& verb) {
    auto client = YADO_TRY(reach(name));
    const auto done = client.post("/v1/" + verb);
    if (!done) return std::unexpected(done.error().within("guest " + name));
    return {};
}

}  // namespace yado::apps
