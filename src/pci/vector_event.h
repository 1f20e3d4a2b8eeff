// The event descriptor of one MSI-X vector: a write to it raises the vector, from any thread, process or driver (vhost, VFIO).
//
//     loose: events stay in the descriptor until take()
//       --bind--> bound: the sink's route sends them --unbind--> loose
//       --bind fails--> refused: loose, and not tried again until release()
//
// Not locked: Msix holds it inside the function's lock.
#pragma once

#include <memory>
#include <optional>

#include "base/fd.h"
#include "bus/irq.h"

namespace yado::pci {

class VectorEvent {
  public:
    /// The descriptor (an eventfd), made by the first call and the same from then on. Errors: Failed (none are left).
    Result<int> descriptor();

    /// Events send `message` from now on. Does nothing where the sink has no routes or refused before. Errors: those of
    /// descriptor(), MsiSink::make_route and MsiRoute::bind, once.
    Result<> bind(bus::MsiSink& sink, const bus::MsiMessage& message);
    void unbind();
    bool bound() const { return bound_.has_value(); }

    /// Unbinds, gives the route back, and forgets events that nobody took.
    void release();

    /// True if events came while loose: they are taken out. False while bound.
    bool take();
    /// One event. Only while bound.
    void signal();

  private:
    Result<> try_bind(bus::MsiSink& sink, const bus::MsiMessage& message);

    Fd fd_;
    std::unique_ptr<bus::MsiRoute> route_;  // goes before the descriptor
    std::optional<bus::MsiMessage> bound_;
    bool refused_ = false;
};

}  // namespace yado::pci
