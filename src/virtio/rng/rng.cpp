#include "virtio/rng/rng.h"

#include <sys/random.h>

#include <algorithm>
#include <array>

namespace yado::virtio {

Result<> system_random(std::span<std::byte> out) {
    while (!out.empty()) {
        const ssize_t n = getrandom(out.data(), out.size(), 0);
        if (n < 0 && errno != EINTR) return fail_errno("getrandom");
        if (n > 0) out = out.subspan(static_cast<size_t>(n));
    }
    return {};
}

void Rng::start(Session& session) {
    memory_ = &session.memory();
    if (VirtQueue* queue = session.queue(0)) io::spawn(serve(*queue, *this));
}

io::Task<Result<uint32_t>> Rng::handle(Chain& chain) {
    if (chain.readable_size() > 0 || chain.writable_size() == 0) co_return fail(ErrorKind::Corrupt, "a request that has nothing to fill");
    ChainCursor cursor(*memory_, chain.writable());
    const size_t wanted = std::min<uint64_t>(chain.writable_size(), kMaxBytes);
    std::array<std::byte, 4096> buffer;
    for (size_t done = 0; done < wanted;) {
        const auto piece = std::span(buffer).first(std::min(buffer.size(), wanted - done));
        co_await io::or_return(source_(piece));
        done += cursor.write(piece);
    }
    co_return static_cast<uint32_t>(wanted);
}

}  // namespace yado::virtio
