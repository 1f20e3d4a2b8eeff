// A format with a parent, as small as it can be, for what is done over all formats: a header, a byte for each cluster of
// 4 KiB (absent, data, zero), and the clusters behind that, each at its place.
#pragma once

#include <cstring>
#include <vector>

#include "storage/format.h"
#include "storage/pieces.h"

namespace yado::fakes {

struct ToyHeader {
    char magic[4] = {'T', 'O', 'Y', '1'};
    uint32_t has_parent = 0;
    uint64_t size = 0, id = 0, parent_id = 0;
    char parent[512] = {}, parent_format[32] = {};
};

class ToyImage final : public block::DiskImage {
  public:
    static constexpr uint64_t kCluster = 4096;
    enum State : uint8_t { Absent, Data, Zero };

    ToyImage(std::unique_ptr<storage::ImageFile> file, const ToyHeader& header, std::vector<std::byte> map, std::unique_ptr<block::DiskImage> backing)
        : file_(std::move(file)), header_(header), map_(std::move(map)), backing_(std::move(backing)) {}

    static uint64_t clusters(uint64_t size) { return (size + kCluster - 1) / kCluster; }
    static uint64_t data_start(uint64_t) { return 1 << 20; }  // maps of 4 GiB at most

    Bytes size() const override { return Bytes(header_.size); }
    bool readonly() const override { return file_->readonly(); }
    std::string describe() const override { return "toy " + file_->name(); }

    io::Task<Result<>> readv(Bytes offset, std::span<const iovec> into) override {
        const uint64_t start = offset.value(), end = start + storage::total_of(into);
        for (uint64_t at = start; at < end;) {
            const uint64_t stop = std::min(end, (at / kCluster + 1) * kCluster);
            const std::vector<iovec> part = storage::slice(into, at - start, stop - at);
            co_await io::or_return(co_await read_part(at, stop - at, part));
            at = stop;
        }
        co_return Result<>{};
    }
    io::Task<Result<>> writev(Bytes offset, std::span<const iovec> from) override {
        const uint64_t start = offset.value(), end = start + storage::total_of(from);
        for (uint64_t at = start; at < end;) {
            const uint64_t stop = std::min(end, (at / kCluster + 1) * kCluster);
            co_await io::or_return(co_await fill(at / kCluster));
            const std::vector<iovec> part = storage::slice(from, at - start, stop - at);
            co_await io::or_return(co_await file_->writev(Bytes(data_start(header_.size) + at), part));
            at = stop;
        }
        co_return Result<>{};
    }
    io::Task<Result<>> flush() override { return file_->sync(); }
    io::Task<Result<>> write_zeroes(Bytes offset, Bytes length, bool) override {
        const std::vector<std::byte> zeroes(kCluster);
        const uint64_t end = (offset + length).value();
        for (uint64_t at = offset.value(); at < end;) {
            const uint64_t stop = std::min(end, (at / kCluster + 1) * kCluster);
            const iovec piece{const_cast<std::byte*>(zeroes.data()), stop - at};
            if (stop - at == kCluster) co_await io::or_return(co_await set(at / kCluster, Zero));
            else co_await io::or_return(co_await writev(Bytes(at), {&piece, 1}));
            at = stop;
        }
        co_return Result<>{};
    }
    io::Task<Result<>> discard(Bytes, Bytes) override { co_return Result<>{}; }
    io::Task<Result<block::Extent>> map(Bytes offset, Bytes length) override {
        constexpr block::Extent::Kind kKinds[] = {block::Extent::Kind::Absent, block::Extent::Kind::Data, block::Extent::Kind::Zero};
        const uint64_t first = offset.value() / kCluster;
        uint64_t last = first;
        while (last < map_.size() && map_[last] == map_[first]) ++last;
        const uint64_t end = std::min((offset + length).value(), last * kCluster);
        co_return block::Extent{kKinds[static_cast<uint8_t>(map_[first])], Bytes(end - offset.value())};
    }
    io::Task<Result<>> resize(Bytes size) override {
        for (uint64_t n = clusters(size.value()); n < map_.size(); ++n) co_await io::or_return(co_await set(n, Absent));
        map_.resize(clusters(size.value()));
        header_.size = size.value();
        co_return co_await storage::write_bytes(*file_, Bytes(0), std::as_bytes(std::span(&header_, 1)));
    }
    io::Task<Result<>> close() override {
        if (backing_) (void)co_await backing_->close();
        co_return co_await file_->close();
    }

