// Where guests are found by name: one folder a guest under the runtime directory.
//
//     $XDG_RUNTIME_DIR/yado/NAME/ (root: /run/yado/NAME/)      0700
//         lock          held (an open-file-description lock) by the guest's process for its life; holds its pid
//         control.sock  the control socket
//         guest.json    the configuration
//         exit.json     how it ended, of a detached guest
//         log           stderr of a detached guest
//     $XDG_RUNTIME_DIR/yado/.kvm-verdict  what --engine auto found out about KVM since the host's boot (no guest's name)
//
// A folder whose lock nobody holds is a dead guest's: claim() takes it over, remove() deletes it.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "api/guest_info.h"
#include "base/error.h"
#include "base/fd.h"

namespace yado::control {

class RuntimeDir {
  public:
    /// The user's own, made when missing. YADO_RUNTIME_DIR overrides it; without XDG_RUNTIME_DIR it is /tmp/yado-UID.
    /// Errors: Denied (belongs to somebody else or is open to others), Failed.
    static Result<RuntimeDir> open();
    /// For tests.
    static Result<RuntimeDir> open_at(const std::string& path);

    /// A guest's folder, held by this process until destroyed.
    class Claim {
      public:
        Claim() = default;
        Claim(Claim&&) = default;
        Claim& operator=(Claim&&) = default;
        const std::string& folder() const { return folder_; }
        std::string file(std::string_view name) const { return folder_ + "/" + std::string(name); }
        std::string socket() const { return file("control.sock"); }
        /// Writes a file of the folder whole or not at all.
        Result<> put(std::string_view name, std::string_view text) const;
        /// Deletes the folder and gives the name free.
        void remove();

      private:
        friend class RuntimeDir;
        std::string folder_;
        Fd lock_;
    };
    /// Takes a name; what a dead guest left under it is deleted. Errors: Conflict (a guest of this name runs), Usage.
    Result<Claim> claim(const std::string& name) const;

    struct Found {
        std::string name;
        std::string folder;
        bool alive = false;
        pid_t pid = 0;                          ///< of a living guest
        std::optional<api::ExitReport> ended;   ///< of a dead one, if it could say
        std::string socket() const { return folder + "/control.sock"; }
    };
    /// All guests, by name.
    std::vector<Found> list() const;
    /// Errors: NotFound, Usage (no name).
    Result<Found> find(const std::string& name) const;

    const std::string& path() const { return path_; }
    std::string verdict_file() const { return path_ + "/.kvm-verdict"; }

  private:
    explicit RuntimeDir(std::string path) : path_(std::move(path)) {}
    Found look(const std::string& name) const;
    std::string path_;
};

}  // namespace yado::control
