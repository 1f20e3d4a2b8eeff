// yado doctor: which engines work and which one auto takes, the processor, limits, missing programs.
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "apps/image/store.h"
#include "apps/process.h"
#include "apps/text.h"
#include "apps/verbs.h"
#include "control/runtime_dir.h"

namespace yado::apps {

namespace {

struct Finding {
    std::string what, state, detail;  ///< state: "ok", "works", "warning", "failed", "-"
};

std::set<std::string> cpu_flags() {
    std::ifstream in("/proc/cpuinfo");
    std::set<std::string> flags;
    for (std::string line; std::getline(in, line);) {
        if (!line.starts_with("flags")) continue;
        std::istringstream words(line.substr(line.find(':') + 1));
        for (std::string word; words >> word;) flags.insert(word);
        break;
    }
    return flags;
}

void look_at_engines(std::vector<Finding>& out, const Platform& platform) {
    const auto runtime = control::RuntimeDir::open();
    for (const auto& engine : platform.probe_engines(runtime ? runtime->verdict_file() : "")) {
        const std::string state = engine.works ? "works" : engine.present ? "failed" : "-";
        out.push_back({"engine " + engine.name, state, engine.detail + (engine.chosen ? " (auto takes this one)" : "")});
    }
    if (access("/dev/kvm", F_OK) != 0) out.push_back({"/dev/kvm", "-", "not there: no hardware virtualization on this host, or the module kvm is not loaded"});
    else if (access("/dev/kvm", R_OK | W_OK) != 0) out.push_back({"/dev/kvm", "warning", "no permission; add yourself to the group kvm"});
    else out.push_back({"/dev/kvm", "ok", "may be opened"});
}

void look_at_processor(std::vector<Finding>& out) {
    const auto flags = cpu_flags();
    const char* extension = flags.contains("vmx") ? "Intel VT-x" : flags.contains("svm") ? "AMD-V" : "none shown to this host";
    out.push_back({"virtualization", flags.contains("vmx") || flags.contains("svm") ? "ok" : "-", extension});
    const bool v2 = flags.contains("sse4_2") && flags.contains("popcnt") && flags.contains("cx16") && flags.contains("ssse3");
    const bool v3 = v2 && flags.contains("avx2") && flags.contains("bmi2") && flags.contains("fma") && flags.contains("movbe");
    out.push_back({"processor level", v2 ? "ok" : "warning", v3 ? "x86-64-v3" : v2 ? "x86-64-v2" : "x86-64-v1: the default model x86-64-v2 needs more"});
    out.push_back({"processors", "ok", fmt::format("{}", sysconf(_SC_NPROCESSORS_ONLN))});
}

void look_at_limits(std::vector<Finding>& out) {
    out.push_back({"memory", "ok", fmt::format("{}M", api::HostLimits::of_this_host().memory.value() >> 20)});
    rlimit files{};
    getrlimit(RLIMIT_NOFILE, &files);
    out.push_back({"open files", files.rlim_cur >= 1024 ? "ok" : "warning", fmt::format("limit {}", files.rlim_cur)});
    const auto runtime = control::RuntimeDir::open();
    out.push_back({"runtime directory", runtime ? "ok" : "failed", runtime ? runtime->path() : runtime.error().message()});
    const auto images = ImageStore::open();
    struct statvfs space {};
    const bool known = images && statvfs(images->path().c_str(), &space) == 0;
    const uint64_t free = known ? space.f_bavail * space.f_frsize : 0;
    out.push_back({"image directory", images ? free < (2ull << 30) ? "warning" : "ok" : "failed",
                   images ? fmt::format("{}, {}M free", images->path(), free >> 20) : images.error().message()});
}

void look_at_programs(std::vector<Finding>& out) {
    for (const auto& [program, package] : {std::pair{"mmdebstrap", "mmdebstrap"}, {"mke2fs", "e2fsprogs"}, {"lz4", "lz4"}})
        out.push_back({program, in_path(program) ? "ok" : "warning",
                       in_path(program) ? "for yado image build" : fmt::format("missing, for yado image build: apt-get install {}", package)});
    if (geteuid() != 0 && !in_path("newuidmap"))
        out.push_back({"newuidmap", "warning", "missing, for yado image build without root: apt-get install uidmap"});
}

std::string json_of(const std::vector<Finding>& findings) {
    auto list = nlohmann::ordered_json::array();
    for (const Finding& f : findings) list.push_back({{"what", f.what}, {"state", f.state}, {"detail", f.detail}});
    return list.dump();
}

}  // namespace

Result<int> show_doctor(Format format, const Platform& platform) {
    std::vector<Finding> findings;
    look_at_engines(findings, platform);
    const bool usable = std::ranges::any_of(findings, [](const Finding& f) { return f.what.starts_with("engine") && f.state == "works"; });
    look_at_processor(findings);
    look_at_limits(findings);
    look_at_programs(findings);
    if (format == Format::Json) {
        fmt::print("{}\n", json_of(findings));
    } else {
        std::vector<std::vector<std::string>> rows = {{"WHAT", "STATE", "DETAIL"}};
        for (const Finding& f : findings) rows.push_back({f.what, f.state, f.detail});
        print_table(rows, 1);
    }
    return usable ? 0 : 1;
}

}  // namespace yado::apps
