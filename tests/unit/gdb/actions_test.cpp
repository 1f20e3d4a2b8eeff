#include "gdb/actions.h"

#include <gtest/gtest.h>

namespace yado::gdb {
namespace {

using Actions = std::vector<vm::VcpuAction>;
using enum vm::VcpuAction;

TEST(VCont, AnActionWithoutThreadIsForAllThatHaveNone) {
    EXPECT_EQ(parse_actions(";c", 3), (Actions{Continue, Continue, Continue}));
    EXPECT_EQ(parse_actions(";s:2;c", 3), (Actions{Continue, Step, Continue}));
    EXPECT_EQ(parse_actions(";c;s:2", 3), (Actions{Continue, Continue, Continue}));
    EXPECT_EQ(parse_actions(";s:1;c:-1", 2), (Actions{Step, Continue}));
}

TEST(VCont, ThreadsThatNothingNamesStay) { EXPECT_EQ(parse_actions(";s:3", 3), (Actions{Stay, Stay, Step})); }

TEST(VCont, SignalsAreAcceptedAndMeanNothing) { EXPECT_EQ(parse_actions(";S05:1;C0b:2", 2), (Actions{Step, Continue})); }

TEST(VCont, MalformedActionsAreRefused) {
    for (const char* text : {"c", ";x", ";s:4", ";s:", ";C", ";s:zz", ";;", ";t:1", ";r10,20:1", ";s:1:2", ";s:11111111111111111"})
        EXPECT_FALSE(parse_actions(text, 3)) << text;
}

TEST(Threads, IdsAreOneMoreThanTheVcpu) {
    EXPECT_EQ(parse_thread("3", 3)->vcpu, 2u);
    EXPECT_EQ(parse_thread("0", 3)->kind, ThreadId::Kind::Any);
    EXPECT_EQ(parse_thread("-1", 3)->kind, ThreadId::Kind::All);
    EXPECT_FALSE(parse_thread("4", 3));
    EXPECT_FALSE(parse_thread("p1.1", 3));
}

}  // namespace
}  // namespace yado::gdb
