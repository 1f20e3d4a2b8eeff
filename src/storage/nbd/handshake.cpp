#include "storage/nbd/handshake.h"

#include <algorithm>
#include <array>
#include <vector>

#include "storage/nbd/message.h"
#include "storage/nbd/spec.h"

namespace yado::storage::nbd {
namespace {

using io::or_return;

uint16_t transmission_flags(const Export& offered) {
    uint16_t flags = NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA | NBD_FLAG_SEND_DF;
    flags |= NBD_FLAG_CAN_MULTI_CONN;  // one image serves all connections, and its flush covers whatever completed before
    flags |= offered.readonly ? NBD_FLAG_READ_ONLY : NBD_FLAG_SEND_TRIM | NBD_FLAG_SEND_WRITE_ZEROES;
    return flags;
}

class Handshake {
  public:
    Handshake(Stream& stream, const Export& offered) : stream_(stream), offered_(offered) {}

    io::Task<Result<Agreement>> run() {
        co_await or_return(co_await greet());
        for (unsigned n = 0; n < kMaxOptions && !chosen_; ++n) co_await or_return(co_await next_option());
        if (!chosen_) co_return fail(ErrorKind::Corrupt, "more than {} options", kMaxOptions);
        co_return agreement_;
    }

  private:
    using Handler = io::Task<Result<>> (Handshake::*)();
    struct Known {
        Option option;
        Handler handler;
    };
    static const std::array<Known, 8> kKnown;

