#include <gtest/gtest.h>

#include "apps/image/mirrors.h"

using namespace yado::apps;
using Lines = std::vector<std::string>;

TEST(Mirrors, WithoutAnyTheDefaultsStand) {
    EXPECT_EQ(debian_sources_of({}, {}), (Lines{"deb http://deb.debian.org/debian bookworm main",
                                                "deb http://deb.debian.org/debian-security bookworm-security main",
                                                "deb http://deb.debian.org/debian bookworm-updates main"}));
}

TEST(Mirrors, OneLineSourcesAreRead) {
    const Lines sources = debian_sources_of({"# deb http://old/debian bookworm main\ndeb [arch=amd64 signed-by=/k] http://mirror/debian bookworm main contrib\n"}, {});
    EXPECT_EQ(sources[0], "deb http://mirror/debian bookworm main");
    EXPECT_EQ(sources[2], "deb http://mirror/debian bookworm-updates main");
}

TEST(Mirrors, Deb822StanzasAreRead) {
    const Lines sources = debian_sources_of({}, {"Types: deb\nURIs: http://m/debian\nSuites: bookworm bookworm-updates\nComponents: main\n\n"
                                                 "Types: deb\nURIs: http://m/security\nSuites: bookworm-security\nComponents: main\n"});
    EXPECT_EQ(sources, (Lines{"deb http://m/debian bookworm main", "deb http://m/security bookworm-security main", "deb http://m/debian bookworm-updates main"}));
}

TEST(Mirrors, OtherSuitesComponentsAndDisabledStanzasAreLeftOut) {
    const Lines sources = debian_sources_of({"deb https://other/apt cloud-sdk-bookworm main\ndeb https://docker bookworm stable\n"},
                                            {"Enabled: no\nTypes: deb\nURIs: http://m/debian\nSuites: bookworm\nComponents: main\n"});
    EXPECT_EQ(sources[0], "deb http://deb.debian.org/debian bookworm main");
}
