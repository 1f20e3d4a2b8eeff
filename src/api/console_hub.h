// The guest's console between its device and those who watch and type. Any thread; nothing here blocks.
//
//   UART/virtio-console --output()--> ring of the last kHistory bytes --read(cursor)--> watchers (many)
//   UART <--take_input()-- queue of kInputRoom bytes <--Typist::write()-- the one typist
//
// A watcher that falls more than kHistory bytes behind loses the oldest and is told how many.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/guarded.h"

namespace yado::api {

class ConsoleHub {
  public:
    static constexpr size_t kHistory = 256 * 1024;
    static constexpr size_t kInputRoom = 4096;

    ConsoleHub() = default;
    ConsoleHub(const ConsoleHub&) = delete;

    // The device's side.

    /// What the guest printed.
    void output(std::span<const std::byte> bytes);
    /// Takes up to out.size() typed bytes; how many.
    size_t take_input(std::span<std::byte> out);
    /// `ready` is called (on the typist's thread, no lock held) whenever input arrives. nullptr: nobody.
    void set_input_ready(std::function<void()> ready);
    /// `resized` hears of the terminal's size (columns, rows).
    void set_resized(std::function<void(uint16_t, uint16_t)> resized);
    /// No more output will come: watchers see the end after what is left.
    void close();

    // The watchers' side.

    struct Chunk {
        std::string bytes;   ///< what came after the cursor, at most `limit`
        uint64_t next = 0;   ///< the cursor after it
        uint64_t lost = 0;   ///< bytes between the cursor and the first one here
        bool end = false;    ///< closed and nothing left
    };
    /// Cursor 0 is the first byte ever printed.
    Chunk read(uint64_t cursor, size_t limit = 32 * 1024) const;
    uint64_t end_cursor() const;

    /// Calls `more` after output and close() until destroyed. `more` is quick, non-blocking and does not call the hub.
    class Watch {
      public:
        Watch() = default;
        Watch(Watch&& o) noexcept;
        Watch& operator=(Watch&& o) noexcept;
        ~Watch();

      private:
        friend class ConsoleHub;
        ConsoleHub* hub_ = nullptr;
        uint64_t key_ = 0;
    };
    [[nodiscard]] Watch watch(std::function<void()> more);

    // The typist's side.

    /// The right to type; given back when destroyed. The hub outlives it.
    class Typist {
      public:
        Typist() = default;
        Typist(Typist&& o) noexcept;
        Typist& operator=(Typist&& o) noexcept;
        ~Typist();
        /// How many bytes were taken: fewer than given when the guest does not read; try again later.
        size_t write(std::string_view bytes);

      private:
        friend class ConsoleHub;
        ConsoleHub* hub_ = nullptr;
    };
    /// Tells the device of the terminal's size.
    void resize(uint16_t columns, uint16_t rows);
    /// Errors: Conflict when somebody types already.
    Result<Typist> type();

  private:
    struct State {
        std::string ring;      ///< grows to kHistory, then position p is at p % kHistory
        uint64_t printed = 0;  ///< bytes ever printed
        bool closed = false;
        std::string input;
        bool typing = false;
        std::shared_ptr<std::function<void()>> input_ready;
        std::shared_ptr<std::function<void(uint16_t, uint16_t)>> resized;
        uint64_t next_key = 1;
        std::map<uint64_t, std::function<void()>> watches;
    };
    void append(State& state, std::string_view bytes);
    Guarded<State, LockRank::Sink> state_;
};

}  // namespace yado::api
