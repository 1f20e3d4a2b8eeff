#include "storage/nbd/connection.h"

#include <algorithm>
#include <array>
#include <limits>
#include <vector>

#include "base/log.h"
#include "storage/nbd/message.h"

namespace yado::storage::nbd {

using block::Extent;
using io::or_return;

namespace {

/// After so many requests others have their turn: a client that never pauses must not have the thread for itself.
constexpr unsigned kTurn = 32;

struct Yield {
    io::Executor& executor;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> h) {
        executor.post([h] { h.resume(); });
    }
    void await_resume() const noexcept {}
};

iovec piece_of(std::span<const std::byte> bytes) { return {const_cast<std::byte*>(bytes.data()), bytes.size()}; }

void add_chunk_header(BytesOut& out, Chunk type, uint64_t cookie, size_t length) {
    out.add(NBD_STRUCTURED_REPLY_MAGIC).add(NBD_REPLY_FLAG_DONE).add(type).add(cookie).add(static_cast<uint32_t>(length));
}

/// As many descriptors as one answer holds, neighbours of a kind in one.
class Extents {
  public:
    explicit Extents(size_t most) : most_(most) {}
    bool full() const { return list_.size() >= most_; }
    /// False: the list is full.
    bool add(const Extent& extent) {
        const uint32_t state = extent.kind == Extent::Kind::Data ? 0 : NBD_STATE_HOLE | NBD_STATE_ZERO;
        const auto length = static_cast<uint32_t>(extent.length.value());
        if (!list_.empty() && list_.back().state == state) list_.back().length += length;  // within the request's 32 bits
        else if (full()) return false;
        else list_.push_back({length, state});
        return true;
    }
    BytesOut message() const {
        BytesOut out;
        out.add(kBaseAllocationId);
        for (const Entry& e : list_) out.add(e.length).add(e.state);
        return out;
    }

  private:
    struct Entry {
        uint32_t length, state;
    };
    const size_t most_;
    std::vector<Entry> list_;
};

}  // namespace

const std::array<Connection::Kind, 6> Connection::kKinds = {
    {{Command::READ, NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_DF, true, false, &Connection::read},
     {Command::WRITE, NBD_CMD_FLAG_FUA, true, true, &Connection::write},
     {Command::FLUSH, NBD_CMD_FLAG_FUA, false, false, &Connection::flush},
     {Command::TRIM, NBD_CMD_FLAG_FUA, true, true, &Connection::trim},
     {Command::WRITE_ZEROES, NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_NO_HOLE, true, true, &Connection::write_zeroes},
     {Command::BLOCK_STATUS, NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_REQ_ONE, true, false, &Connection::block_status}}};

const Connection::Kind* Connection::find_kind(uint16_t type) {
    const auto found = std::ranges::find(kKinds, type, [](const Kind& k) { return std::to_underlying(k.command); });
    return found == kKinds.end() ? nullptr : &*found;
}

Connection::Connection(io::Executor& executor, std::unique_ptr<Stream> stream, const Served& served)
    : executor_(executor), stream_(std::move(stream)), served_(served) {}

Result<std::unique_ptr<Connection>> Connection::create(io::Executor& executor, Fd socket, const Served& served) {
    auto stream = YADO_TRY(Stream::adopt(executor, std::move(socket)));
    return std::unique_ptr<Connection>(new Connection(executor, std::move(stream), served));
}

io::Task<> Connection::serve() {
    const auto ended = co_await converse();
    if (!ended && ended.error().kind() != ErrorKind::Unreachable)
        YADO_LOG_LIMITED(Warning, "nbd: a client is cut off: {}", ended.error().message());
    if (!ended) stream_->cut();
    co_await gate_.close();
    stream_->cut();
}

io::Task<Result<>> Connection::converse() {
    const auto patience = executor_.make_timer([this] { stream_->cut(); });
    patience->arm(executor_.clock().now() + kHandshakePatience);
    agreement_ = co_await or_return(co_await shake_hands(*stream_, served_.offered));
    patience->cancel();
    while (co_await or_return(co_await next_request())) {
        if (++since_yield_ % kTurn == 0) co_await Yield{executor_};
    }
    patience->arm(executor_.clock().now() + kHandshakePatience);  // it has said goodbye: what it does not take now is lost
    if (in_flight_ > 0) co_await room_for(kMaxMemory + 1);
    co_return Result<>{};
}

