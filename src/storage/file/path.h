// Paths as text.
#pragma once

#include <string>

namespace yado::storage {

/// The folder that a path names its last part in: up to the last slash and with it, or "./".
inline std::string folder_of(const std::string& path) {
    const size_t slash = path.rfind('/');
    return slash == path.npos ? "./" : path.substr(0, slash + 1);
}

}  // namespace yado::storage
