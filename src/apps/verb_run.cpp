// yado run: options, TOML and image become a configuration; the guest runs here or in a process of its own.
#include <unistd.h>

#include <fstream>
#include <random>
#include <sstream>

#include "apps/host_run.h"
#include "apps/image/store.h"
#include "apps/stats_text.h"
#include "apps/terminal.h"
#include "apps/verbs.h"

namespace yado::apps {

namespace {

Result<api::GuestConfig> read_config_file(const std::string& path) {
    std::ifstream in(path);
    if (!in) return fail_errno("config " + path);
    std::ostringstream text;
    text << in.rdbuf();
    return api::parse_toml(text.str(), path);
}

std::string made_up_name(const std::string& image) {
    std::random_device random;
    return fmt::format("{}-{:04x}", image.empty() ? "guest" : image, random() & 0xffff);
}

/// The image gives what the user did not: kernel, initrd, the first part of the command line, and the first disk.
Result<> resolve_image(api::GuestConfig& config) {
    if (config.image.empty()) return {};
    const auto store = YADO_TRY(ImageStore::open());
    const Image image = YADO_TRY(store.find(config.image));
    if (config.kernel.empty()) {
        config.kernel = image.kernel;
        config.initrd = config.initrd.empty() ? image.initrd : config.initrd;
        config.append = image.append + (config.append.empty() ? "" : " " + config.append);
    }
    config.disk.insert(config.disk.begin(), {.id = "root", .path = image.disk, .format = image.format, .snapshot = true});
    return {};
}

/// The default network, unless the user named one: --net none says that none is wanted.
void settle_nets(api::GuestConfig& config) {
    if (config.net.empty()) config.net.emplace_back();
    std::erase_if(config.net, [](const api::NetConfig& net) { return net.kind == api::NetKind::None; });
}

Result<api::GuestConfig> make_config(const RunOptions& options) {
    api::GuestConfig config;
    if (!options.config_file.empty()) config = YADO_TRY(read_config_file(options.config_file));
    if (!options.image.empty()) config.image = options.image;
    for (const auto& [key, text] : options.fields) YADO_TRY(api::set_field(config, key, text));
    if (config.name.empty()) config.name = made_up_name(config.image);
    YADO_TRY(api::check_name(config.name));
    settle_nets(config);
    YADO_TRY(resolve_image(config));
    if (options.detach && config.console.kind == api::ConsoleKind::Stdio) config.console.kind = api::ConsoleKind::None;
    api::assign_ids(config);
    YADO_TRY(api::validate(config, api::HostLimits::of_this_host()));
    return config;
}

Result<Parting> carry_terminal(HostRun& run) {
    auto client = YADO_TRY(control::Client::connect(run.socket()));
    auto stream = YADO_TRY(std::move(client).stream("/v1/console", control::Client::Direction::ReadAndWrite));
    return carry(std::move(stream), Typing::Yes, [&](unsigned columns, unsigned rows) {
        run.port().console().resize(static_cast<uint16_t>(columns), static_cast<uint16_t>(rows));
    });
}

void announce(const api::GuestConfig& config, const HostRun& run) {
    const char* leave = isatty(STDIN_FILENO) ? "; Ctrl-] leaves and stops it" : "";
    fmt::print(stderr, "yado: guest {} starts, console on {}{}\n", config.name, run.console_place(), leave);
    if (const std::string place = run.debugger_place(); !place.empty())
        fmt::print(stderr, "yado: {} for GDB: target remote {}\n", config.gdb_wait ? "the guest waits" : "listens", place);
}

void warn(const api::GuestConfig& config) {
    if (is_local(config.gdb)) return;
    fmt::print(stderr, "yado: warning: --gdb {}: whoever reaches this address can read and change everything in the guest\n", to_string(config.gdb));
}

int tell_end(const std::string& name, const api::ExitReport& report) {
    const int status = api::exit_status(report);
    if (status != 0)
        fmt::print(stderr, "yado: guest {} {}{}{}\n", name, report.reason == api::StopReason::Crashed ? "crashed" : "failed",
                   report.detail.empty() ? "" : ": ", report.detail);
    return status;
}

Result<int> run_here(const api::GuestConfig& config, const Platform& platform) {
    block_signals();
    const auto run = YADO_TRY(HostRun::create(config, platform));
    announce(config, *run);
    YADO_TRY(run->start());
    if (config.console.kind == api::ConsoleKind::Stdio) YADO_TRY(carry_terminal(*run));
    else wait_for_end(run->ended_fd());
    const api::ExitReport report = run->finish();
    if (run->wants_engine_stats()) fmt::print(stderr, "{}", stats_text(run->engine_stats()));
    return tell_end(config.name, report);
}

}  // namespace

Result<int> run_guest(const RunOptions& options, const Platform& platform) {
    const api::GuestConfig config = YADO_TRY(make_config(options));
    warn(config);
    if (!options.detach) return run_here(config, platform);
    YADO_TRY(run_detached(config));
    fmt::print("{}\n", config.name);
    return 0;
}

}  // namespace yado::apps
