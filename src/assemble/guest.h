// A guest, made of concrete parts after a configuration. The one door through which programs (src/apps) run guests.
//
//     create_guest(config) -> build() -> start() -> wait() -> ExitReport
//
// Building chooses the engine, opens every file, takes every lock and allocates RAM, so that all that can be wrong with a
// configuration is reported before the first instruction runs. The port answers from the creation on: however long the
// building takes, the guest can be reached, and is "starting".
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "api/guest_config.h"
#include "api/guest_port.h"
#include "base/error.h"
#include "vm/debug_port.h"

namespace yado::assemble {

class Guest {
  public:
    /// Ends the guest if it still runs; releases files and locks.
    virtual ~Guest() = default;

    /// Makes the machine and puts kernel and initrd into its memory. Once. Errors: NotFound, Denied, Conflict (image locked),
    /// Usage, Corrupt, Failed (not a kernel), those of the engine that was asked for; one line that names the file.
    virtual Result<> build() = 0;
    /// Starts the vCPUs, or leaves that to a debugger where the configuration says so. Once, after build(). Nothing happens to a
    /// guest that was powered off before: it has ended.
    virtual Result<> start() = 0;
    /// Waits until the guest has ended, its disks are flushed and its threads joined. Any one thread, once.
    virtual api::ExitReport wait() = 0;
    /// Lives as long as the guest. The console's kind is not the guest's business: output and input go through
    /// port().console(), and whoever runs the guest connects that to a terminal, pty, file or socket.
    virtual api::GuestPort& port() = 0;
    /// After build(), as long as the guest. nullptr: it cannot be debugged.
    virtual vm::DebugPort* debug() { return nullptr; }
};

/// `verdict_file`: where `--engine auto` keeps what it found out about KVM, in a folder that only we may write to; "": nowhere.
/// The config has ids (api::assign_ids), was validated, and its image name was resolved to kernel and disks.
std::unique_ptr<Guest> create_guest(const api::GuestConfig& config, const std::string& verdict_file);

/// One engine as `yado doctor` shows it.
struct EngineFinding {
    std::string name;     ///< "kvm", "bt"
    bool present = false; ///< there is something to try: /dev/kvm exists
    bool works = false;   ///< runs a guest kernel at its proper speed
    bool chosen = false;  ///< what `auto` takes
    std::string detail;   ///< what was measured and found, one line
};
/// Probes as `--engine auto` does, kvm first, and keeps the verdict for later starts. Takes at most a second.
std::vector<EngineFinding> probe_engines(const std::string& verdict_file);

}  // namespace yado::assemble
