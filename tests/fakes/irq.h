// Interrupt inputs that remember what happened to them.
#pragma once

#include <mutex>
#include <vector>

#include "bus/irq.h"

namespace yado::fakes {

class RecordingLine final : public bus::IrqLine {
  public:
    void set(bool asserted) override {
        if (asserted && !level) ++edges;
        level = asserted;
    }
    bool level = false;
    unsigned edges = 0;
};

class RecordingMsi final : public bus::MsiSink {
  public:
    void send(const bus::MsiMessage& message) override {
        const std::lock_guard lock(mutex_);
        sent.push_back(message);
    }
    std::vector<bus::MsiMessage> sent;

  private:
    std::mutex mutex_;
};

}  // namespace yado::fakes