  private:
    io::Task<Result<>> read_part(uint64_t at, uint64_t length, std::span<const iovec> part) {
        const auto state = static_cast<State>(map_[at / kCluster]);
        if (state == Data) co_return co_await file_->readv(Bytes(data_start(header_.size) + at), part);
        storage::fill_zeroes(part);
        if (state == Zero || !backing_ || at >= backing_->size().value()) co_return Result<>{};
        const std::vector<iovec> there = storage::slice(part, 0, std::min(length, backing_->size().value() - at));
        co_return co_await backing_->readv(Bytes(at), there);
    }
    io::Task<Result<>> fill(uint64_t n) {
        if (static_cast<State>(map_[n]) == Data) co_return Result<>{};
        std::vector<std::byte> cluster(kCluster);
        const iovec piece{cluster.data(), std::min(kCluster, header_.size - n * kCluster)};
        co_await io::or_return(co_await read_part(n * kCluster, piece.iov_len, {&piece, 1}));
        co_await io::or_return(co_await storage::write_bytes(*file_, Bytes(data_start(header_.size) + n * kCluster), cluster));
        co_return co_await set(n, Data);
    }
    io::Task<Result<>> set(uint64_t n, State state) {
        map_[n] = static_cast<std::byte>(state);
        co_return co_await storage::write_bytes(*file_, Bytes(4096 + n), std::span(&map_[n], 1));
    }

    std::unique_ptr<storage::ImageFile> file_;
    ToyHeader header_;
    std::vector<std::byte> map_;
    std::unique_ptr<block::DiskImage> backing_;
};

class ToyFormat final : public storage::Format {
  public:
    std::string_view name() const override { return "toy"; }

    io::Task<Result<>> create(storage::ImageFile& file, const storage::CreateOptions& options) const override {
        static uint64_t next_id = 1;
        ToyHeader header;
        header.size = options.size.value();
        header.id = next_id++;
        set_parent(header, options.parent);
        co_await io::or_return(co_await file.resize(Bytes(ToyImage::data_start(header.size))));
        co_await io::or_return(co_await storage::write_bytes(file, Bytes(0), std::as_bytes(std::span(&header, 1))));
        co_return co_await file.sync();
    }
    io::Task<Result<storage::ImageInfo>> info(storage::ImageFile& file) const override {
        const ToyHeader header = co_await io::or_return(co_await read_header(file));
        storage::ImageInfo info;
        info.format = "toy";
        info.size = Bytes(header.size);
        info.cluster_size = Bytes(ToyImage::kCluster);
        info.details.emplace_back("id", std::to_string(header.id));
        if (header.has_parent) info.backing = storage::BackingClaim{header.parent, header.parent_format};
        co_return info;
    }
    io::Task<Result<storage::CheckReport>> check(storage::ImageFile& file, storage::Repair) const override {
        (void)co_await io::or_return(co_await read_header(file));
        co_return storage::CheckReport{};
    }
    io::Task<Result<>> set_backing(storage::ImageFile& file, const std::optional<storage::CreateOptions::Parent>& parent) const override {
        ToyHeader header = co_await io::or_return(co_await read_header(file));
        set_parent(header, parent);
        co_await io::or_return(co_await storage::write_bytes(file, Bytes(0), std::as_bytes(std::span(&header, 1))));
        co_return co_await file.sync();
    }

  private:
    io::Task<Result<std::unique_ptr<block::DiskImage>>> do_open(std::unique_ptr<storage::ImageFile>& file, storage::OpenOptions& options) const override {
        const auto header = co_await read_header(*file);
        Result<> good;
        if (!header) good = std::unexpected(header.error());
        else if (header->has_parent != 0 && !options.backing) good = fail(ErrorKind::Failed, "disk {}: no backing image given", file->name());
        else if (options.backing && std::to_string(header->parent_id) != options.backing_id && header->parent_id != 0)
            good = fail(ErrorKind::Failed, "disk {}: its parent has changed", file->name());
        co_await io::or_return(good);
        std::vector<std::byte> map(ToyImage::clusters(header->size));
        co_await io::or_return(co_await storage::read_bytes(*file, Bytes(4096), map));
        co_return std::make_unique<ToyImage>(std::move(file), *header, std::move(map), std::move(options.backing));
    }
    static void set_parent(ToyHeader& header, const std::optional<storage::CreateOptions::Parent>& parent) {
        header.has_parent = parent.has_value();
        std::memset(header.parent, 0, sizeof header.parent);
        std::memset(header.parent_format, 0, sizeof header.parent_format);
        header.parent_id = 0;
        if (!parent) return;
        parent->path.copy(header.parent, sizeof header.parent - 1);
        parent->format.copy(header.parent_format, sizeof header.parent_format - 1);
        if (!parent->id.empty()) header.parent_id = std::stoull(parent->id);
    }
    static io::Task<Result<ToyHeader>> read_header(storage::ImageFile& file) {
        ToyHeader header;
        std::vector<std::byte> bytes(sizeof header);
        if (file.size().value() < ToyImage::data_start(0)) co_return fail(ErrorKind::Corrupt, "disk {}: no toy image", file.name());
        co_await io::or_return(co_await storage::read_bytes(file, Bytes(0), bytes));
        std::memcpy(&header, bytes.data(), sizeof header);
        if (std::memcmp(header.magic, "TOY1", 4) != 0) co_return fail(ErrorKind::Corrupt, "disk {}: no toy image", file.name());
        co_return header;
    }
};

/// Makes the format known to this program, once.
inline const ToyFormat& toy_format() {
    static const ToyFormat& format = [] () -> const ToyFormat& {
        static const ToyFormat toy;
        storage::add_format(toy);
        return toy;
    }();
    return format;
}

}  // namespace yado::fakes
