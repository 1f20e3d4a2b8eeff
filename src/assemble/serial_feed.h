// Carries the console's bytes between the hub and the serial port. Output: from the vCPU that writes, at once. Input: on
// the I/O executor, as fast as the port takes it.
#pragma once

#include <future>
#include <vector>

#include "api/console_hub.h"
#include "io/executor.h"
#include "machine/legacy/uart16550.h"

namespace yado::assemble {

class SerialFeed final : public machine::ByteSink {
  public:
    SerialFeed(api::ConsoleHub& hub, io::Executor& executor) : hub_(hub), executor_(executor) {}

    void put(std::byte byte) override { hub_.output({&byte, 1}); }
    /// The port takes input, or there is input: moves what can be moved. Any thread.
    void wake() {
        executor_.post([this] { pump(); });
    }
    /// From now on input goes to `port`. Before the executor's first pump.
    void connect(machine::Uart16550& port) { port_ = &port; }
    /// Input goes nowhere any more: the port may go once this returned. Not on the executor.
    void disconnect() {
        std::promise<void> done;
        executor_.post([&] {
            port_ = nullptr;
            done.set_value();
        });
        done.get_future().wait();
    }

  private:
    void pump() {
        while (port_) {
            if (waiting_.empty()) {
                std::byte chunk[64];
                waiting_.assign(chunk, chunk + hub_.take_input(chunk));
                if (waiting_.empty()) return;
            }
            const size_t taken = port_->receive(waiting_);
            waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<long>(taken));
            if (!waiting_.empty()) return;  // rx_room wakes us
        }
    }

    api::ConsoleHub& hub_;
    io::Executor& executor_;
    machine::Uart16550* port_ = nullptr;  // executor's thread, once it pumps
    std::vector<std::byte> waiting_;
};

}  // namespace yado::assemble
