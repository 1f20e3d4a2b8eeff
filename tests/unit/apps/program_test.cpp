// The real program, spawned, over made-up guests (tests/fakes/yado_fake.cpp): verbs, exit statuses, one clear line for bad input.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <fmt/core.h>
#include <sys/syscall.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/fd.h"
#include "control/client.h"

using namespace yado;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

namespace {

struct Outcome {
    int status;
    std::string out, err;
};

class Program : public testing::Test {
  protected:
    Program() {
        char pattern[] = "/tmp/yado-test-XXXXXX";
        folder_ = mkdtemp(pattern);
        setenv("YADO_RUNTIME_DIR", (folder_ + "/run").c_str(), 1);
        setenv("YADO_IMAGE_DIR", (folder_ + "/images").c_str(), 1);
        kernel_ = folder_ + "/kernel";
        std::ofstream(kernel_) << "x";
    }
    ~Program() override {
        for (const char* name : {"web1", "s"}) yado("stop --force " + std::string(name));
        std::filesystem::remove_all(folder_);
    }
    Outcome yado(const std::string& arguments, const std::string& input = "") const {
        std::ofstream(folder_ + "/in") << input;
        const std::string command =
            fmt::format("{} {} <{}/in >{}/out 2>{}/err", YADO_FAKE, arguments, folder_, folder_, folder_);
        const int status = system(command.c_str());
        return {WEXITSTATUS(status), slurp("out"), slurp("err")};
    }
    std::string slurp(const char* name) const {
        std::ostringstream text;
        text << std::ifstream(folder_ + "/" + name).rdbuf();
        return text.str();
    }
    Outcome run(const std::string& arguments, const std::string& input = "") const { return yado("run --kernel " + kernel_ + " " + arguments, input); }
    bool nothing_left() const { return !std::filesystem::exists(folder_ + "/run") || std::filesystem::is_empty(folder_ + "/run"); }

