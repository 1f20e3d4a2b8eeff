// `yado image build debian`: a bootable Debian 12 by mmdebstrap from the host's own apt mirror; no root needed where
// mmdebstrap can do without (user namespaces or fakechroot).
#pragma once

#include <functional>
#include <string>

#include "apps/image/store.h"

namespace yado::apps {

using Progress = std::function<void(std::string_view)>;

/// Builds into a folder beside and renames it when all is well: an image is there whole or not at all. One that exists is left alone
/// unless `force`. Errors: NotFound (mmdebstrap missing), Conflict (built right now by somebody else), Failed (the log's end).
Result<> build_debian(const ImageStore& store, const std::string& name, Bytes size, bool force, const Progress& progress);

}  // namespace yado::apps
