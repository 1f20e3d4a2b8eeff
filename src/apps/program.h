// The program behind `yado`: verbs, their options, exit statuses. main() is thin (src/apps/main); tests hand in a platform
// of their own.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "assemble/guest.h"

namespace yado::apps {

/// What the program needs of the machine underneath.
struct Platform {
    std::function<std::unique_ptr<assemble::Guest>(const api::GuestConfig&, const std::string& verdict_file)> create_guest;
    std::function<std::vector<assemble::EngineFinding>(const std::string& verdict_file)> probe_engines;
};

/// Runs one command line; the exit status (docs/cli.md). As "yado-vmm" (argv[0]) it runs one detached guest.
int run_program(int argc, char** argv, const Platform& platform);

}  // namespace yado::apps
