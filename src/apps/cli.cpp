// The command line: every verb and option is declared here, those of `yado disk` in disk/disk_cli.cpp (CLI11 is named nowhere else), parsed into the plain options of
// verbs.h, and the verb's result becomes the exit status.
#include <CLI/CLI.hpp>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "apps/disk/disk_cli.h"
#include "apps/verbs.h"

#ifndef YADO_VERSION
#define YADO_VERSION "0.1.0"
#endif

namespace yado::apps {

namespace {

using Verb = std::function<Result<int>()>;

/// A verb without a status of its own.
Verb plain(std::function<Result<>()> f) {
    return [f = std::move(f)]() -> Result<int> {
        YADO_TRY(f());
        return 0;
    };
}

constexpr const char* kStatuses =
    "Exit status: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 in use or in conflict, 5 denied, 6 unreachable,\n"
    "7 timed out but still going on, 8 the guest crashed.";

class CommandLine {
  public:
    explicit CommandLine(const Platform& platform) : platform_(platform) {
        app_.require_subcommand(1);
        app_.footer(kStatuses);
        app_.set_help_flag("-h,--help", "show this help");
        add_run();
        add_listing();
        add_living();
        add_disks_of_guests();
        add_hotplug();
        add_image();
        add_disk();
        add_others();
    }

    int run(int argc, char** argv) {
        try {
            app_.parse(argc, argv);
        } catch (const CLI::CallForHelp& e) {
            return app_.exit(e);
        } catch (const CLI::CallForAllHelp& e) {
            return app_.exit(e);
        } catch (const CLI::ParseError& e) {
            if (argc > 1 && argv[1][0] != '-' && !has_verb(argv[1])) {
                fmt::print(stderr, "yado: there is no verb {}; yado --help lists them\n", argv[1]);
                return exit_status(ErrorKind::Usage);
            }
            fmt::print(stderr, "yado: {}; yado --help explains\n", one_line(e.what()));
            return exit_status(ErrorKind::Usage);
        }
        const Result<int> done = verb_();
        if (done) return *done;
        fmt::print(stderr, "yado: {}\n", done.error().message());
        return exit_status(done.error().kind());
    }

  private:
    bool has_verb(std::string_view name) const {
        return !app_.get_subcommands([&](const CLI::App* sub) { return sub->get_name() == name; }).empty();
    }
    static std::string one_line(std::string text) {
        while (!text.empty() && (text.back() == '\n' || text.back() == '.')) text.pop_back();
        std::ranges::replace(text, '\n', ' ');
        return text;
    }
    CLI::App* verb(CLI::App& parent, const char* name, const char* help, Verb run) {
        CLI::App* sub = parent.add_subcommand(name, help);
        sub->footer(kStatuses);
        sub->callback([this, run = std::move(run)] { verb_ = run; });
        return sub;
    }
    void guest_name(CLI::App* sub, std::string& name) { sub->add_option("GUEST", name, "name of a guest")->required()->type_name("GUEST"); }
    void json_flag(CLI::App* sub) {
        sub->add_flag_callback("--json", [this] { format_ = Format::Json; }, "print JSON");
    }

    /// An option that is a key of the configuration.
    void field(CLI::App* sub, const char* key, const char* type, const char* help) {
        std::string flag = std::string("--") + key;
        std::ranges::replace(flag, '_', '-');
        sub->add_option_function<std::vector<std::string>>(
               flag, [this, key](const std::vector<std::string>& texts) { for (const auto& text : texts) run_.fields.emplace_back(key, text); }, help)
            ->type_name(type)
            ->allow_extra_args(false);
    }
    void field_flag(CLI::App* sub, const char* flag, const char* key, const char* help) {
        sub->add_flag_callback(flag, [this, key] { run_.fields.emplace_back(key, "on"); }, help);
    }

