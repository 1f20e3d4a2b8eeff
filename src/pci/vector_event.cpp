#include "pci/vector_event.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include "base/check.h"

namespace yado::pci {

Result<int> VectorEvent::descriptor() {
    if (!fd_) fd_ = Fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!fd_) return fail_errno("event descriptor");
    return fd_.get();
}

Result<> VectorEvent::try_bind(bus::MsiSink& sink, const bus::MsiMessage& message) {
    if (!route_) route_ = YADO_TRY(sink.make_route(YADO_TRY(descriptor())));
    return route_->bind(message);
}

Result<> VectorEvent::bind(bus::MsiSink& sink, const bus::MsiMessage& message) {
    if (refused_ || bound_ == message || !sink.has_routes()) return {};
    auto done = try_bind(sink, message);
    if (done) {
        bound_ = message;
    } else {
        refused_ = true;
        bound_.reset();
        route_.reset();
    }
    return done;
}

void VectorEvent::unbind() {
    if (!bound_) return;
    route_->unbind();
    bound_.reset();
}

void VectorEvent::release() {
    unbind();
    route_.reset();
    refused_ = false;
    take();
}

bool VectorEvent::take() {
    uint64_t count = 0;
    return fd_ && !bound_ && ::read(fd_.get(), &count, sizeof count) == sizeof count;
}

void VectorEvent::signal() {
    YADO_CHECK(bound_.has_value());
    const uint64_t one = 1;
    // Fails only where 2^64 - 2 events wait already, and then one more changes nothing.
    [[maybe_unused]] const ssize_t n = ::write(fd_.get(), &one, sizeof one);
}

}  // namespace yado::pci
