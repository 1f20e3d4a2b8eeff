// One connection without its socket: bytes in, bytes out, acknowledgments between them.
// Thread: the port's executor.
#pragma once

#include "gdb/packet.h"
#include "gdb/stub.h"

namespace yado::gdb {

class Conversation {
  public:
    /// Beyond this much that the peer has not taken, what it sends waits.
    static constexpr size_t kMaxUnsent = 64 * 1024;

    /// `spoke` is called when output() grew on its own: a stop.
    Conversation(vm::DebugPort& port, std::function<void()> spoke);

    /// What the peer sent. Its first packet stops the guest: a connection that says nothing proper does not.
    void receive(std::string_view bytes);
    /// True if more may be received.
    bool listens() const { return !over_ && output_.size() < kMaxUnsent && reader_.buffered() < 2 * kMaxPayload; }
    /// To be sent; take away what was, then call go_on().
    std::string& output() { return output_; }
    void go_on();
    /// Hang up, once output() is empty.
    bool over() const { return over_ || stub_.over(); }

  private:
    void handle(Item item);
    void answer(std::string_view payload);
    void send(std::string_view payload);
    void acknowledge(char sign);

    PacketReader reader_;
    std::string output_, last_sent_;
    bool begun_ = false, over_ = false, receiving_ = false;
    std::function<void()> spoke_;
    Stub stub_;
};

}  // namespace yado::gdb