    void add_run() {
        CLI::App* sub = verb(app_, "run", "run a guest: an image, or a kernel", [this] { return run_guest(run_, platform_); });
        sub->add_option("IMAGE", run_.image, "a built image; the guest gets a throw-away copy")->type_name("IMAGE");
        sub->add_option("--config", run_.config_file, "TOML file with the same keys; options add to it")->type_name("FILE");
        field(sub, "name", "NAME", "name of the guest; made up if not given");
        field(sub, "memory", "SIZE", "RAM: 512M, 2G (default 512M)");
        field(sub, "cpus", "N", "number of vCPUs (default 1)");
        field(sub, "engine", "auto|kvm|bt", "what runs the guest's instructions (default auto)");
        field(sub, "cpu", "x86-64-v1|x86-64-v2|x86-64-v3|host", "CPU model (default x86-64-v2)");
        field(sub, "kernel", "FILE", "bzImage, PVH or multiboot ELF");
        field(sub, "initrd", "FILE", "initial RAM disk");
        field(sub, "append", "TEXT", "kernel command line; added to an image's");
        field(sub, "disk", "KEY=VALUE,...", "a disk: path, format, bus, readonly, snapshot, backing, cache, discard, queues, serial, aio, reconnect, on-error, limit-iops, limit-bps, burst, writeback-limit, writeback-age, id; may be repeated");
        field(sub, "net", "KEY=VALUE,...", "a network interface: user or none; mac, forward, hostname, dns, restrict, id; may be repeated");
        field(sub, "console", "stdio|pty|none|file=PATH|socket=PATH", "where the serial console is (default stdio)");
        field(sub, "console_device", "serial|virtio", "what carries the console: the serial port (default), or virtio-console (hvc0)");
        field(sub, "gdb", "none|tcp:PORT|unix:PATH", "where GDB may connect (default none); tcp:ADDR:PORT for an address other than 127.0.0.1");
        field_flag(sub, "--gdb-wait", "gdb_wait", "the guest starts stopped and waits for GDB");
        field(sub, "rings", "split|packed", "layout of virtio queues (default split)");
        field(sub, "rng", "on|off", "random number device (default on)");
        field(sub, "hotplug_ports", "N", "slots for devices that come while the guest runs: 0 to 16 (default 4)");
        field(sub, "balloon", "on|off", "memory balloon device (default on)");
        field_flag(sub, "--debug-exit", "debug_exit", "isa-debug-exit at port 0xf4");
        field(sub, "check", "off|lockstep|sampled", "lockstep: run every block by the translator and by the interpreter, stop at the first difference (slow); sampled: leave out most runs of what runs much");
        field(sub, "perf", "off|map|jitdump=FOLDER", "tell perf what translated code is: /tmp/perf-PID.map, or FOLDER/jit-PID.dump");
        field(sub, "system_map", "FILE", "System.map of the guest's kernel: its names for --perf");
        field_flag(sub, "--engine-stats", "engine_stats", "at the end, print what the engine counted and spent its time on");
        field_flag(sub, "--no-reboot", "no_reboot", "the first reset ends the guest, with status 0");
        sub->add_flag("-d,--detach", run_.detach, "run in the background; prints the guest's name");
    }
    void add_listing() {
        CLI::App* ps = verb(app_, "ps", "list guests", plain([this] {
                                ps_.format = format_;
                                return list_guests(ps_);
                            }));
        json_flag(ps);
        ps->add_flag("-q,--quiet", ps_.names_only, "names only");
        CLI::App* info = verb(app_, "info", "show a guest: state, devices, counters", plain([this] { return show_info({name_, format_}); }));
        guest_name(info, name_);
        json_flag(info);
    }
    void add_living() {
        CLI::App* console = verb(app_, "console", "attach to a guest's console; Ctrl-] leaves", plain([this] { return attach_console({name_, watch_}); }));
        guest_name(console, name_);
        console->add_flag("--watch", watch_, "only watch: several may, while one types");
        CLI::App* stop = verb(app_, "stop", "press the power button and wait until the guest is off", plain([this] {
                                  stop_.name = name_;
                                  return stop_guest(stop_);
                              }));
        guest_name(stop, name_);
        stop->add_flag("--force", stop_.force, "pull the plug instead");
        stop->add_option("--timeout", stop_.timeout_seconds, "seconds to wait (default 60)")->type_name("SECONDS")->check(CLI::Range(0u, 86'400u));
        CLI::App* rm = verb(app_, "rm", "remove what a dead guest left", plain([this] { return remove_guest(name_); }));
        guest_name(rm, name_);
        for (const auto& [word, help] : {std::pair{"pause", "stop a guest's vCPUs"}, {"resume", "let a paused guest go on"}, {"reset", "press a guest's reset button"}})
            guest_name(verb(app_, word, help, plain([this, word = std::string(word)] { return post_verb(name_, word); })), name_);
    }
    void add_disks_of_guests() {
        CLI::App* snapshot = verb(app_, "snapshot", "take a snapshot of a running guest's disks, all at one moment", plain([this] {
                                      snapshot_.format = format_;
                                      return snapshot_guest(snapshot_);
                                  }));
        guest_name(snapshot, snapshot_.guest);
        snapshot->add_option("NAME", snapshot_.name, "of the snapshot: goes into the names of its files")->required()->type_name("NAME");
        snapshot->add_flag("--disk-only", snapshot_.disk_only, "the disks, without the guest's memory");
        snapshot->add_option("--disk", snapshot_.disks, "only this disk; may be repeated")->type_name("ID")->allow_extra_args(false);
        json_flag(snapshot);
        CLI::App* commit = verb(app_, "commit", "fold a disk's image into the one below it, while the guest runs", plain([this] { return commit_guest(commit_); }));
        guest_name(commit, commit_.guest);
        commit->add_option("DISK", commit_.disk, "id of the disk: disk0")->required()->type_name("ID");
        CLI::App* limit = verb(app_, "limit", "change how much of a disk a guest may use", plain([this] { return limit_guest(limit_); }));
        guest_name(limit, limit_.guest);
        limit->add_option("DISK", limit_.disk, "id of the disk: disk0")->required()->type_name("ID");
        limit->add_option("--iops", limit_.iops, "operations a second; 0: no limit")->type_name("N");
        limit->add_option("--bps", limit_.bps, "bytes a second: 50M; 0: no limit")->type_name("SIZE");
        limit->add_option("--burst", limit_.burst, "seconds' worth that an idle disk saves up")->type_name("SECONDS")->check(CLI::Range(0u, 86'400u));
    }
    void add_hotplug() {
        CLI::App* attach = verb(app_, "attach", "put a disk into a running guest; prints its id", plain([this] {
                                    attach_.name = name_;
                                    return attach_disk(attach_);
                                }));
        guest_name(attach, name_);
        attach->add_option("--disk", attach_.disk, "the disk, with the keys of run's --disk")->required()->type_name("KEY=VALUE,...");
        CLI::App* detach = verb(app_, "detach", "ask a running guest to let go of a disk and wait until it has", plain([this] {
                                    detach_.name = name_;
                                    return detach_disk(detach_);
                                }));
        guest_name(detach, name_);
        detach->add_option("DISK", detach_.id, "id of the disk")->required()->type_name("DISK");
        detach->add_flag("--force", detach_.force, "pull it out instead: what the guest has not written is lost");
        detach->add_option("--timeout", detach_.timeout_seconds, "seconds to wait (default 60)")->type_name("SECONDS")->check(CLI::Range(0u, 86'400u));
    }
    void add_image() {
        CLI::App* image = app_.add_subcommand("image", "images that guests boot from");
        image->require_subcommand(1);
        CLI::App* build = verb(*image, "build", "build an image: debian (Debian 12, from the host's apt mirror)",
                               plain([this] { return image_build(image_what_, image_name_, image_size_, force_); }));
        build->add_option("WHAT", image_what_, "debian")->required()->type_name("debian");
        build->add_option("--name", image_name_, "name of the image (default: as what it is)")->type_name("NAME");
        build->add_option("--size", image_size_, "size of its disk, sparse (default 2G)")->type_name("SIZE");
        build->add_flag("--force", force_, "build anew if it exists");
        CLI::App* list = verb(*image, "ls", "list built images", plain([this] { return names_only_ ? image_names() : image_list(format_); }));
        json_flag(list);
        list->add_flag("-q,--quiet", names_only_, "names only");
    }
    void add_disk() {
        disk_.add_to(app_, [this](CLI::App& parent, const char* name, const char* help, Verb run) { return verb(parent, name, help, std::move(run)); });
    }
    void add_others() {
        CLI::App* doctor = verb(app_, "doctor", "what works on this host: engines, limits, programs", [this] { return show_doctor(format_, platform_); });
        json_flag(doctor);
        CLI::App* completion = verb(app_, "completion", "print a shell's completion script", plain([this]() -> Result<> {
                                        fmt::print("{}", YADO_TRY(completion_script(tree_of(app_), shell_)));
                                        return {};
                                    }));
        completion->add_option("SHELL", shell_, "bash, zsh or fish")->required()->type_name("bash|zsh|fish");
        verb(app_, "version", "print the version", plain([]() -> Result<> {
                 fmt::print("yado {}\n", YADO_VERSION);
                 return {};
             }));
    }

    static CommandTree tree_of(const CLI::App& app) {
        CommandTree tree{.name = app.get_name(), .help = app.get_description(), .options = {}, .positional = {}, .children = {}};
        for (const CLI::Option* option : app.get_options()) {
            const bool positional = option->get_positional();
            const bool known = option->get_type_name() != "DISK";  // of which guest, a shell cannot tell
            if (positional && known && tree.positional != "FILE") tree.positional = option->get_type_name();  // files are what is worth completing
            if (positional) continue;
            tree.options.push_back({"--" + option->get_lnames().at(0), option->get_description(),
                                    option->get_expected_min() == 0 ? "" : option->get_type_name()});
        }
        for (const CLI::App* child : app.get_subcommands([](const CLI::App*) { return true; })) tree.children.push_back(tree_of(*child));
        return tree;
    }

    const Platform& platform_;
    CLI::App app_{"Yado runs unmodified operating systems as guests, with or without hardware virtualization.", "yado"};
    Verb verb_;
    RunOptions run_;
    PsOptions ps_;
    StopOptions stop_;
    SnapshotOptions snapshot_;
    CommitOptions commit_;
    LimitOptions limit_;
    AttachOptions attach_;
    DetachOptions detach_;
    DiskCommands disk_;
    std::string name_, shell_, image_what_, image_name_, image_size_ = "2G";
    Format format_ = Format::Text;
    bool watch_ = false, force_ = false, names_only_ = false;
};

}  // namespace

int run_program(int argc, char** argv, const Platform& platform) {
    signal(SIGXFSZ, SIG_IGN);  // a file-size limit is an error of the write (EFBIG), not the guest's death
    if (argc == 1 && std::string_view(argv[0]) == "yado-vmm") return run_as_vmm(3, 4, platform);
    signal(SIGPIPE, SIG_IGN);
    CommandLine command_line(platform);
    return command_line.run(argc, argv);
}

}  // namespace yado::apps
