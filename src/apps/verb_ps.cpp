#include "apps/reach.h"
#include "apps/text.h"
#include "apps/verbs.h"

namespace yado::apps {

namespace {

api::GuestInfo info_of(const control::RuntimeDir::Found& found) {
    api::GuestInfo info{.name = found.name, .pid = found.pid};
    if (!found.alive) {
        info.state = api::RunState::Stopped;
        if (found.ended) info.stop_reason = found.ended->reason;
        return info;
    }
    auto client = control::Client::connect(found.socket(), std::chrono::seconds(2));
    if (!client) return info;  // it starts right now
    const auto text = client->get("/v1/guest");
    const auto told = text ? api::guest_info_from_json(*text) : Result<api::GuestInfo>(info);
    return told ? *told : info;
}

std::vector<std::string> row_of(const api::GuestInfo& info, const control::RuntimeDir::Found& found) {
    if (!found.alive) return {info.name, ending_text(found), "-", "-", "-", "-", "-"};
    return {info.name, std::string(api::to_string(info.state)), info.engine.empty() ? "-" : info.engine, fmt::format("{}", info.cpus),
            api::to_string(info.memory), duration_text(info.uptime), fmt::format("{}", info.pid)};
}

}  // namespace

Result<> list_guests(const PsOptions& options) {
    const auto directory = YADO_TRY(control::RuntimeDir::open());
    std::vector<api::GuestInfo> infos;
    std::vector<std::vector<std::string>> rows = {{"NAME", "STATE", "ENGINE", "CPUS", "MEMORY", "UPTIME", "PID"}};
    for (const auto& found : directory.list()) {
        if (options.names_only) {
            fmt::print("{}\n", found.name);
            continue;
        }
        infos.push_back(info_of(found));
        rows.push_back(row_of(infos.back(), found));
    }
    if (options.names_only) return {};
    if (options.format == Format::Json) fmt::print("{}\n", api::to_json(infos));
    else print_table(rows, 1);
    return {};
}

}  // namespace yado::apps
