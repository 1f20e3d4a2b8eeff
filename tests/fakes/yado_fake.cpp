// The program `yado` over guests that are made up: the kernel command line decides what they do.
//     "hello"    prints hello        "poweroff"  powers itself off     "crash"     crashes
//     "reboot"   resets itself       "echo"      prints what is typed  "stubborn"  ignores the power button, keeps its disks
// A kernel is read to its end, so that one that is a FIFO keeps the guest loading for as long as a test holds it open.
#include <algorithm>
#include <condition_variable>
#include <fstream>
#include <iterator>
#include <mutex>
#include <thread>

#include "apps/program.h"
#include "fakes/fake_port.h"
#include "fakes/toy_format.h"

namespace {

using namespace yado;

class FakeGuest final : public assemble::Guest {
  public:
    explicit FakeGuest(const api::GuestConfig& config) : config_(config) {
        port_.name = config.name;
        port_.set_state(api::RunState::Starting);
        port_.on_power_off = [this] { end({api::StopReason::Stopped, "", 0}); };
        port_.on_power_button = [this] {
            if (!says("stubborn")) end({api::StopReason::PoweredOff, "", 0});
        };
        port_.keeps_disks = says("stubborn");
        if (says("echo")) port_.console().set_input_ready([this] { echo(); });
    }
    Result<> build() override {
        std::ifstream kernel(config_.kernel);
        if (!kernel) return fail(ErrorKind::NotFound, "kernel {}: no such file", config_.kernel);
        const std::string image{std::istreambuf_iterator<char>(kernel), {}};
        if (image.empty()) return fail(ErrorKind::Failed, "kernel {}: is empty", config_.kernel);
        return {};
    }
    Result<> start() override {
        if (has_ended()) return {};
        port_.set_state(api::RunState::Running);
        port_.events().add("started");
        if (says("hello")) port_.print("hello from " + config_.name + "\r\n");
        if (says("poweroff")) end({api::StopReason::PoweredOff, "", 0});
        if (says("crash")) end({api::StopReason::Crashed, "triple fault", 0});
        if (says("reboot")) end({api::StopReason::Rebooted, "", 0});
        return {};
    }
    api::ExitReport wait() override {
        std::unique_lock lock(mutex_);
        ended_.wait(lock, [this] { return report_.reason != api::StopReason::None; });
        return report_;
    }
    api::GuestPort& port() override { return port_; }

  private:
    bool says(std::string_view word) const { return config_.append.find(word) != std::string::npos; }
    bool has_ended() {
        const std::lock_guard lock(mutex_);
        return report_.reason != api::StopReason::None;
    }
    void end(api::ExitReport report) {
        const std::lock_guard lock(mutex_);
        if (report_.reason == api::StopReason::None) report_ = std::move(report);
        ended_.notify_all();
    }
    void echo() {
        std::byte room[256];
        const size_t count = port_.console().take_input(room);
        port_.console().output(std::span(room, count));
        if (std::find(room, room + count, std::byte{'!'}) != room + count) end({api::StopReason::PoweredOff, "", 0});
    }

    api::GuestConfig config_;
    fakes::FakePort port_;
    std::mutex mutex_;
    std::condition_variable ended_;
    api::ExitReport report_;
};

std::unique_ptr<assemble::Guest> create(const api::GuestConfig& config, const std::string&) { return std::make_unique<FakeGuest>(config); }

}  // namespace

int main(int argc, char** argv) {
    fakes::toy_format();  // for the tests of disk verbs: a format with a parent
    return yado::apps::run_program(argc, argv, {.create_guest = create, .probe_engines = [](const std::string&) {
        return std::vector<assemble::EngineFinding>{{"kvm", true, false, false, "interprets ring 0"}, {"bt", true, true, true, "everywhere"}};
    }});
}
