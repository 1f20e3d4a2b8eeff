// An attachment that writes down what it is told.
#pragma once

#include <string>

#include "block/attachment.h"

namespace yado::fakes {

/// `tell` says how many requests are kept back; `on_end` is called when those have to end.
struct RecordingAttachment final : block::Attachment {
    void attached(std::function<void(size_t)> resting) override {
        tell = std::move(resting);
        said += "attached ";
    }
    void pausing() override { said += "pausing "; }
    void resumed() override {
        said += "resumed ";
        if (on_end) on_end();
    }
    void detached() override {
        said += "detached ";
        if (on_end) on_end();
        tell = {};
    }
    std::function<void(size_t)> tell;
    std::function<void()> on_end;
    std::string said;
};

}  // namespace yado::fakes
