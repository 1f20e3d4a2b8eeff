#include "apps/host_run.h"

#include <sys/eventfd.h>
#include <unistd.h>

namespace yado::apps {

Result<std::unique_ptr<HostRun>> HostRun::create(const api::GuestConfig& config, const Platform& platform) {
    auto run = std::unique_ptr<HostRun>(new HostRun);
    const auto directory = YADO_TRY(control::RuntimeDir::open());
    run->wants_engine_stats_ = config.engine_stats;
    run->claim_ = YADO_TRY(directory.claim(config.name));
    run->socket_ = run->claim_.socket();
    run->ended_ = Fd(eventfd(0, EFD_CLOEXEC));
    YADO_TRY(run->claim_.put("guest.json", api::to_json(config)));
    run->guest_ = platform.create_guest(config, directory.verdict_file());
    run->server_ = YADO_TRY(control::Server::start(run->socket_, run->port()));  // answers while KVM is probed and files are read
    YADO_TRY(run->guest_->build());
    run->bridge_ = YADO_TRY(control::ConsoleBridge::start(config.console, run->port().console()));
    run->place_ = run->bridge_->where();
    YADO_TRY(run->open_debugger(config));
    return run;
}

Result<> HostRun::open_debugger(const api::GuestConfig& config) {
    if (config.gdb.kind == api::GdbKind::None) return {};
    vm::DebugPort* port = guest_->debug();
    if (!port) return fail(ErrorKind::Failed, "guest {} cannot be debugged; leave --gdb out", config.name);
    debugger_ = YADO_TRY(gdb::Server::listen(config.gdb, *port));
    return {};
}

Result<> HostRun::start() {
    YADO_TRY(guest_->start());
    if (debugger_) YADO_TRY(debugger_->serve());
    waiter_ = std::thread([this] {
        report_ = guest_->wait();
        port().console().close();
        const uint64_t one = 1;
        if (write(ended_.get(), &one, sizeof one) < 0) return;  // cannot fail: the counter was 0
    });
    return {};
}

api::ExitReport HostRun::finish() {
    if (!waiter_.joinable()) return report_;
    port().power_off();  // Conflict if it has ended: fine
    waiter_.join();
    debugger_.reset();
    engine_stats_ = port().engine_stats();
    server_.reset();
    bridge_.reset();
    guest_.reset();
    return report_;
}

void HostRun::leave_report(const api::ExitReport& report) {
    keep_folder_ = claim_.put("exit.json", api::to_json(report)).has_value();
}

HostRun::~HostRun() {
    finish();
    debugger_.reset();
    server_.reset();
    bridge_.reset();
    guest_.reset();
    if (!keep_folder_ && !claim_.folder().empty()) claim_.remove();
}

}  // namespace yado::apps
