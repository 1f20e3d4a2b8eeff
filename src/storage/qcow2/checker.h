// The parts of check(): one object a run over all metadata.
//
// Tables first, then what L1 tables name, then the entries of each L2 table; then the image's refcounts against what was
// counted, and then the COPIED flags against the refcounts. Repairs are made on the way, in that order.
#pragma once

#include <map>

#include "storage/qcow2/header.h"
#include "storage/qcow2/reference_counts.h"
#include "storage/qcow2/snapshot_table.h"

namespace yado::storage::qcow2 {

class Checker {
  public:
    Checker(ImageFile& file, Header header, Repair repair) : file_(file), header_(std::move(header)), repair_(repair) {}

    /// The report has everything that was found, repaired or not.
    io::Task<Result<CheckReport>> run();
    /// Something was written.
    bool changed() const { return changed_; }

  private:
    struct L2Use {
        uint64_t references = 0;
        bool active = false;
    };
    struct L1 {
        std::string what;
        uint64_t offset, entries;
        bool active;
    };
    enum class Severity : uint8_t { Error, Leak };

    template <typename... Args>
    void found(Severity severity, fmt::format_string<Args...> format, Args&&... args) {
        ++(severity == Severity::Error ? report_.errors : report_.leaks);
        report_.note(fmt::format(format, std::forward<Args>(args)...));
    }
    bool repairs(Severity severity) const { return repair_ == Repair::All || (repair_ == Repair::Leaks && severity == Severity::Leak); }
    const Geometry& geometry() const { return header_.geometry; }
    bool in_file(uint64_t offset, uint64_t bytes) const;
    io::Task<Result<>> write(uint64_t at, std::span<const std::byte> bytes);

    // checker.cpp: what is referred to
    Result<> count(uint64_t cluster, uint64_t references);
    Result<bool> count_table(std::string_view what, uint64_t offset, uint64_t bytes);
    io::Task<Result<>> count_tables();
    io::Task<Result<>> count_bitmaps();
    io::Task<Result<>> count_bitmap(std::span<const std::byte> entry);
    io::Task<Result<>> collect_l1(const L1& l1);
    io::Task<Result<>> count_l2(uint64_t offset, L2Use use);
    Result<bool> count_entry(uint64_t entry, L2Use use);

    // check_refcounts.cpp: the refcounts
    io::Task<Result<>> load_refcount_table();
    io::Task<Result<>> compare_refcounts();
    io::Task<Result<>> compare_block(uint64_t index);
    bool compare_cluster(uint64_t cluster, std::byte* field_block, uint64_t in_block);
    io::Task<Result<>> rebuild_refcounts();
    uint64_t refcount(uint64_t cluster) const;
    bool compare_flag(std::byte* entry_at, uint64_t cluster, std::string_view what);
    io::Task<Result<>> compare_flags();

    ImageFile& file_;
    Header header_;
    Repair repair_;
    CheckReport report_;
    ReferenceCounts counts_, tables_;
    std::vector<L1> l1s_;
    std::map<uint64_t, L2Use> l2_tables_;  ///< by offset
    std::vector<uint64_t> refcount_table_;
    std::map<uint64_t, uint64_t> differing_;  ///< clusters whose refcount is not what was counted
    bool rebuild_ = false;                    ///< the refcounts cannot be mended in place
    bool changed_ = false;
};

}  // namespace yado::storage::qcow2
