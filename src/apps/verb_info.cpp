#include "apps/reach.h"
#include "apps/stats_text.h"
#include "apps/text.h"
#include "apps/verbs.h"

namespace yado::apps {

namespace {

void print_info(const api::GuestInfo& info) {
    print_table({{"NAME", info.name},
                 {"state", info.pause_reason.empty() ? std::string(api::to_string(info.state)) : fmt::format("{}: {}", api::to_string(info.state), info.pause_reason)},
                 {"pid", fmt::format("{}", info.pid)},
                 {"engine", info.engine.empty() ? "-" : info.engine_reason.empty() ? info.engine : fmt::format("{} ({})", info.engine, info.engine_reason)},
                 {"cpu", fmt::format("{} x {}", info.cpus, info.cpu)},
                 {"memory", api::to_string(info.memory)},
                 {"uptime", duration_text(info.uptime)},
                 {"image", info.image.empty() ? "-" : info.image},
                 {"console", info.console}});
}

}  // namespace

Result<> show_info(const InfoOptions& options) {
    auto client = YADO_TRY(reach(options.name));
    const std::string guest = YADO_TRY(client.get("/v1/guest"));
    const std::string devices = YADO_TRY(client.get("/v1/devices"));
    const std::string counters = YADO_TRY(client.get("/v1/counters"));
    const std::string engine = YADO_TRY(client.get("/v1/engine"));
    if (options.format == Format::Json) {
        fmt::print("{{\"guest\":{},\"devices\":{},\"counters\":{},\"engine\":{}}}\n", guest, devices, counters, engine);
        return {};
    }
    print_info(YADO_TRY(api::guest_info_from_json(guest)));
    std::vector<std::vector<std::string>> rows = {{"DEVICE", "KIND", "LOCATION", "DETAIL"}};
    for (const auto& device : YADO_TRY(api::devices_from_json(devices))) rows.push_back({device.id, device.kind, device.location, device.detail});
    fmt::print("\n");
    print_table(rows);
    std::vector<std::vector<std::string>> counts = {{"COUNTER", "VALUE"}};
    for (const auto& [name, value] : YADO_TRY(api::counters_from_json(counters))) counts.push_back({name, fmt::format("{}", value)});
    fmt::print("\n");
    print_table(counts);
    fmt::print("\n{}", stats_text(YADO_TRY(api::engine_stats_from_json(engine))));
    return {};
}

}  // namespace yado::apps
