#include "virtio/console/console.h"

#include <algorithm>

#include "virtio/virtio.pb.h"

namespace yado::virtio {

namespace {
struct ConsoleConfig {  // 5.3.4
    uint16_t cols, rows;
    uint32_t max_nr_ports, emerg_wr;
};
static_assert(sizeof(ConsoleConfig) == 12);
}  // namespace

uint64_t Console::read_config(uint32_t offset, unsigned size) {
    const Size now = *size_.lock();
    return read_field(ConsoleConfig{now.columns, now.rows, 1, 0}, offset, size);
}

void Console::resize(Size size) {
    *size_.lock() = size;
    config_changed();
}

void Console::start(Session& session) {
    memory_ = &session.memory();
    receive_ = session.queue(0);
    if (receive_) receive_->on_kick([this] { take_kick(); });
    if (VirtQueue* transmit = session.queue(1)) io::spawn(serve(*transmit, *this));
}

io::Task<Result<uint32_t>> Console::handle(Chain& chain) {
    // Copied first: the back end must not read memory that the guest is changing.
    std::array<std::byte, 4096> buffer;
    ChainCursor cursor(*memory_, chain.readable());
    while (const size_t n = cursor.read(buffer)) backend_.output(std::span(buffer).first(n));
    co_return 0u;
}

size_t Console::input(std::span<const std::byte> bytes) {
    const size_t offered = bytes.size();
    while (!bytes.empty() && input_.size() < kInputLimit) {
        const size_t n = std::min(bytes.size(), kInputLimit - input_.size());
        input_.append(reinterpret_cast<const char*>(bytes.data()), n);
        bytes = bytes.subspan(n);
        push_input();
    }
    starved_ = !bytes.empty();
    return offered - bytes.size();
}

void Console::take_kick() {
    push_input();
    if (input_.empty() && std::exchange(starved_, false)) backend_.room();
}

void Console::push_input() {
    while (receive_ && !input_.empty()) {
        std::optional<Chain> chain = receive_->pop();
        if (!chain) return;
        const size_t n = ChainCursor(*memory_, chain->writable()).write(std::as_bytes(std::span(input_)));
        input_.erase(0, n);
        if (n == 0) return receive_->fail_queue(Error(ErrorKind::Corrupt, "a receive buffer that cannot be written"));
        receive_->complete(std::move(*chain), static_cast<uint32_t>(n));
    }
}

std::string Console::save() const {
    pb::Console m;
    const Size now = *size_.lock();
    m.set_columns(now.columns);
    m.set_rows(now.rows);
    m.set_input(input_);
    return m.SerializeAsString();
}

Result<> Console::load(const std::string& state) {
    pb::Console m;
    if (!m.ParseFromString(state) || m.columns() > 0xffff || m.rows() > 0xffff || m.input().size() > kInputLimit)
        return fail(ErrorKind::Corrupt, "saved state of {}: out of range", id_);
    *size_.lock() = {static_cast<uint16_t>(m.columns()), static_cast<uint16_t>(m.rows())};
    input_ = m.input();
    return {};
}

}  // namespace yado::virtio