    std::string folder_, kernel_;
};

TEST_F(Program, AGuestThatPowersItselfOffEndsWith0AndLeavesNothing) {
    const Outcome o = run("--name a --append 'hello poweroff'");
    EXPECT_EQ(o.status, 0) << o.err;
    EXPECT_EQ(o.out, "hello from a\r\n");
    EXPECT_TRUE(nothing_left());
}

TEST_F(Program, ACrashEndsWith8) {
    const Outcome o = run("--append crash --name a");
    EXPECT_EQ(o.status, 8);
    EXPECT_THAT(o.err, HasSubstr("yado: guest a crashed: triple fault\n"));
}

TEST_F(Program, ADebuggerForAGuestThatCannotBeDebuggedIsAnError) {
    const auto outcome = run("--append poweroff --gdb unix:x");
    EXPECT_EQ(outcome.status, 1);
    EXPECT_THAT(outcome.err, HasSubstr("cannot be debugged"));
}

TEST_F(Program, ADebuggerFromOtherHostsIsWarnedAbout) {
    EXPECT_THAT(run("--append poweroff --gdb tcp:0.0.0.0:0").err, HasSubstr("warning: --gdb tcp:0.0.0.0:0: whoever reaches this address"));
    EXPECT_THAT(run("--append poweroff --gdb tcp:0").err, Not(HasSubstr("warning")));
}

TEST_F(Program, NoRebootEndsWith0) { EXPECT_EQ(run("--append reboot --no-reboot").status, 0); }

TEST_F(Program, WrongUsageEndsWith2AndOneLine) {
    for (const char* arguments : {"run", "run --bogus", "bogus", "run --memory 0 --kernel k", "run --kernel k --disk pth=x", "info", "run --kernel k --cpus many",
                                  "run --kernel k --engine turbo", "run --kernel k --name ../x", "completion tcsh", "image build windows"}) {
        const Outcome o = yado(arguments);
        EXPECT_EQ(o.status, 2) << arguments << ": " << o.err;
        EXPECT_EQ(std::ranges::count(o.err, '\n'), 1) << arguments << ": " << o.err;
        EXPECT_THAT(o.err, StartsWith("yado: "));
        EXPECT_TRUE(nothing_left());
    }
}

TEST_F(Program, WhatIsNotThereEndsWith3) {
    EXPECT_EQ(yado("info nobody").status, 3);
    EXPECT_EQ(yado("rm nobody").status, 3);
    EXPECT_EQ(yado("run nosuchimage").status, 3);
    EXPECT_EQ(yado("run --config /nonexistent.toml").status, 3);
    const Outcome o = yado("run --kernel /nonexistent");
    EXPECT_EQ(o.status, 3);
    EXPECT_TRUE(nothing_left());
}

TEST_F(Program, ADetachedGuestLivesIsControlledAndRemoved) {
    Outcome o = run("--detach --name web1 --append echo");
    ASSERT_EQ(o.status, 0) << o.err;
    EXPECT_EQ(o.out, "web1\n");
    EXPECT_EQ(nlohmann::json::parse(yado("ps --json").out)[0]["state"], "running");
    EXPECT_EQ(nlohmann::json::parse(yado("info web1 --json").out)["devices"][0]["id"], "disk0");
    EXPECT_EQ(run("--detach --name web1").status, 4);
    EXPECT_EQ(yado("rm web1").status, 4);
    EXPECT_EQ(yado("pause web1").status, 0);
    EXPECT_EQ(yado("pause web1").status, 4);
    EXPECT_EQ(yado("resume web1").status, 0);
    EXPECT_EQ(yado("reset web1").status, 0);
    EXPECT_EQ(yado("stop web1").status, 0);
    EXPECT_EQ(yado("rm web1").status, 0);
    EXPECT_EQ(yado("ps -q").out, "");
}

TEST_F(Program, ADetachedGuestThatCannotStartSaysWhy) {
    const Outcome o = yado("run --detach --name web1 --kernel /nonexistent");
    EXPECT_EQ(o.status, 3);
    EXPECT_THAT(o.err, HasSubstr("/nonexistent: no such file"));
    EXPECT_TRUE(nothing_left());
}

TEST_F(Program, AKernelThatIsNoneIsOneLineAndLeavesNothingNotEvenTheConsolesFile) {
    std::ofstream(kernel_, std::ios::trunc);
    const Outcome o = run("--name a --console file=" + folder_ + "/log");
    EXPECT_EQ(o.status, 1);
    EXPECT_EQ(o.err, "yado: kernel " + kernel_ + ": is empty\n");
    EXPECT_FALSE(std::filesystem::exists(folder_ + "/log"));
    EXPECT_TRUE(nothing_left());
}

TEST_F(Program, AStubbornGuestTimesOutWith7AndForceEndsIt) {
    ASSERT_EQ(run("--detach --name s --append stubborn").status, 0);
    EXPECT_EQ(yado("stop --timeout 0 s").status, 7);
    EXPECT_EQ(yado("stop --force s").status, 0);
    EXPECT_EQ(yado("stop s").status, 4);
}

TEST_F(Program, ADiskIsAttachedAndDetached) {
    ASSERT_EQ(run("--detach --name web1").status, 0);
    Outcome o = yado("attach web1 --disk path=data.img,id=data1");
    EXPECT_EQ(o.status, 0) << o.err;
    EXPECT_EQ(o.out, "data1\n");
    EXPECT_EQ(yado("attach web1 --disk path=data.img,id=data1").status, 4);
    EXPECT_EQ(yado("attach web1 --disk path=missing.img").status, 3);
    EXPECT_EQ(yado("attach web1 --disk colour=red").status, 2);
    EXPECT_EQ(yado("attach web1").status, 2);
    EXPECT_EQ(yado("attach nobody --disk path=data.img").status, 3);
    o = yado("detach web1 data1");
    EXPECT_EQ(o.status, 0) << o.err;
    EXPECT_EQ(yado("detach web1 data1").status, 3);
}

TEST_F(Program, ADiskThatIsAttachedIsNamedByItsWholePath) {
    ASSERT_EQ(run("--detach --name web1").status, 0);
    const Outcome o = yado("attach web1 --disk path=missing.img");
    EXPECT_EQ(o.err, "yado: guest web1: disk " + std::filesystem::current_path().string() + "/missing.img: No such file or directory\n");
    EXPECT_THAT(yado("attach web1 --disk path=nbd://h/missing.img").err, HasSubstr("disk nbd://h/missing.img: "));
}

TEST_F(Program, AGuestThatKeepsItsDiskTimesOutWith7AndForcePullsItOut) {
    ASSERT_EQ(run("--detach --name s --append stubborn").status, 0);
    ASSERT_EQ(yado("attach s --disk path=data.img,id=data1").status, 0);
    const Outcome o = yado("detach --timeout 0 s data1");
    EXPECT_EQ(o.status, 7);
    EXPECT_EQ(o.err, "yado: guest s has not let go of data1 within 0 s: it keeps it for now; ask again, or yado detach --force pulls it out\n");
    EXPECT_EQ(yado("detach --force s data1").status, 0);
}

TEST_F(Program, AKilledGuestIsListedAsDeadAndItsNameIsFree) {
    ASSERT_EQ(run("--detach --name web1").status, 0);
    const int pid = atoi(std::string(slurp("run/web1/lock")).c_str());
    const Fd process(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
    ASSERT_EQ(kill(pid, SIGKILL), 0);
    pollfd ended{process.get(), POLLIN, 0};
    ASSERT_EQ(poll(&ended, 1, 5000), 1);
    EXPECT_THAT(yado("ps").out, HasSubstr("web1  dead"));
    EXPECT_EQ(run("--detach --name web1").status, 0);
}

TEST_F(Program, ConsoleTypesAndShows) {
    ASSERT_EQ(run("--detach --name web1 --append 'hello echo'").status, 0);
    const Outcome o = yado("console web1", "abc!");
    EXPECT_EQ(o.status, 0);
    EXPECT_EQ(o.out, "hello from web1\r\nabc!");
}

TEST_F(Program, OptionsAddToTheConfigFile) {
    std::ofstream(folder_ + "/g.toml") << "name = \"fromfile\"\nkernel = \"" << kernel_ << "\"\nappend = \"hello poweroff\"\n";
    EXPECT_EQ(yado("run --config " + folder_ + "/g.toml").out, "hello from fromfile\r\n");
    EXPECT_EQ(yado("run --config " + folder_ + "/g.toml --name mine").out, "hello from mine\r\n");
}

TEST_F(Program, AConsoleFileGetsTheOutput) {
    EXPECT_EQ(run("--append 'hello poweroff' --name a --console file=" + folder_ + "/log").status, 0);
    EXPECT_EQ(slurp("log"), "hello from a\r\n");
}

TEST_F(Program, EngineStatsArePrintedWhenTheGuestEnds) {
    EXPECT_THAT(run("--append poweroff --name a --engine-stats").err, HasSubstr("bt vcpu0\n  left_by\n    request                                    12   80.0 %\n"));
    EXPECT_EQ(run("--append poweroff --name a").err.find("vcpu0"), std::string::npos);
}

TEST_F(Program, InfoShowsWhatTheEngineCounted) {
    ASSERT_EQ(run("--detach --name web1").status, 0);
    EXPECT_THAT(yado("info web1").out, HasSubstr("    idle                                  1.500 s  100.0 %\n"));
    EXPECT_EQ(nlohmann::json::parse(yado("info web1 --json").out)["engine"]["vcpus"][0]["groups"][1]["counters"]["idle"], 1'500'000'000);
}

TEST_F(Program, HelpIsThereForEveryVerb) {
    for (const char* verb : {"", "run", "ps", "info", "console", "stop", "rm", "pause", "resume", "reset", "image", "image build", "image ls", "doctor", "completion", "version"}) {
        const Outcome o = yado(std::string(verb) + " --help");
        EXPECT_EQ(o.status, 0) << verb;
        EXPECT_THAT(o.out, HasSubstr("Usage")) << verb;
    }
}

TEST_F(Program, CompletionScriptsParse) {
    ASSERT_EQ(yado("completion bash").status, 0);
    EXPECT_EQ(system(("bash -n " + folder_ + "/out").c_str()), 0);
    EXPECT_THAT(slurp("out"), HasSubstr("/run:--engine) COMPREPLY=($(compgen -W \"auto kvm bt\""));
    EXPECT_THAT(yado("completion zsh").out, StartsWith("#compdef yado\n"));
    EXPECT_THAT(yado("completion fish").out, HasSubstr("-l engine -x -a 'auto kvm bt'"));
}

TEST_F(Program, BashCompletesVerbsAndValues) {
    const std::string script = fmt::format("source <({} completion bash); COMP_WORDS=(yado run --engine k); COMP_CWORD=3; _yado; echo \"${{COMPREPLY[@]}}\"", YADO_FAKE);
    std::ofstream(folder_ + "/try.sh") << script;
    ASSERT_EQ(system(fmt::format("bash {}/try.sh >{}/out", folder_, folder_).c_str()), 0);
    EXPECT_EQ(slurp("out"), "kvm\n");
}

TEST_F(Program, DoctorSaysWhichEngineAutoTakes) {
    const auto findings = nlohmann::json::parse(yado("doctor --json").out);
    EXPECT_EQ(findings[1]["what"], "engine bt");
    EXPECT_THAT(findings[1]["detail"].get<std::string>(), HasSubstr("auto takes this one"));
}

TEST_F(Program, OutputThatIsNoTerminalHasNoColour) { EXPECT_EQ(yado("doctor").out.find('\033'), std::string::npos); }

/// `yado run` on a pseudo-terminal of the test's.
class OnATerminal : public Program {
  protected:
    void start(const std::string& arguments) {
        master_ = Fd(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
        grantpt(master_.get());
        unlockpt(master_.get());
        char name[64];
        ptsname_r(master_.get(), name, sizeof name);
        slave_ = Fd(open(name, O_RDWR | O_NOCTTY | O_CLOEXEC));
        tcgetattr(slave_.get(), &before_);
        const std::string command = fmt::format("exec {} run --kernel {} {}", YADO_FAKE, kernel_, arguments);
        pid_ = fork();
        if (pid_ == 0) {
            for (const int fd : {0, 1, 2}) dup2(slave_.get(), fd);
            execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
            _exit(127);
        }
    }
    std::string read_until(std::string_view wanted) const {
        std::string all;
        char piece[256];
        pollfd ready{master_.get(), POLLIN, 0};
        while (all.find(wanted) == all.npos && poll(&ready, 1, 5000) > 0) {
            const ssize_t count = read(master_.get(), piece, sizeof piece);
            if (count <= 0) break;
            all.append(piece, static_cast<size_t>(count));
        }
        return all;
    }
    int wait() const {
        int status = 0;
        waitpid(pid_, &status, 0);
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    bool restored() const {
        termios now{};
        tcgetattr(slave_.get(), &now);
        return now.c_lflag == before_.c_lflag && now.c_iflag == before_.c_iflag && now.c_oflag == before_.c_oflag;
    }
    Fd master_, slave_;
    termios before_{};
    pid_t pid_ = 0;
};

TEST_F(OnATerminal, CtrlBracketLeavesAsItSaysAndTheTerminalIsRestored) {
    start("--append 'hello echo'");
    EXPECT_THAT(read_until("hello from"), HasSubstr("Ctrl-] leaves"));
    ASSERT_EQ(write(master_.get(), "ab", 2), 2);
    EXPECT_THAT(read_until("ab"), HasSubstr("ab"));
    ASSERT_EQ(write(master_.get(), "\x1d", 1), 1);
    EXPECT_EQ(wait(), 0);
    EXPECT_TRUE(restored());
    EXPECT_TRUE(nothing_left());
}

TEST_F(OnATerminal, ATerminationSignalRestoresTheTerminal) {
    start("--append 'hello stubborn'");
    read_until("hello from");
    kill(pid_, SIGTERM);
    EXPECT_EQ(wait(), 0);
    EXPECT_TRUE(restored());
    EXPECT_TRUE(nothing_left());
}

TEST_F(OnATerminal, CtrlCGoesToTheGuest) {
    start("--append 'hello echo'");
    read_until("hello from");
    ASSERT_EQ(write(master_.get(), "\x03!", 2), 2);
    EXPECT_THAT(read_until("!"), HasSubstr("\x03!"));
    EXPECT_EQ(wait(), 0);
}

/// Its kernel is a FIFO: the guest is loading from the time on when kernel_writer() returns, until that is closed.
class WhileLoading : public OnATerminal {
  protected:
    WhileLoading() {
        std::filesystem::remove(kernel_);
        EXPECT_EQ(mkfifo(kernel_.c_str(), 0600), 0);
    }
    Fd kernel_writer() const { return Fd(open(kernel_.c_str(), O_WRONLY | O_CLOEXEC)); }
};

TEST_F(WhileLoading, TheControlSocketAnswersAndRefusesWhatNeedsARunningGuest) {
    start("--name a --append 'hello poweroff'");
    Fd kernel = kernel_writer();
    EXPECT_EQ(nlohmann::json::parse(yado("info a --json").out)["guest"]["state"], "starting");
    const Outcome o = yado("pause a");
    EXPECT_EQ(o.status, 4);
    EXPECT_THAT(o.err, HasSubstr("the guest is starting"));
    ASSERT_EQ(write(kernel.get(), "x", 1), 1);
    kernel.reset();
    EXPECT_THAT(read_until("hello from"), HasSubstr("hello from a"));
    EXPECT_EQ(wait(), 0);
}

TEST_F(WhileLoading, AGuestWhosePlugIsPulledNeverRunsAndEndsWith0) {
    start("--name a --append 'hello stubborn'");
    Fd kernel = kernel_writer();
    auto client = control::Client::connect(folder_ + "/run/a/control.sock");
    ASSERT_TRUE(client && client->post("/v1/power-off"));
    ASSERT_EQ(write(kernel.get(), "x", 1), 1);
    kernel.reset();
    EXPECT_EQ(wait(), 0);
    slave_.reset();  // ours: what is left is read to its end
    EXPECT_THAT(read_until("hello from"), Not(HasSubstr("hello from")));
    EXPECT_TRUE(nothing_left());
}

TEST_F(WhileLoading, AKernelThatTurnsOutToBeNoneEndsTheGuestForItsClients) {
    start("--name a");
    Fd kernel = kernel_writer();
    EXPECT_EQ(yado("info a").status, 0);
    kernel.reset();
    EXPECT_THAT(read_until("is empty"), HasSubstr("kernel " + kernel_ + ": is empty"));
    EXPECT_EQ(wait(), 1);
    EXPECT_TRUE(nothing_left());
}

}  // namespace
