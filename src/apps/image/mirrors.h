// Where the host gets its Debian packages from.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace yado::apps {

/// One-line sources ("deb URI SUITE main") for bookworm, bookworm-updates and bookworm-security, with the host's mirrors where it has
/// them and deb.debian.org where not.
std::vector<std::string> debian_sources();
/// The same from given texts of sources.list and *.sources files: for tests.
std::vector<std::string> debian_sources_of(const std::vector<std::string>& lists, const std::vector<std::string>& deb822);

/// The host's apt proxies as apt.conf lines.
std::vector<std::string> apt_proxy_options();

}  // namespace yado::apps
