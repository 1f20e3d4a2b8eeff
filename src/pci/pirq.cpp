#include "pci/pirq.h"

namespace yado::pci {

void PirqRouter::change(unsigned pirq, bool asserted) {
    auto s = routes_.lock();
    uint16_t& count = s->asserters[pirq % kPirqs];
    if (asserted) {
        ++count;
    } else if (count > 0) {
        --count;
    }
    drive(*s, pirq % kPirqs);
}

void PirqRouter::set_route(unsigned pirq, uint8_t rout) {
    auto s = routes_.lock();
    const uint8_t old = s->route[pirq % kPirqs];
    s->route[pirq % kPirqs] = rout;
    if (old == rout) return;
    drive_isa(*s, old);
    drive_isa(*s, rout);
}

void PirqRouter::drive(State& s, unsigned pirq) {
    if (wiring_.gsi[pirq]) wiring_.gsi[pirq]->set(s.asserters[pirq] > 0);
    drive_isa(s, s.route[pirq]);
}

void PirqRouter::drive_isa(State& s, uint8_t rout) {
    if (rout & kRouteDisabled || !wiring_.isa[rout & 15]) return;
    bool level = false;
    for (unsigned p = 0; p < kPirqs; ++p) level |= s.route[p] == rout && s.asserters[p] > 0;
    wiring_.isa[rout & 15]->set(level);
}

}  // namespace yado::pci
