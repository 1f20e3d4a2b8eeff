#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "api/guest_info.h"
#include "api/routes.h"

using namespace yado;
using namespace yado::api;

TEST(InfoJson, ARoundTripLosesNothing) {
    GuestInfo info{.name = "web1", .pid = 42, .state = RunState::Paused, .pause_reason = "disk disk0: full", .engine = "bt", .engine_reason = "kvm interprets ring 0",
                   .cpu = "x86-64-v2", .cpus = 2, .memory = 512_MiB, .uptime = Nanoseconds(5), .image = "debian", .console = "stdio"};
    EXPECT_EQ(*guest_info_from_json(to_json(info)), info);
    const std::vector<DeviceInfo> devices{{"disk0", "virtio-blk", "0000:00:03.0", "raw a.img"}};
    EXPECT_EQ(*devices_from_json(to_json(devices)), devices);
    const Event event{7, Nanoseconds(9), "paused", "by \"somebody\"\n"};
    EXPECT_EQ(*event_from_json(to_json(event)), event);
    const ExitReport report{StopReason::Crashed, "triple fault", 3};
    EXPECT_EQ(*exit_report_from_json(to_json(report)), report);
    const Counters counters{{"vcpu0.exits", ~0ull}};
    EXPECT_EQ(*counters_from_json(to_json(counters)), counters);
    const EngineStats stats{"bt", {{0, {}}, {1, {{"time", "ns", true, {{"idle", 5}, {"devices", 0}}}}}}};
    EXPECT_EQ(*engine_stats_from_json(to_json(stats)), stats);
}

TEST(InfoJson, UnknownFieldsOfANewerGuestAreIgnored) {
    EXPECT_EQ(guest_info_from_json(R"({"name":"a","shiny":[1,2]})")->name, "a");
}

TEST(InfoJson, AFieldOfTheWrongTypeIsNamed) {
    const auto info = guest_info_from_json(R"({"state":"flying"})");
    ASSERT_FALSE(info);
    EXPECT_EQ(info.error().kind(), ErrorKind::Corrupt);
    EXPECT_EQ(info.error().message(), "state: \"flying\" is none of starting, running, paused, stopped");
}

TEST(InfoJson, TextThatIsNoUtf8StillMakesJson) {
    EXPECT_TRUE(event_from_json(to_json(Event{1, {}, "crashed", "\xff\xfe"})));
}

TEST(InfoJson, ErrorsKeepTheirKind) {
    const auto error = error_from_json(to_json(Error(ErrorKind::Conflict, "busy")));
    EXPECT_EQ(error->kind(), ErrorKind::Conflict);
    EXPECT_EQ(error->message(), "busy");
}

TEST(ExitStatus, FollowsTheDocumentedTable) {
    EXPECT_EQ(exit_status(ExitReport{StopReason::PoweredOff, "", 0}), 0);
    EXPECT_EQ(exit_status(ExitReport{StopReason::Rebooted, "", 0}), 0);
    EXPECT_EQ(exit_status(ExitReport{StopReason::Stopped, "", 0}), 0);
    EXPECT_EQ(exit_status(ExitReport{StopReason::DebugExit, "", 0}), 0);
    EXPECT_EQ(exit_status(ExitReport{StopReason::DebugExit, "", 3}), 1);
    EXPECT_EQ(exit_status(ExitReport{StopReason::Crashed, "", 0}), 8);
    EXPECT_EQ(exit_status(ExitReport{StopReason::Failed, "", 0}), 1);
}

TEST(OpenApi, EveryRouteAndEveryReferenceIsThere) {
    const auto document = nlohmann::json::parse(openapi_document());
    EXPECT_EQ(document["openapi"], "3.1.0");
    for (const Route& route : routes()) {
        const auto method = route.method == "GET" ? "get" : route.method == "POST" ? "post" : "delete";
        EXPECT_EQ(document["paths"][std::string(route.path)][method]["operationId"], std::string(route.id));
    }
    const std::string text = document.dump();
    for (size_t at = text.find("schemas/"); at != text.npos; at = text.find("schemas/", at + 1)) {
        const std::string name = text.substr(at + 8, text.find('"', at) - at - 8);
        EXPECT_TRUE(document["components"]["schemas"].contains(name)) << name;
    }
    EXPECT_EQ(document["paths"]["/v1/engine"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]["$ref"], "#/components/schemas/EngineStats");
    EXPECT_EQ(document["components"]["schemas"]["VcpuStats"]["properties"]["groups"]["items"]["$ref"], "#/components/schemas/CounterGroup");
    EXPECT_EQ(document["paths"]["/v1/disks"]["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"], "#/components/schemas/DiskConfig");
    EXPECT_TRUE(document["paths"]["/v1/disks"]["post"]["responses"].contains("201"));
    EXPECT_EQ(document["paths"]["/v1/disks/{id}"]["delete"]["parameters"][0]["in"], "path");
    EXPECT_EQ(document["paths"]["/v1/disks/{id}"]["delete"]["parameters"][1]["name"], "force");
    EXPECT_EQ(document["components"]["schemas"]["DiskConfig"]["required"], nlohmann::json::array({"path"}));
    EXPECT_EQ(document["components"]["schemas"]["GuestInfo"]["properties"]["state"]["enum"][2], "paused");
}
