// System instructions by bare-metal payloads (payload/), run by the interpreter and by the translator on a machine of almost nothing.
// `apic` needs real devices and runs with the whole machine only.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <sstream>

#include "bare_machine.h"

namespace yado::payload {
namespace {

using namespace std::chrono_literals;

std::string path_of(const std::string& name) { return std::string(YADO_PAYLOADS) + "/" + name + ".elf"; }

class Payload : public testing::TestWithParam<std::tuple<const char*, Runner>> {};

std::string name_of(const testing::TestParamInfo<std::tuple<const char*, Runner>>& info) {
    return std::string(std::get<0>(info.param)) + (std::get<1>(info.param) == Runner::Translator ? "_translated" : "");
}

TEST_P(Payload, PrintsOkOnEveryLine) {
    const Result<Report> result = run(path_of(std::get<0>(GetParam())), std::get<1>(GetParam()), 60s);
    ASSERT_TRUE(result) << result.error().message();
    unsigned checks = 0;
    std::istringstream lines(result->output);
    for (std::string line; std::getline(lines, line);) {
        EXPECT_EQ(line.find(": FAIL"), std::string::npos) << line;
        checks += line.ends_with(": ok");
    }
    fmt::print("  {} checks, {} instructions\n", checks, result->instructions);
    EXPECT_GT(checks, 0u);
    EXPECT_LT(result->instructions, 1'000'000'000u) << "a count below zero";
    ASSERT_TRUE(result->exit) << "shut down; output:\n" << result->output;
    EXPECT_EQ(*result->exit, 0);
}

INSTANTIATE_TEST_SUITE_P(All, Payload,
                         testing::Combine(testing::Values("exceptions", "paging", "privilege", "smc", "features", "legacy", "realmode", "hostile",
                                                          "flood"),
                                          testing::Values(Runner::Interpreter, Runner::Translator)),
                         name_of);

class TripleFault : public testing::TestWithParam<std::tuple<const char*, Runner>> {};

TEST_P(TripleFault, ShutsTheMachineDown) {
    const Result<Report> result = run(path_of(std::get<0>(GetParam())), std::get<1>(GetParam()), 60s);
    ASSERT_TRUE(result) << result.error().message();
    EXPECT_TRUE(result->shut_down);
    EXPECT_EQ(result->output, "triple fault: now\n");
}

INSTANTIATE_TEST_SUITE_P(All, TripleFault,
                         testing::Combine(testing::Values("triple", "nowhere"), testing::Values(Runner::Interpreter, Runner::Translator)), name_of);

}  // namespace
}  // namespace yado::payload
