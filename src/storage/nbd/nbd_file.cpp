#include "storage/nbd/nbd_file.h"

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "base/log.h"
#include "io/gate.h"
#include "storage/file/direct_file.h"
#include "storage/nbd/link.h"
#include "storage/pieces.h"

namespace yado::storage {
namespace {

using block::Extent;
using io::or_return;
using nbd::ExportFacts;
using nbd::Link;

constexpr std::chrono::seconds kConnectPatience{10};
constexpr std::chrono::milliseconds kBetweenAttempts{250};
/// Bytes of data in one request, whatever the server allows.
constexpr uint64_t kMostAtOnce = 8 << 20;
/// Of requests without data: below the 32 bits of the protocol.
constexpr uint64_t kMostRange = 1 << 30;
constexpr uint64_t kZeroBytes = 1 << 20;
/// Connections that one request may see die: then it is likely what they die of.
constexpr unsigned kMostLosses = 5;

/// What the server says of the beginning of a range.
struct Status {
    uint64_t length = 0;
    bool zero = false;
};

/// Under libnbd's lock. Pairs of length and flags, from a server: of neither is anything believed but a minimum.
int take_status(void* user, const char* context, uint64_t, uint32_t* entries, size_t count, int*) {
    auto& status = *static_cast<Status*>(user);
    if (std::string_view(context) != LIBNBD_CONTEXT_BASE_ALLOCATION) return 0;
    for (size_t n = 0; n + 1 < count; n += 2) {
        const bool zero = entries[n + 1] & LIBNBD_STATE_ZERO;
        if (n == 0) status = {0, zero};
        if (zero != status.zero) break;
        status.length += entries[n];
    }
    return 0;
}

class NbdFile final : public ImageFile {
  public:
    NbdFile(io::Executor& executor, const HostFileConfig& config, std::shared_ptr<Link> link)
        : executor_(executor), name_(config.path), facts_(link->facts()), readonly_(config.readonly || facts_.readonly),
          ignore_sync_(config.ignore_sync), reconnect_(config.reconnect), link_(std::move(link)) {}

    const std::string& name() const override { return name_; }
    bool readonly() const override { return readonly_; }
    Bytes size() const override { return facts_.size; }
    const char* carrier() const override { return "nbd"; }

    io::Task<Result<>> readv(Bytes offset, std::span<const iovec> into) override {
        const auto pass = co_await or_return(gate_.enter());
        co_await or_return(check_inside("read", offset, total_of(into)));
        co_return co_await transfer(Way::Read, offset.value(), into);
    }
    io::Task<Result<>> writev(Bytes offset, std::span<const iovec> from) override {
        if (readonly_) co_return denied();
        const auto pass = co_await or_return(gate_.enter());
        co_await or_return(check_inside("write", offset, total_of(from)));
        co_return co_await transfer(Way::Write, offset.value(), from);
    }

    io::Task<Result<>> sync() override {
        const auto pass = co_await or_return(gate_.enter());
        if (readonly_ || ignore_sync_) co_return Result<>{};
        co_return co_await flush();
    }

    io::Task<Result<>> write_zeroes(Bytes offset, Bytes length, ZeroMode mode) override {
        if (readonly_) co_return denied();
        const auto pass = co_await or_return(gate_.enter());
        co_await or_return(check_inside("write zeroes", offset, length.value()));
        if (!facts_.zeroes) co_return co_await write_zero_bytes(offset.value(), length.value());
        const uint32_t flags = mode == ZeroMode::KeepSpace ? LIBNBD_CMD_FLAG_NO_HOLE : 0;
        co_return co_await over_range("write zeroes", offset.value(), length.value(), &nbd_aio_zero, flags);
    }
    // What a server makes of the range is its own affair, by the protocol; all that we know leave it or make zeroes of it.
    io::Task<Result<>> discard(Bytes offset, Bytes length) override {
        if (readonly_) co_return denied();
        const auto pass = co_await or_return(gate_.enter());
        co_await or_return(check_inside("discard", offset, length.value()));
        if (!facts_.trim) co_return Result<>{};
        co_return co_await over_range("discard", offset.value(), length.value(), &nbd_aio_trim, 0);
    }

    io::Task<Result<>> resize(Bytes) override {
        co_return fail(ErrorKind::Failed, "disk {}: the size of a server's export cannot be changed from here; change it at the server", name_);
    }

    io::Task<Result<Extent>> map(Bytes offset, Bytes length) override {
        const auto pass = co_await or_return(gate_.enter());
        Extent all{Extent::Kind::Data, length};
        if (!facts_.block_status) co_return all;
        const uint64_t begin = offset.value() / facts_.block * facts_.block;
        const uint64_t skipped = offset.value() - begin;
        const uint64_t wanted = std::min(round_up(skipped + length.value()), kMostRange);
        Status status;
        nbd_extent_callback take{};
        take.callback = &take_status;
        take.user_data = &status;
        const Link::Issue ask = [&](nbd_handle* h, nbd_completion_callback done) { return nbd_aio_block_status(h, wanted, begin, take, done, 0); };
        co_await or_return(co_await run("block status", ask));
        if (status.length <= skipped) co_return all;
        all.kind = status.zero ? Extent::Kind::Zero : Extent::Kind::Data;
        all.length = std::min(length, Bytes(status.length - skipped));
        co_return all;
    }

