// Interrupt inputs that remember what happened to them.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <mutex>
#include <optional>
#include <vector>

#include "bus/irq.h"

namespace yado::fakes {

class RecordingLine final : public bus::IrqLine {
  public:
    void set(bool asserted) override {
        if (asserted && !level) ++edges;
        level = asserted;
    }
    bool level = false;
    unsigned edges = 0;
};

class RecordingMsi final : public bus::MsiSink {
  public:
    void send(const bus::MsiMessage& message) override {
        const std::lock_guard lock(mutex_);
        sent.push_back(message);
    }
    std::vector<bus::MsiMessage> sent;

  private:
    std::mutex mutex_;
};

/// A sink with routes for a few descriptors. carry() does what the kernel does at once: sends what came by them.
class RoutingMsi final : public bus::MsiSink {
  public:
    void send(const bus::MsiMessage& message) override { sent.push_back(message); }
    bool has_routes() const override { return true; }
    Result<std::unique_ptr<bus::MsiRoute>> make_route(int eventfd) override {
        if (routes_.size() >= limit) return fail(ErrorKind::OutOfRange, "all {} routes are in use", limit);
        return std::make_unique<Route>(*this, eventfd);
    }
    void carry() {
        for (Route* route : routes_) {
            uint64_t count = 0;
            if (route->bound && ::read(route->eventfd, &count, sizeof count) == sizeof count)
                carried.insert(carried.end(), count, *route->bound);
        }
    }
    size_t routes() const { return routes_.size(); }
    size_t bound() const { return static_cast<size_t>(std::ranges::count_if(routes_, [](const Route* r) { return r->bound.has_value(); })); }

    size_t limit = 64;
    bool refuse_to_bind = false;
    std::vector<bus::MsiMessage> sent, carried;

  private:
    struct Route final : bus::MsiRoute {
        Route(RoutingMsi& sink, int fd) : owner(sink), eventfd(fd) { owner.routes_.push_back(this); }
        ~Route() override { std::erase(owner.routes_, this); }
        Result<> bind(const bus::MsiMessage& message) override {
            if (owner.refuse_to_bind) return fail(ErrorKind::Failed, "no");
            bound = message;
            return {};
        }
        void unbind() override {
            owner.carry();
            bound.reset();
        }
        RoutingMsi& owner;
        const int eventfd;
        std::optional<bus::MsiMessage> bound;
    };
    std::vector<Route*> routes_;
};

}  // namespace yado::fakes
