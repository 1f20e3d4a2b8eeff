// The console's bytes between the hub and the devices. Output of every device is shown at once, from the thread that
// writes. Input goes to one device, on the I/O executor, as fast as that device takes it:
//
//     typist --> hub --wake()--> pump --Input::take--> device        took less than offered: wake() or room() goes on
#pragma once

#include <functional>
#include <vector>

#include "api/console_hub.h"
#include "io/executor.h"
#include "machine/legacy/byte_sink.h"
#include "virtio/console/console.h"

namespace yado::assemble {

class ConsoleFeed final : public machine::ByteSink, public virtio::ConsoleBackend {
  public:
    /// The device that is typed to. Called on the executor.
    struct Input {
        std::function<size_t(std::span<const std::byte>)> take;               ///< how many bytes were taken
        std::function<void(uint16_t columns, uint16_t rows)> resize = nullptr;  ///< nullptr: has no size
    };

    ConsoleFeed(api::ConsoleHub& hub, io::Executor& executor) : hub_(hub), executor_(executor) {}
    /// disconnect()s. The executor still runs; nobody types, and the devices are gone.
    ~ConsoleFeed() override;

    /// From now on typed bytes go to `input`, those that wait already first. Once.
    void connect(Input input);
    /// Typed bytes go nowhere any more: the device may go once this returned. Again is harmless. Not on the executor.
    void disconnect();
    /// The device takes bytes again, or there are some. Any thread.
    void wake();

    // machine::ByteSink
    void put(std::byte byte) override { hub_.output({&byte, 1}); }
    // virtio::ConsoleBackend
    void output(std::span<const std::byte> bytes) override { hub_.output(bytes); }
    void room() override { pump(); }

  private:
    void pump();
    void resize(uint16_t columns, uint16_t rows);

    api::ConsoleHub& hub_;
    io::Executor& executor_;
    // Executor's thread:
    Input input_;
    std::vector<std::byte> waiting_;  ///< taken from the hub, not yet by the device
};

}  // namespace yado::assemble
