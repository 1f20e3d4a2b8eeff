#include "storage/qcow2/create.h"

#include <bit>

#include "storage/qcow2/header.h"
#include "storage/qcow2/refcounts.h"
#include "storage/qcow2/slice_cache.h"

namespace yado::storage::qcow2 {
namespace {

using io::or_return;

/// Where everything lies: header, refcount table, refcount blocks, L1 table.
struct Plan {
    Geometry geometry;
    uint64_t l1_entries = 0, l1_clusters = 0, table_clusters = 1, blocks = 1;
    uint64_t table_at() const { return 1; }
    uint64_t blocks_at() const { return 1 + table_clusters; }
    uint64_t l1_at() const { return blocks_at() + blocks; }
    uint64_t total() const { return l1_at() + l1_clusters; }
};

Result<Plan> plan_for(const std::string& name, const CreateOptions& options) {
    const uint64_t cluster = options.cluster_size.value_or(64_KiB).value();
    if (!std::has_single_bit(cluster) || cluster < 512 || cluster > 2 << 20)
        return fail(ErrorKind::Usage, "disk {}: cluster size {}: must be a power of two from 512 to 2097152", name, cluster);
    const uint64_t size = options.size.value();
    if (size == 0 || size % 512) return fail(ErrorKind::Usage, "disk {}: size {}: must be a multiple of 512, and not 0", name, size);
    if (options.preallocated) return fail(ErrorKind::Usage, "disk {}: qcow2 images are not preallocated here; use raw", name);
    Plan plan;
    plan.geometry.cluster_bits = static_cast<uint32_t>(std::countr_zero(cluster));
    plan.l1_entries = size > kMaxImageBytes ? ~0ull / 16 : plan.geometry.l1_entries_for(size);
    if (plan.l1_entries * 8 > kMaxL1Bytes)
        return fail(ErrorKind::Usage, "disk {}: size {} is too large for clusters of {} bytes; take larger ones", name, size, cluster);
    plan.l1_clusters = plan.geometry.clusters_for(plan.l1_entries * 8);
    for (uint64_t before = 0; before != plan.total();) {
        before = plan.total();
        plan.blocks = (before + plan.geometry.refcounts_per_block() - 1) / plan.geometry.refcounts_per_block();
        plan.table_clusters = plan.geometry.clusters_for(plan.blocks * 8);
    }
    return plan;
}

/// Appends a header extension.
void extension(std::vector<std::byte>& bytes, uint32_t type, std::string_view data) {
    const size_t at = bytes.size();
    bytes.resize(at + 8 + ((data.size() + 7) & ~size_t{7}));
    store_be(bytes.data() + at, type);
    store_be(bytes.data() + at + 4, static_cast<uint32_t>(data.size()));
    if (!data.empty()) std::memcpy(bytes.data() + at + 8, data.data(), data.size());
}

Result<std::vector<std::byte>> header_for(const std::string& name, const Plan& plan, const CreateOptions& options) {
    std::vector<std::byte> h(kHeaderLengthWritten);
    const auto put32 = [&](uint64_t at, uint64_t value) { store_be(h.data() + at, static_cast<uint32_t>(value)); };
    const auto put64 = [&](uint64_t at, uint64_t value) { store_be(h.data() + at, value); };
    const uint32_t bits = plan.geometry.cluster_bits;
    put32(kMagicAt, QCOW_MAGIC);
    put32(kVersionAt, 3);
    put32(kClusterBitsAt, bits);
    put64(kSizeAt, options.size.value());
    put32(kL1SizeAt, plan.l1_entries);
    put64(kL1OffsetAt, plan.l1_at() << bits);
    put64(kRefcountOffsetAt, plan.table_at() << bits);
    put32(kRefcountClustersAt, plan.table_clusters);
    put32(kRefcountOrderAt, plan.geometry.refcount_order);
    put32(kHeaderLengthAt, kHeaderLengthWritten);
    if (options.parent && !options.parent->format.empty()) extension(h, kExtensionBackingFormat, name_in_header(options.parent->format));
    extension(h, kExtensionEnd, {});
    if (!options.parent) return h;
    const std::string& path = options.parent->path;
    if (path.empty() || path.size() > kMaxBackingName || h.size() + path.size() > plan.geometry.cluster_size())
        return fail(ErrorKind::Usage, "disk {}: the parent's name must have 1 to {} bytes", name,
                    std::min<uint64_t>(kMaxBackingName, plan.geometry.cluster_size() - h.size()));
    put64(kBackingOffsetAt, h.size());
    put32(kBackingSizeAt, path.size());
    const auto text = std::as_bytes(std::span(path));
    h.insert(h.end(), text.begin(), text.end());
    return h;
}

void fill_refcounts(const Plan& plan, std::span<std::byte> table, std::span<std::byte> blocks) {
    for (uint64_t b = 0; b < plan.blocks; ++b) store_be(table.data() + b * 8, (plan.blocks_at() + b) << plan.geometry.cluster_bits);
    for (uint64_t c = 0; c < plan.total(); ++c) store_refcount(blocks.data(), c, plan.geometry.refcount_order, 1);
}

}  // namespace

io::Task<Result<>> create(ImageFile& file, const CreateOptions& options) {
    const Plan plan = co_await or_return(plan_for(file.name(), options));
    const std::vector<std::byte> header = co_await or_return(header_for(file.name(), plan, options));
    const uint64_t size = plan.geometry.cluster_size();
    std::vector<std::byte> tables((plan.l1_at() - 1) * size);
    fill_refcounts(plan, tables, std::span(tables).subspan(plan.table_clusters * size));
    if (file.size().value() < plan.total() * size) co_await or_return(co_await file.resize(Bytes(plan.total() * size)));
    co_await or_return(co_await write_bytes(file, Bytes(size), tables));
    co_await or_return(co_await file.write_zeroes(Bytes(plan.l1_at() * size), Bytes(plan.l1_clusters * size), ZeroMode::KeepSpace));
    co_await or_return(co_await file.sync());
    // The header last: what has one is an image.
    co_await or_return(co_await write_bytes(file, Bytes(0), header));
    co_return co_await file.sync();
}

}  // namespace yado::storage::qcow2
