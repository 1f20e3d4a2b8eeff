// A network of one: remembers what was sent, delivers what a test hands it, keeps what found no room.
#pragma once

#include <deque>
#include <vector>

#include "link/packet_port.h"

namespace yado::fakes {

class LoopbackNet final : public link::PacketBackend {
  public:
    using Frame = std::vector<std::byte>;
    void send(std::span<const std::byte> frame) override { sent.emplace_back(frame.begin(), frame.end()); }
    void attach(link::FrameSink* s) override { sink = s; }
    void ready() override {
        ++readies;
        while (!kept.empty() && sink && sink->deliver(kept.front())) kept.pop_front();
    }
    Counters counters() const override { return {sent.size(), 0, 0, 0}; }
    std::string describe() const override { return "loopback"; }

    void arrive(Frame frame) {
        if (!sink || !sink->deliver(frame)) kept.push_back(std::move(frame));
    }
    std::vector<Frame> sent;
    std::deque<Frame> kept;
    link::FrameSink* sink = nullptr;
    unsigned readies = 0;
};

}  // namespace yado::fakes
