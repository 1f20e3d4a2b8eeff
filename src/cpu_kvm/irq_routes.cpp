#include "cpu_kvm/irq_routes.h"

#include <algorithm>

#include "base/check.h"

namespace yado::cpu_kvm {

class IrqRoutes::DescriptorRoute final : public cpu::MessageRoute {
  public:
    DescriptorRoute(IrqRoutes& routes, Gsi gsi, int eventfd) : routes_(routes), gsi_(gsi), eventfd_(eventfd) {}
    ~DescriptorRoute() override {
        unbind();
        routes_.give_back(gsi_);
    }

    Result<> bind(const cpu::RouteMessage& message) override {
        auto done = routes_.route(gsi_, message);
        if (done && !bound_) done = routes_.kernel_.assign(gsi_, eventfd_);
        if (!done) unbind();
        bound_ = done.has_value();
        return done;
    }
    void unbind() override {
        if (std::exchange(bound_, false)) routes_.kernel_.deassign(gsi_, eventfd_);
    }

  private:
    IrqRoutes& routes_;
    const Gsi gsi_;
    const int eventfd_;
    bool bound_ = false;
};

Result<> IrqRoutes::set_pin(unsigned pin, const cpu::RouteMessage& message) {
    YADO_CHECK(pin < pins_);
    return route(Gsi(pin), message);
}

Result<> IrqRoutes::route(Gsi gsi, const cpu::RouteMessage& message) {
    auto slots = slots_.lock();
    auto& now = (*slots)[std::to_underlying(gsi)].message;
    if (now == message) return {};
    const auto before = std::exchange(now, message);
    std::vector<Route> table;
    for (uint32_t n = 0; n < slots->size(); ++n)
        if ((*slots)[n].message) table.push_back({Gsi(n), *(*slots)[n].message});
    auto done = kernel_.set_table(table);
    if (!done) now = before;
    return done;
}

Result<std::unique_ptr<cpu::MessageRoute>> IrqRoutes::make(int eventfd) {
    auto slots = slots_.lock();
    auto free = std::find_if(slots->begin() + pins_, slots->end(), [](const Slot& s) { return !s.taken; });
    if (free == slots->end()) {
        if (slots->size() >= limit_) return fail(ErrorKind::OutOfRange, "KVM: all {} interrupt routes are in use", limit_ - pins_);
        free = slots->emplace(free);
    }
    free->taken = true;
    return std::make_unique<DescriptorRoute>(*this, Gsi(static_cast<uint32_t>(free - slots->begin())), eventfd);
}

void IrqRoutes::give_back(Gsi gsi) { (*slots_.lock())[std::to_underlying(gsi)] = Slot{}; }

unsigned IrqRoutes::in_use() const {
    auto slots = slots_.lock();
    return static_cast<unsigned>(std::ranges::count(*slots, true, &Slot::taken));
}

}  // namespace yado::cpu_kvm
