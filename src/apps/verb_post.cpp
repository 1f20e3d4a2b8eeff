// yado pause, resume, reset.
#include "apps/reach.h"
#include "apps/verbs.h"

namespace yado::apps {

Result<> post_verb(const std::string& name, const std::string& verb) {
    auto client = YADO_TRY(reach(name));
    YADO_TRY(within_guest(client.post("/v1/" + verb), name));
    return {};
}

}  // namespace yado::apps
