// Finding a guest by name and talking to it.
#pragma once

#include "control/client.h"
#include "control/runtime_dir.h"

namespace yado::apps {

/// A living guest's folder. Errors: NotFound, Conflict (it has ended).
Result<control::RuntimeDir::Found> find_living(const std::string& name);
/// A connection to it. Errors: as above, Unreachable.
Result<control::Client> reach(const std::string& name);
/// What failed is told of with the guest's name.
template <typename T>
Result<T> within_guest(Result<T> result, const std::string& name) {
    if (result) return result;
    return std::unexpected(result.error().within("guest " + name));
}
/// How a dead guest ended: "powered-off", "crashed (triple fault)", "dead" when it could not say.
std::string ending_text(const control::RuntimeDir::Found& found);

}  // namespace yado::apps