/// False: the client has said goodbye.
io::Task<Result<bool>> Connection::next_request() {
    std::array<std::byte, kRequestBytes> bytes;
    co_await or_return(co_await stream_->read(bytes));
    const std::byte* const at = bytes.data();
    if (load_be<uint32_t>(at) != NBD_REQUEST_MAGIC) co_return fail(ErrorKind::Corrupt, "a request without its magic");
    const Request request{.flags = load_be<uint16_t>(at + 4), .type = load_be<uint16_t>(at + 6), .cookie = load_be<uint64_t>(at + 8),
                          .offset = load_be<uint64_t>(at + 16), .length = load_be<uint32_t>(at + 24)};
    if (request.type == std::to_underlying(Command::DISC)) co_return false;
    if (const Kind* const kind = find_kind(request.type)) {
        co_await or_return(co_await start(*kind, request));
    } else {
        Outcome unknown{ErrorNumber::INVAL, "unknown command"};
        co_await or_return(co_await refuse(request, std::move(unknown)));
    }
    co_return true;
}

Connection::Outcome Connection::judge(const Kind& kind, const Request& request) const {
    const uint64_t size = served_.offered.size.value();
    if (request.flags & ~kind.flags) return {ErrorNumber::INVAL, "unknown flags"};
    if (kind.writes && served_.offered.readonly) return {ErrorNumber::PERM, "read-only"};
    if (kind.command == Command::BLOCK_STATUS && !agreement_.block_status) return {ErrorNumber::INVAL, "no context was chosen"};
    if (!kind.ranged) return {};
    if (request.length == 0 || request.length % kBlockBytes || request.offset % kBlockBytes) return {ErrorNumber::INVAL, "not whole sectors"};
    if (request.offset > size || request.length > size - request.offset)
        return {kind.writes ? ErrorNumber::NOSPC : ErrorNumber::INVAL, "beyond the end"};
    if (kind.command == Command::READ && request.length > kMaxPayload) return {ErrorNumber::INVAL, "too long"};
    return {};
}

/// Waits for room, takes the payload in, and lets the request go its way.
io::Task<Result<>> Connection::start(const Kind& kind, Request request) {
    const bool payload = kind.command == Command::WRITE;
    if (payload && request.length > kMaxPayload) co_return fail(ErrorKind::Corrupt, "a write of {} bytes", request.length);
    Outcome verdict = judge(kind, request);
    if (verdict.number != ErrorNumber::OK) {
        if (payload) co_await or_return(co_await stream_->skip(request.length));
        co_return co_await refuse(request, std::move(verdict));
    }
    const uint64_t bytes = payload || kind.command == Command::READ ? request.length : 0;
    co_await room_for(bytes);
    const auto pass = std::make_shared<io::Gate::Pass>(co_await or_return(gate_.enter()));
    Buffer buffer = payload ? std::make_unique_for_overwrite<std::byte[]>(bytes) : nullptr;
    if (payload) co_await or_return(co_await stream_->read({buffer.get(), request.length}));
    ++in_flight_;
    memory_ += bytes;
    io::spawn((this->*kind.handler)(request, std::move(buffer)), [this, pass, bytes] { leave(bytes); });
    co_return Result<>{};
}

/// In its place among the others: a client that asks for nonsense without end, and reads no answers, is held up like any other.
io::Task<Result<>> Connection::refuse(Request request, Outcome outcome) {
    co_await answer_failed(request, std::move(outcome));
    co_return Result<>{};
}

io::Task<> Connection::room_for(uint64_t bytes) {
    while (in_flight_ > 0 && (in_flight_ >= kMaxInFlight || memory_ + bytes > kMaxMemory)) {
        io::Completion<bool> freed;
        room_ = &freed;
        co_await freed;
    }
}

void Connection::leave(uint64_t bytes) {
    --in_flight_;
    memory_ -= bytes;
    if (room_) std::exchange(room_, nullptr)->complete(true);
}