    io::Task<Result<>> close() override {
        if (closing_) co_return Result<>{};
        closing_ = true;
        Result<> flushed;
        if (!readonly_ && (lost_ || written_ > flushed_)) flushed = co_await flush();
        co_await gate_.close();
        if (!link_->dead()) link_->disconnect();
        link_.reset();
        co_return flushed;
    }

  private:
    using RangeCommand = int64_t (*)(nbd_handle*, uint64_t, uint64_t, nbd_completion_callback, uint32_t);

    std::unexpected<Error> denied() const { return fail(ErrorKind::Denied, "disk {}: read-only", name_); }
    uint64_t round_up(uint64_t n) const { return (n + facts_.block - 1) / facts_.block * facts_.block; }
    Result<> check_inside(const char* what, Bytes offset, uint64_t length) const {
        if (offset <= facts_.size && length <= (facts_.size - offset).value()) return {};
        return fail(ErrorKind::Failed, "disk {}: {} of {} bytes at {}: the export ends at {} and cannot grow; make it larger at the server", name_,
                    what, length, offset.value(), facts_.size.value());
    }

    /// Issues until it is done or has failed by more than a lost connection.
    io::Task<Result<>> run(const char* what, const Link::Issue& issue) {
        for (unsigned losses = 0; losses < kMostLosses; ++losses) {
            co_await or_return(co_await connected());
            const std::shared_ptr<Link> link = link_;  // another may take its place meanwhile
            const int error = co_await link->perform(issue);
            if (error == 0) co_return Result<>{};
            if (link->dead()) continue;
            const Error failed = errno_error(error, fmt::format("disk {}: the server's answer to {}", name_, what));
            const ErrorKind kind = error == EPERM ? ErrorKind::Denied : ErrorKind::Failed;
            co_return fail(kind, "{}", failed.message());
        }
        co_return fail(ErrorKind::Unreachable, "disk {}: {}: the server hung up on it {} times", name_, what, kMostLosses);
    }

    enum class Way : uint8_t { Read, Write };

    io::Task<Result<>> transfer(Way way, uint64_t offset, std::span<const iovec> pieces) {
        const bool reads = way == Way::Read;
        const uint64_t total = total_of(pieces), most = std::min<uint64_t>(facts_.max_payload, kMostAtOnce / facts_.block * facts_.block);
        const std::unique_ptr<std::byte[]> bounce =
            pieces.size() > 1 ? std::make_unique_for_overwrite<std::byte[]>(std::min(total, most)) : nullptr;
        for (uint64_t done = 0; done < total;) {
            const uint64_t n = std::min(total - done, most);
            const std::vector<iovec> part = slice(pieces, done, n);
            std::byte* const data = bounce ? bounce.get() : static_cast<std::byte*>(part.front().iov_base);
            if (bounce && !reads) gather(part, {data, n});
            const Link::Issue issue = [&](nbd_handle* h, nbd_completion_callback end) {
                return reads ? nbd_aio_pread(h, data, n, offset + done, end, 0) : nbd_aio_pwrite(h, data, n, offset + done, end, 0);
            };
            co_await or_return(co_await run(reads ? "read" : "write", issue));
            if (bounce && reads) scatter({data, n}, part);
            written_ += !reads;
            done += n;
        }
        co_return Result<>{};
    }

    io::Task<Result<>> over_range(const char* what, uint64_t offset, uint64_t length, RangeCommand command, uint32_t flags) {
        for (uint64_t done = 0; done < length;) {
            const uint64_t n = std::min(length - done, kMostRange);
            const Link::Issue issue = [&](nbd_handle* h, nbd_completion_callback end) { return command(h, n, offset + done, end, flags); };
            co_await or_return(co_await run(what, issue));
            ++written_;
            done += n;
        }
        co_return Result<>{};
    }

    io::Task<Result<>> write_zero_bytes(uint64_t offset, uint64_t length) {
        std::vector<std::byte> zeroes(std::min(length, kZeroBytes));
        for (uint64_t done = 0; done < length;) {
            const iovec piece{zeroes.data(), std::min<uint64_t>(length - done, zeroes.size())};
            co_await or_return(co_await transfer(Way::Write, offset + done, {&piece, 1}));
            done += piece.iov_len;
        }
        co_return Result<>{};
    }

    io::Task<Result<>> flush() {
        co_await or_return(co_await connected());  // finds out what was lost
        if (lost_) co_return std::unexpected(*lost_);
        const uint64_t covered = written_;
        const Link::Issue issue = [](nbd_handle* h, nbd_completion_callback end) { return nbd_aio_flush(h, end, 0); };
        Result<> done;
        if (facts_.flush) done = co_await run("flush", issue);
        if (!done) lost_ = done.error();
        if (lost_) co_return std::unexpected(*lost_);  // the connection was lost meanwhile, and writes with it
        flushed_ = std::max(flushed_, covered);
        co_return Result<>{};
    }

