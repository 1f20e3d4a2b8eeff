// Messages into an engine that has the local APICs: what the bus calls a sink and a route, and the engine calls its own.
#pragma once

#include "bus/irq.h"
#include "cpu/vcpu.h"

namespace yado::assemble {

class EngineMessages final : public bus::MsiSink {
  public:
    explicit EngineMessages(cpu::Engine& engine) : engine_(engine) {}
    void send(const bus::MsiMessage& m) override { engine_.send_msi(m.address, m.data); }
    bool has_routes() const override { return engine_.has_message_routes(); }
    Result<std::unique_ptr<bus::MsiRoute>> make_route(int eventfd) override {
        return std::make_unique<Route>(YADO_TRY(engine_.make_message_route(eventfd)));
    }

  private:
    class Route final : public bus::MsiRoute {
      public:
        explicit Route(std::unique_ptr<cpu::MessageRoute> route) : route_(std::move(route)) {}
        Result<> bind(const bus::MsiMessage& m) override { return route_->bind({m.address, m.data}); }
        void unbind() override { route_->unbind(); }

      private:
        std::unique_ptr<cpu::MessageRoute> route_;
    };

    cpu::Engine& engine_;
};

}  // namespace yado::assemble
