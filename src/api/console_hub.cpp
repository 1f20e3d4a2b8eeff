#include "api/console_hub.h"

#include <algorithm>
#include <cstring>

namespace yado::api {

void ConsoleHub::append(State& state, std::string_view bytes) {
    if (bytes.size() > kHistory) {
        state.printed += bytes.size() - kHistory;
        bytes.remove_prefix(bytes.size() - kHistory);
    }
    while (!bytes.empty()) {
        const size_t at = state.printed % kHistory;
        const size_t piece = std::min(bytes.size(), kHistory - at);
        if (state.ring.size() < at + piece) state.ring.resize(at + piece);
        std::memcpy(state.ring.data() + at, bytes.data(), piece);
        state.printed += piece;
        bytes.remove_prefix(piece);
    }
}

void ConsoleHub::output(std::span<const std::byte> bytes) {
    auto state = state_.lock();
    append(*state, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    for (const auto& [key, more] : state->watches) more();
}

void ConsoleHub::close() {
    auto state = state_.lock();
    state->closed = true;
    for (const auto& [key, more] : state->watches) more();
}

ConsoleHub::Chunk ConsoleHub::read(uint64_t cursor, size_t limit) const {
    auto state = state_.lock();
    Chunk chunk;
    const uint64_t oldest = state->printed - std::min<uint64_t>(state->printed, kHistory);
    const uint64_t from = std::clamp(cursor, oldest, state->printed);
    chunk.lost = cursor < from ? from - cursor : 0;
    const size_t count = std::min<uint64_t>(limit, state->printed - from);
    const size_t at = from % kHistory;
    const size_t first = std::min(count, kHistory - at);
    chunk.bytes.assign(state->ring, std::min(at, state->ring.size()), first);
    chunk.bytes.append(state->ring, 0, count - first);
    chunk.next = from + count;
    chunk.end = state->closed && chunk.next == state->printed;
    return chunk;
}

uint64_t ConsoleHub::end_cursor() const { return state_.lock()->printed; }

size_t ConsoleHub::take_input(std::span<std::byte> out) {
    auto state = state_.lock();
    const size_t count = std::min(out.size(), state->input.size());
    std::memcpy(out.data(), state->input.data(), count);
    state->input.erase(0, count);
    return count;
}

void ConsoleHub::set_input_ready(std::function<void()> ready) {
    auto shared = ready ? std::make_shared<std::function<void()>>(std::move(ready)) : nullptr;
    state_.lock()->input_ready.swap(shared);
}

void ConsoleHub::set_resized(std::function<void(uint16_t, uint16_t)> resized) {
    auto shared = resized ? std::make_shared<std::function<void(uint16_t, uint16_t)>>(std::move(resized)) : nullptr;
    state_.lock()->resized.swap(shared);
}

ConsoleHub::Watch ConsoleHub::watch(std::function<void()> more) {
    auto state = state_.lock();
    Watch watch;
    watch.hub_ = this;
    watch.key_ = state->next_key++;
    state->watches.emplace(watch.key_, std::move(more));
    return watch;
}

Result<ConsoleHub::Typist> ConsoleHub::type() {
    auto state = state_.lock();
    if (state->typing) return fail(ErrorKind::Conflict, "somebody else types on this console; watch it, or wait until they leave");
    state->typing = true;
    Typist typist;
    typist.hub_ = this;
    return typist;
}

size_t ConsoleHub::Typist::write(std::string_view bytes) {
    std::shared_ptr<std::function<void()>> ready;
    size_t count = 0;
    {
        auto state = hub_->state_.lock();
        count = std::min(bytes.size(), kInputRoom - state->input.size());
        state->input.append(bytes.substr(0, count));
        if (count > 0) ready = state->input_ready;
    }
    if (ready) (*ready)();
    return count;
}

void ConsoleHub::resize(uint16_t columns, uint16_t rows) {
    const auto resized = state_.lock()->resized;
    if (resized) (*resized)(columns, rows);
}

ConsoleHub::Typist::Typist(Typist&& o) noexcept : hub_(std::exchange(o.hub_, nullptr)) {}
ConsoleHub::Typist& ConsoleHub::Typist::operator=(Typist&& o) noexcept {
    std::swap(hub_, o.hub_);
    return *this;
}
ConsoleHub::Typist::~Typist() {
    if (hub_) hub_->state_.lock()->typing = false;
}

ConsoleHub::Watch::Watch(Watch&& o) noexcept : hub_(std::exchange(o.hub_, nullptr)), key_(o.key_) {}
ConsoleHub::Watch& ConsoleHub::Watch::operator=(Watch&& o) noexcept {
    std::swap(hub_, o.hub_);
    std::swap(key_, o.key_);
    return *this;
}
ConsoleHub::Watch::~Watch() {
    if (hub_) hub_->state_.lock()->watches.erase(key_);
}

}  // namespace yado::api
