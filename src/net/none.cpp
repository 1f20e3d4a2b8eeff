#include "net/none.h"

namespace yado::net {
namespace {

class None final : public link::PacketBackend {
  public:
    void send(std::span<const std::byte>) override { ++counters_.send_drops; }
    void attach(link::FrameSink*) override {}
    void ready() override {}
    Counters counters() const override { return counters_; }
    std::string describe() const override { return "none"; }

  private:
    Counters counters_;
};

}  // namespace

std::unique_ptr<link::PacketBackend> make_none() { return std::make_unique<None>(); }

}  // namespace yado::net
