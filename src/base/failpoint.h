// Named failpoints: a test arms "block.write" to fail once, n times or always; builds without YADO_FAILPOINTS (releases)
// compile them out. `if (auto e = YADO_FAILPOINT("block.write")) return std::unexpected(*e);`
#pragma once

#include <optional>
#include <string_view>

#include "base/error.h"

namespace yado::failpoint {
/// Arms a point: after `skip` passes, the next `times` passes fail (times < 0: for ever). Any thread.
void arm(std::string_view name, Error error, int skip = 0, int times = 1);
void disarm_all();
std::optional<Error> hit(std::string_view name);
}  // namespace yado::failpoint

#ifdef YADO_FAILPOINTS
#define YADO_FAILPOINT(name) ::yado::failpoint::hit(name)
#else
#define YADO_FAILPOINT(name) (std::optional<::yado::Error>{})
#endif
