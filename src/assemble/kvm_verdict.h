// What the probe found out about this host's KVM, remembered in a file, so that only one start after a boot of the host
// waits for the probe.
//
// The file's first line names what the verdict holds for: the host's boot and kernel, its /dev/kvm, this build of Yado. If
// any of that is another one, or the file is not ours alone or not of the form that we write, there is no verdict.
#pragma once

#include <optional>
#include <string>

#include "cpu_kvm/probe.h"

namespace yado::assemble {

struct KvmVerdict {
    bool usable = false;
    std::string reason;  ///< one printable line
};

class KvmVerdictFile {
  public:
    /// `path` lies in a folder that only we may write to; "": nothing is remembered. The same for an empty `subject`.
    explicit KvmVerdictFile(std::string path) : KvmVerdictFile(std::move(path), this_host()) {}
    KvmVerdictFile(std::string path, std::string subject) : path_(subject.empty() ? "" : std::move(path)), subject_(std::move(subject)) {}

    std::optional<KvmVerdict> recall() const;
    /// Replaces what was remembered. A file that cannot be written is no error: the next start probes again.
    void keep(const KvmVerdict& verdict) const;
    void forget() const;

    /// The boot, kernel, KVM and build that run now, in one line; "" where one of them cannot be told or is not there.
    static std::string this_host();

  private:
    std::string path_, subject_;
};

/// Whether a probe's outcome would be the same on a host that is less busy. Only such a one is kept.
bool leaves_no_doubt(const cpu_kvm::ProbeReport& report);

/// Probes and keeps what is found, or forgets what was known if the outcome is doubtful.
KvmVerdict probe_anew(const KvmVerdictFile& file);

}  // namespace yado::assemble