    /// A live connection is there when it returns, or will never be again.
    io::Task<Result<>> connected() {
        while (!failed_ && link_->dead()) {
            if (!reconnecting_) {
                note_loss();
                if (failed_) break;
                reconnecting_ = true;
                io::spawn(reconnect());
                continue;
            }
            io::Completion<bool> settled;
            waiting_.push_back(&settled);
            co_await settled;
        }
        if (failed_) co_return std::unexpected(*failed_);
        co_return Result<>{};
    }

    void note_loss() {
        YADO_LOG_LIMITED(Warning, "disk {}: the connection is lost: {}", name_, link_->last_words().empty() ? "the server hung up" : link_->last_words());
        if (written_ > flushed_ && !lost_)
            lost_ = Error(ErrorKind::Failed,
                          fmt::format("disk {}: flush: the connection to the server was lost after writes that no flush had covered; whether they are "
                                      "there is not known, check what the disk holds",
                                      name_));
        if (reconnect_.count() > 0) return;
        failed_ = Error(ErrorKind::Unreachable,
                        fmt::format("disk {}: the server hung up; start it again and open the disk anew, or have it waited for with reconnect=SECONDS", name_));
    }

    io::Task<> reconnect() {
        const auto pass = gate_.enter();  // close() waits for us
        const Nanoseconds deadline = executor_.clock().now() + reconnect_;
        while (pass) {
            const Nanoseconds left = deadline - executor_.clock().now();
            auto link = co_await Link::connect(executor_, name_, std::min<Nanoseconds>(std::max(left, Nanoseconds(1)), kConnectPatience));
            if (link) {
                accept(std::move(*link));
                break;
            }
            if (closing_ || executor_.clock().now() + kBetweenAttempts >= deadline) {
                failed_ = Error(ErrorKind::Unreachable, fmt::format("{}; it was tried again for {} seconds", link.error().message(), reconnect_.count()));
                break;
            }
            co_await pause();
        }
        reconnecting_ = false;
        for (io::Completion<bool>* waiter : std::exchange(waiting_, {})) waiter->complete(true);
    }

    void accept(std::shared_ptr<Link> link) {
        if (link->facts() == facts_) {
            YADO_LOG(Info, "disk {}: connected again", name_);
            link_ = std::move(link);
        } else {
            failed_ = Error(ErrorKind::Failed, fmt::format("disk {}: the server came back with another export of this name (its size or abilities changed); "
                                                           "open the disk anew",
                                                           name_));
        }
    }

    io::Task<> pause() {
        io::Completion<bool> over;
        const auto timer = executor_.make_timer([&] { executor_.post([&] { over.complete(true); }); });
        timer->arm(executor_.clock().now() + kBetweenAttempts);
        co_await over;
    }

    io::Executor& executor_;
    const std::string name_;
    const ExportFacts facts_;
    const bool readonly_, ignore_sync_;
    const std::chrono::seconds reconnect_;
    std::shared_ptr<Link> link_;             // never null until closed; shared with requests that it carries
    uint64_t written_ = 0, flushed_ = 0;     // requests that changed something: completed, and covered by a flush
    std::optional<Error> lost_;              // what every flush answers from now on
    std::optional<Error> failed_;            // what everything answers from now on
    bool reconnecting_ = false, closing_ = false;
    std::vector<io::Completion<bool>*> waiting_;
    io::Gate gate_;
};

}  // namespace

bool is_nbd_uri(std::string_view path) {
    constexpr std::array kSchemes = {"nbd://", "nbd+unix://", "nbds://", "nbds+unix://"};
    return std::ranges::any_of(kSchemes, [&](std::string_view scheme) { return path.starts_with(scheme); });
}

io::Task<Result<std::unique_ptr<ImageFile>>> open_nbd_file(io::Executor& executor, HostFileConfig config) {
    if (config.path.starts_with("nbds")) co_return fail(ErrorKind::Usage, "disk {}: there is no TLS yet; use nbd:, over a tunnel if need be", config.path);
    auto link = co_await or_return(co_await Link::connect(executor, config.path, kConnectPatience));
    const ExportFacts facts = link->facts();
    if (facts.readonly && !config.readonly)
        co_return fail(ErrorKind::Denied, "disk {}: the server offers it read-only; use readonly=on or snapshot=on", config.path);
    std::unique_ptr<ImageFile> file = std::make_unique<NbdFile>(executor, config, std::move(link));
    // A server that takes only whole blocks is like a file that does: the same bounce buffers.
    if (facts.block > 1) file = make_direct_file(std::move(file), {.memory = 1, .offset = facts.block});
    co_return std::move(file);
}

io::Task<Result<std::unique_ptr<ImageFile>>> open_named_file(io::Executor& executor, HostFileConfig config) {
    if (is_nbd_uri(config.path)) co_return co_await open_nbd_file(executor, std::move(config));
    co_return open_host_file(executor, config);
}

}  // namespace yado::storage
