#include "gdb/conversation.h"

#include <utility>

namespace yado::gdb {

Conversation::Conversation(vm::DebugPort& port, std::function<void()> spoke)
    : spoke_(std::move(spoke)), stub_(port, [this](std::string_view payload) { send(payload); }) {}

void Conversation::receive(std::string_view bytes) {
    reader_.feed(bytes);
    go_on();
}

void Conversation::go_on() {
    receiving_ = true;
    while (!over() && output_.size() < kMaxUnsent) {
        auto item = reader_.next();
        if (!item) break;
        handle(std::move(*item));
    }
    receiving_ = false;
}

void Conversation::handle(Item item) {
    switch (item.kind) {
    case ItemKind::Packet: return answer(item.payload);
    case ItemKind::BadPacket: return acknowledge('-');
    case ItemKind::Ack: return last_sent_.clear();
    case ItemKind::Nack: output_ += last_sent_; return;
    case ItemKind::Interrupt: return stub_.interrupt();
    case ItemKind::Garbage: over_ = true; return;
    }
}

void Conversation::answer(std::string_view payload) {
    if (!std::exchange(begun_, true) && !stub_.attach()) {
        over_ = true;  // the guest has ended
        return;
    }
    acknowledge('+');
    stub_.packet(payload);
}

void Conversation::acknowledge(char sign) {
    if (stub_.acknowledges()) output_ += sign;
}

void Conversation::send(std::string_view payload) {
    const std::string framed = frame(payload);
    if (stub_.acknowledges()) last_sent_ = framed;
    output_ += framed;
    if (!receiving_) spoke_();
}

}  // namespace yado::gdb