io::Task<> Connection::read(Request request, Buffer) {
    const auto buffer = std::make_unique_for_overwrite<std::byte[]>(request.length);
    const iovec into{buffer.get(), request.length};
    const auto done = co_await served_.image().readv(Bytes(request.offset), {&into, 1});
    if (!done) co_return co_await answer(request, done);
    BytesOut head;
    if (agreement_.structured_replies) {
        add_chunk_header(head, Chunk::OFFSET_DATA, request.cookie, size_t{request.length} + sizeof request.offset);
        head.add(request.offset);
    } else {
        head.add(NBD_SIMPLE_REPLY_MAGIC).add(ErrorNumber::OK).add(request.cookie);
    }
    const std::array pieces{piece_of(head.bytes()), into};
    co_await send(pieces);
}

io::Task<> Connection::write(Request request, Buffer payload) {
    const iovec from{payload.get(), request.length};
    const auto done = co_await served_.image().writev(Bytes(request.offset), {&from, 1});
    const auto ended = co_await then_flush(request, done);
    co_await answer(request, ended);
}

io::Task<> Connection::flush(Request request, Buffer) {
    const auto done = co_await served_.image().flush();
    co_await answer(request, done);
}

io::Task<> Connection::trim(Request request, Buffer) {
    const auto done = co_await served_.image().discard(Bytes(request.offset), Bytes(request.length));
    const auto ended = co_await then_flush(request, done);
    co_await answer(request, ended);
}

io::Task<> Connection::write_zeroes(Request request, Buffer) {
    const bool unmap = !(request.flags & NBD_CMD_FLAG_NO_HOLE);
    const auto done = co_await served_.image().write_zeroes(Bytes(request.offset), Bytes(request.length), unmap);
    const auto ended = co_await then_flush(request, done);
    co_await answer(request, ended);
}

io::Task<Result<>> Connection::then_flush(const Request& request, Result<> done) {
    if (!done || !(request.flags & NBD_CMD_FLAG_FUA)) co_return done;
    co_return co_await served_.image().flush();
}

io::Task<> Connection::block_status(Request request, Buffer) {
    Extents extents(request.flags & NBD_CMD_FLAG_REQ_ONE ? 1 : kMaxExtents);
    for (uint64_t done = 0; done < request.length;) {
        const auto extent = co_await map_through(served_.layers, Bytes(request.offset + done), Bytes(request.length - done));
        if (!extent) {
            const Result<> failed = std::unexpected(extent.error());
            co_return co_await answer(request, failed);
        }
        if (!extents.add(*extent)) break;
        done += extent->length.value();
    }
    const BytesOut list = extents.message();
    BytesOut head;
    add_chunk_header(head, Chunk::BLOCK_STATUS, request.cookie, list.bytes().size());
    const std::array pieces{piece_of(head.bytes()), piece_of(list.bytes())};
    co_await send(pieces);
}

io::Task<> Connection::answer(Request request, Result<> done) {
    if (!done) {
        YADO_LOG_LIMITED(Warning, "nbd: {}", done.error().message());
        Outcome outcome{done.error().kind() == ErrorKind::Denied ? ErrorNumber::PERM : ErrorNumber::IO, done.error().message()};
        co_return co_await answer_failed(request, std::move(outcome));
    }
    BytesOut head;
    head.add(NBD_SIMPLE_REPLY_MAGIC).add(ErrorNumber::OK).add(request.cookie);
    const iovec piece = piece_of(head.bytes());
    co_await send({&piece, 1});
}

io::Task<> Connection::answer_failed(Request request, Outcome outcome) {
    BytesOut head;
    if (agreement_.structured_replies) {
        outcome.why.resize(std::min<size_t>(outcome.why.size(), kMaxString));
        add_chunk_header(head, Chunk::ERROR, request.cookie, 6 + outcome.why.size());
        head.add(outcome.number).add(static_cast<uint16_t>(outcome.why.size())).add_text(outcome.why);
    } else {
        head.add(NBD_SIMPLE_REPLY_MAGIC).add(outcome.number).add(request.cookie);
    }
    const iovec piece = piece_of(head.bytes());
    co_await send({&piece, 1});
}

/// A client that is gone needs no answer; the reading side finds that out.
io::Task<> Connection::send(std::span<const iovec> pieces) {
    const RangeLock::Range all{0, 1};
    const RangeLock::Held held = co_await writing_.take(all);
    const auto sent = co_await stream_->write(pieces);
    if (!sent) stream_->cut();
}

}  // namespace yado::storage::nbd
