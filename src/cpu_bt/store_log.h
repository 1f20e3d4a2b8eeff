// The stores of a piece of code, with what was there before: to be compared, and undone.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <span>

namespace yado::cpu_bt {

/// Written by translated code, too (Runtime::log_store).
struct StoreRecord {
    static constexpr unsigned kMostBytes = 32;

    uint8_t* host;
    uint64_t size;
    uint64_t linear;  ///< 0: not known
    std::array<uint8_t, kMostBytes> before;
};
static_assert(sizeof(StoreRecord) == 56);

class StoreLog {
  public:
    static constexpr size_t kMostRecords = 256;

    /// Forgets all.
    void clear() { count_ = 0, full_ = false; }
    /// False once there was no room: then undo() undoes the first of them only.
    bool complete() const { return !full_; }
    void add(uint64_t linear, uint8_t* host, unsigned size) {
        for (unsigned done = 0; done < size; done += StoreRecord::kMostBytes) {
            if (count_ == kMostRecords) {
                full_ = true;
                return;
            }
            StoreRecord& r = records_[count_++];
            const unsigned piece = size - done < StoreRecord::kMostBytes ? size - done : StoreRecord::kMostBytes;
            r = {host + done, piece, linear + done, {}};
            std::memcpy(r.before.data(), r.host, piece);
        }
    }
    /// Where code that writes records itself begins, and where it came to.
    StoreRecord* begin_outside() { return records_.data(); }
    void end_outside(const StoreRecord* next) { count_ = static_cast<size_t>(next - records_.data()); }

    void undo() const {
        for (size_t n = count_; n-- > 0;) std::memcpy(records_[n].host, records_[n].before.data(), records_[n].size);
    }
    std::span<StoreRecord> records() { return std::span(records_).first(count_); }
    std::span<const StoreRecord> records() const { return std::span(records_).first(count_); }

  private:
    std::array<StoreRecord, kMostRecords> records_;
    size_t count_ = 0;
    bool full_ = false;
};

}  // namespace yado::cpu_bt
