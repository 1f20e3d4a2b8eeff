// The options of `yado disk`, declared for cli.cpp.
#pragma once

#include <functional>
#include <memory>

#include "apps/disk/disk_verbs.h"

namespace CLI {
class App;
}

namespace yado::apps {

/// Keeps what the command line said until the verb runs.
class DiskCommands {
  public:
    using Verb = std::function<Result<int>()>;
    using AddVerb = std::function<CLI::App*(CLI::App& parent, const char* name, const char* help, Verb run)>;

    DiskCommands();
    ~DiskCommands();
    void add_to(CLI::App& app, const AddVerb& add);

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace yado::apps
