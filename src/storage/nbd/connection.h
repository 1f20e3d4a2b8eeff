// One client of the server. A coroutine reads its requests one after the other; each is then done on its own, so that many are
// in flight, and answered in the order in which they end.
//
//     serve(): handshake --> request --> room for it? --> (payload) --> handle() --> answer
//                              ^------------------------------'  reading waits while kMaxInFlight or kMaxMemory are reached
//
// Executor's thread only.
#pragma once

#include <chrono>
#include <memory>
#include <span>
#include <string>

#include "io/gate.h"
#include "storage/chain/chain.h"
#include "storage/nbd/handshake.h"
#include "storage/nbd/spec.h"
#include "storage/range_lock.h"

namespace yado::storage::nbd {

/// What a connection may hold at a time: requests, and bytes of their data.
inline constexpr unsigned kMaxInFlight = 64;
inline constexpr uint64_t kMaxMemory = kMaxPayload;
/// Extents in one answer to BLOCK_STATUS.
inline constexpr size_t kMaxExtents = 1024;
/// For the handshake.
inline constexpr std::chrono::seconds kHandshakePatience{30};

/// What is served: the image, the first of `layers`.
struct Served {
    Export offered;
    std::span<const Layer> layers;
    block::DiskImage& image() const { return *layers[0].image; }
};

class Connection {
  public:
    static Result<std::unique_ptr<Connection>> create(io::Executor& executor, Fd socket, const Served& served);

    /// Until the client has left, or broke the protocol (which is logged), and nothing of it is in flight.
    io::Task<> serve();
    /// serve() ends soon.
    void cut() { stream_->cut(); }

  private:
    using Buffer = std::unique_ptr<std::byte[]>;
    struct Request {
        uint16_t flags = 0;
        uint16_t type = 0;
        uint64_t cookie = 0;
        uint64_t offset = 0;
        uint32_t length = 0;
    };
    struct Outcome {
        ErrorNumber number = ErrorNumber::OK;
        std::string why;
    };
    using Handler = io::Task<> (Connection::*)(Request request, Buffer payload);
    struct Kind {
        Command command;
        uint16_t flags;  ///< those that it may have
        bool ranged;     ///< offset and length matter
        bool writes;
        Handler handler;
    };
    static const Kind* find_kind(uint16_t type);
    static const std::array<Kind, 6> kKinds;

    Connection(io::Executor& executor, std::unique_ptr<Stream> stream, const Served& served);

    io::Task<Result<>> converse();
    io::Task<Result<bool>> next_request();
    io::Task<Result<>> start(const Kind& kind, Request request);
    io::Task<Result<>> refuse(Request request, Outcome outcome);
    io::Task<> room_for(uint64_t bytes);
    void leave(uint64_t bytes);
    Outcome judge(const Kind& kind, const Request& request) const;

    io::Task<> read(Request request, Buffer payload);
    io::Task<> write(Request request, Buffer payload);
    io::Task<> flush(Request request, Buffer payload);
    io::Task<> trim(Request request, Buffer payload);
    io::Task<> write_zeroes(Request request, Buffer payload);
    io::Task<> block_status(Request request, Buffer payload);
    io::Task<Result<>> then_flush(const Request& request, Result<> done);

    io::Task<> answer(Request request, Result<> done);
    io::Task<> answer_failed(Request request, Outcome outcome);
    io::Task<> send(std::span<const iovec> pieces);

    io::Executor& executor_;
    std::unique_ptr<Stream> stream_;
    const Served& served_;
    Agreement agreement_;
    RangeLock writing_;  // {0, 1}: an answer goes out whole
    io::Gate gate_;
    unsigned in_flight_ = 0, since_yield_ = 0;
    uint64_t memory_ = 0;
    io::Completion<bool>* room_ = nullptr;
};

}  // namespace yado::storage::nbd
