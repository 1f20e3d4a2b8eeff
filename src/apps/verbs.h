// One function a verb, one file a verb (verb_*.cpp). Options arrive parsed (cli.cpp).
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "apps/program.h"

namespace yado::apps {

struct RunOptions {
    std::string image;         ///< positional
    std::string config_file;   ///< --config
    std::vector<std::pair<std::string, std::string>> fields;  ///< --memory 1G ... in order: api::set_field
    bool detach = false;
};
/// The exit status: unlike other verbs, a crashed guest is no error of the verb.
Result<int> run_guest(const RunOptions& options, const Platform& platform);

enum class Format : uint8_t { Text, Json };
struct PsOptions {
    Format format = Format::Text;
    bool names_only = false;
};
Result<> list_guests(const PsOptions& options);

struct InfoOptions {
    std::string name;
    Format format = Format::Text;
};
Result<> show_info(const InfoOptions& options);

struct ConsoleOptions {
    std::string name;
    bool watch = false;  ///< only look
};
Result<> attach_console(const ConsoleOptions& options);

struct StopOptions {
    std::string name;
    bool force = false;
    unsigned timeout_seconds = 60;
};
Result<> stop_guest(const StopOptions& options);

struct AttachOptions {
    std::string name;
    std::string disk;  ///< as --disk of run
};
/// Prints the disk's id.
Result<> attach_disk(const AttachOptions& options);

struct DetachOptions {
    std::string name, id;
    bool force = false;
    unsigned timeout_seconds = 60;
};
/// Returns once the disk's image is closed. Errors: TimedOut (the guest keeps it for now).
Result<> detach_disk(const DetachOptions& options);

/// pause, resume, reset: one POST.
Result<> post_verb(const std::string& name, const std::string& verb);

struct SnapshotOptions {
    std::string guest, name;
    bool disk_only = false;
    std::vector<std::string> disks;  ///< ids; none: all that the guest may write to
    Format format = Format::Text;
};
Result<> snapshot_guest(const SnapshotOptions& options);

struct CommitOptions {
    std::string guest, disk;
};
Result<> commit_guest(const CommitOptions& options);

/// What is not given stays.
struct LimitOptions {
    std::string guest, disk;
    std::optional<uint32_t> iops;
    std::optional<std::string> bps;  ///< a size
    std::optional<uint32_t> burst;   ///< seconds
};
Result<> limit_guest(const LimitOptions& options);

Result<> remove_guest(const std::string& name);

Result<> image_build(const std::string& what, const std::string& name, const std::string& size, bool force);
Result<> image_list(Format format);
Result<> image_names();

Result<int> show_doctor(Format format, const Platform& platform);

/// The verbs, options and words that shells complete.
struct CommandTree {
    std::string name, help;
    struct Option {
        std::string flag, help;   ///< "--memory"
        std::string values;       ///< "auto kvm bt", "FILE", "" for a switch
    };
    std::vector<Option> options;
    std::string positional;       ///< "GUEST", "IMAGE", words, or ""
    std::vector<CommandTree> children;
};
/// Errors: Usage (no such shell).
Result<std::string> completion_script(const CommandTree& tree, const std::string& shell);

// For yado-vmm.

/// Starts `config` in a process that outlives the terminal; returns once it runs.
Result<> run_detached(const api::GuestConfig& config);
/// The body of that process: config from `config_fd`, word of success or failure to `ready_fd`.
int run_as_vmm(int config_fd, int ready_fd, const Platform& platform);

}  // namespace yado::apps
