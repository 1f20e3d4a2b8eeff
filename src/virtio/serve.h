// The loop that every request queue runs. A device supplies `Task<Result<uint32_t>> handle(Chain&)`: bytes written, or
// an error when the request breaks the device's rules (the device then needs a reset).
#pragma once

#include "io/task.h"
#include "virtio/queue/virt_queue.h"

namespace yado::virtio {

namespace detail {
template <typename Device>
io::Task<> answer(VirtQueue& queue, Device& device, Chain chain) {
    const Result<uint32_t> written = co_await device.handle(chain);
    if (written) {
        queue.complete(std::move(chain), *written);
    } else {
        queue.fail_queue(written.error());
    }
}
}  // namespace detail

/// Takes requests until the queue stops; many are in flight at once and complete in any order. Every chain holds a pass
/// of the session's gate, so the session waits for them.
template <typename Device>
io::Task<> serve(VirtQueue& queue, Device& device) {
    while (true) {
        Result<Chain> chain = co_await queue.next();
        if (!chain) co_return;
        io::spawn(detail::answer(queue, device, std::move(*chain)));
    }
}

}  // namespace yado::virtio
