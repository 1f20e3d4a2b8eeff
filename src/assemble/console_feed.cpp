#include "assemble/console_feed.h"

#include "io/call_on.h"

namespace yado::assemble {

ConsoleFeed::~ConsoleFeed() { disconnect(); }

void ConsoleFeed::connect(Input input) {
    io::call_on(executor_, [&] { input_ = std::move(input); });
    hub_.set_input_ready([this] { wake(); });
    hub_.set_resized([this](uint16_t columns, uint16_t rows) { executor_.post([=, this] { resize(columns, rows); }); });
    wake();
}

void ConsoleFeed::disconnect() {
    hub_.set_input_ready(nullptr);
    hub_.set_resized(nullptr);
    io::call_on(executor_, [this] { input_ = {}; });  // after what was posted before: nothing of ours is left
}

void ConsoleFeed::wake() {
    executor_.post([this] { pump(); });
}

void ConsoleFeed::resize(uint16_t columns, uint16_t rows) {
    if (input_.resize) input_.resize(columns, rows);
}

void ConsoleFeed::pump() {
    std::byte chunk[256];
    while (input_.take) {
        if (waiting_.empty()) waiting_.assign(chunk, chunk + hub_.take_input(chunk));
        if (waiting_.empty()) return;
        const size_t taken = input_.take(waiting_);
        waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<long>(taken));
        if (!waiting_.empty()) return;  // the device says when it takes more
    }
}

}  // namespace yado::assemble