    io::Task<Result<>> greet() {
        BytesOut hello;
        hello.add(NBDMAGIC).add(IHAVEOPT).add<uint16_t>(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
        co_await or_return(co_await send(hello));
        std::array<std::byte, 4> bytes;
        co_await or_return(co_await stream_.read(bytes));
        const auto flags = load_be<uint32_t>(bytes.data());
        if (flags & ~(NBD_FLAG_C_FIXED_NEWSTYLE | NBD_FLAG_C_NO_ZEROES)) co_return fail(ErrorKind::Corrupt, "unknown client flags {:#x}", flags);
        no_zeroes_ = flags & NBD_FLAG_C_NO_ZEROES;
        co_return Result<>{};
    }

    io::Task<Result<>> next_option() {
        std::array<std::byte, kOptionBytes> header;
        co_await or_return(co_await stream_.read(header));
        if (load_be<uint64_t>(header.data()) != IHAVEOPT) co_return fail(ErrorKind::Corrupt, "an option without its magic");
        option_ = load_be<uint32_t>(header.data() + 8);
        const auto length = load_be<uint32_t>(header.data() + 12);
        if (length > kMaxOptionBytes) co_return fail(ErrorKind::Corrupt, "option {} of {} bytes", option_, length);
        data_.resize(length);
        co_await or_return(co_await stream_.read(data_));
        const auto known = std::ranges::find(kKnown, option_, [](const Known& k) { return std::to_underlying(k.option); });
        if (known == kKnown.end()) co_return co_await reply(OptionReply::ERR_UNSUP);
        co_return co_await (this->*known->handler)();
    }

    /// Has no way to be refused but the end of the connection.
    io::Task<Result<>> export_name() {
        if (!is_ours(std::string_view(reinterpret_cast<const char*>(data_.data()), data_.size())))
            co_return fail(ErrorKind::NotFound, "asked for an export that is not here");
        BytesOut answer;
        answer.add(offered_.size.value()).add(transmission_flags(offered_));
        if (!no_zeroes_) answer.add_zeroes(kExportNameZeroes);
        chosen_ = true;
        co_return co_await send(answer);
    }

    io::Task<Result<>> abort() {
        co_await or_return(co_await reply(OptionReply::ACK));
        co_return fail(ErrorKind::Unreachable, "went away");
    }

    io::Task<Result<>> list() {
        if (!data_.empty()) co_return co_await reply(OptionReply::ERR_INVALID);
        BytesOut entry;
        entry.add(static_cast<uint32_t>(offered_.name.size())).add_text(offered_.name);
        co_await or_return(co_await reply(OptionReply::SERVER, entry.bytes()));
        co_return co_await reply(OptionReply::ACK);
    }

    io::Task<Result<>> info() { co_return co_await describe(); }
    io::Task<Result<>> go() {
        const auto described = co_await describe();
        chosen_ = described.has_value() && described_;
        co_return described;
    }
    /// INFO and GO: a name, and how many and which facts are wanted. The size is told in any case, and so are the bounds of requests.
    io::Task<Result<>> describe() {
        described_ = false;
        BytesIn in(data_);
        const auto name = in.take_string(kMaxString);
        const auto wanted = in.take<uint16_t>();
        if (!name || !wanted || in.size() != size_t{*wanted} * 2) co_return co_await reply(OptionReply::ERR_INVALID);
        if (!is_ours(*name)) co_return co_await reply(OptionReply::ERR_UNKNOWN);
        BytesOut size, blocks;
        size.add(Info::EXPORT).add(offered_.size.value()).add(transmission_flags(offered_));
        co_await or_return(co_await reply(OptionReply::INFO, size.bytes()));
        blocks.add(Info::BLOCK_SIZE).add(kBlockBytes).add(kPreferredBytes).add(kMaxPayload);
        co_await or_return(co_await reply(OptionReply::INFO, blocks.bytes()));
        described_ = true;
        co_return co_await reply(OptionReply::ACK);
    }

    io::Task<Result<>> structured_reply() {
        if (!data_.empty()) co_return co_await reply(OptionReply::ERR_INVALID);
        agreement_.structured_replies = true;
        co_return co_await reply(OptionReply::ACK);
    }

    io::Task<Result<>> list_meta_context() {
        const auto queries = meta_queries();
        if (!queries.valid) co_return co_await reply(queries.refusal);
        if (queries.count == 0 || queries.allocation || queries.all_of_base) co_await or_return(co_await tell_context(0));
        co_return co_await reply(OptionReply::ACK);
    }
    io::Task<Result<>> set_meta_context() {
        const auto queries = meta_queries();
        agreement_.block_status = queries.valid && queries.allocation;
        if (!queries.valid) co_return co_await reply(queries.refusal);
        if (queries.allocation) co_await or_return(co_await tell_context(kBaseAllocationId));
        co_return co_await reply(OptionReply::ACK);
    }
    io::Task<Result<>> tell_context(uint32_t id) {
        BytesOut context;
        context.add(id).add_text(kBaseAllocation);
        co_return co_await reply(OptionReply::META_CONTEXT, context.bytes());
    }

    struct Queries {
        bool valid = false;
        OptionReply refusal = OptionReply::ERR_INVALID;
        uint32_t count = 0;
        bool allocation = false, all_of_base = false;
    };
    /// An export's name, and a list of queries.
    Queries meta_queries() const {
        Queries queries;
        BytesIn in(data_);
        const auto name = in.take_string(kMaxString);
        const auto count = in.take<uint32_t>();
        if (!agreement_.structured_replies || !name || !count) return queries;
        queries.count = *count;
        for (uint32_t n = 0; n < *count; ++n) {
            const auto query = in.take_string(kMaxString);
            if (!query) return queries;
            queries.allocation |= *query == kBaseAllocation;
            queries.all_of_base |= *query == "base:";
        }
        if (!in.empty()) return queries;
        queries.refusal = OptionReply::ERR_UNKNOWN;
        queries.valid = is_ours(*name);
        return queries;
    }

    bool is_ours(std::string_view name) const { return name.empty() || name == offered_.name; }

    io::Task<Result<>> reply(OptionReply type, std::span<const std::byte> data = {}) {
        BytesOut out;
        out.add(NBD_REP_MAGIC).add(option_).add(type).add(static_cast<uint32_t>(data.size())).add_bytes(data);
        co_return co_await send(out);
    }
    io::Task<Result<>> send(const BytesOut& out) {
        const iovec piece{const_cast<std::byte*>(out.bytes().data()), out.bytes().size()};
        co_return co_await stream_.write({&piece, 1});
    }

    Stream& stream_;
    const Export& offered_;
    Agreement agreement_;
    bool no_zeroes_ = false, described_ = false, chosen_ = false;
    uint32_t option_ = 0;            // the one that is being answered, and what it holds
    std::vector<std::byte> data_;
};

constexpr std::array<Handshake::Known, 8> Handshake::kKnown = {{{Option::EXPORT_NAME, &Handshake::export_name},
                                                                {Option::ABORT, &Handshake::abort},
                                                                {Option::LIST, &Handshake::list},
                                                                {Option::INFO, &Handshake::info},
                                                                {Option::GO, &Handshake::go},
                                                                {Option::STRUCTURED_REPLY, &Handshake::structured_reply},
                                                                {Option::LIST_META_CONTEXT, &Handshake::list_meta_context},
                                                                {Option::SET_META_CONTEXT, &Handshake::set_meta_context}}};

}  // namespace

io::Task<Result<Agreement>> shake_hands(Stream& stream, const Export& offered) {
    Handshake handshake(stream, offered);
    co_return co_await handshake.run();
}

}  // namespace yado::storage::nbd
