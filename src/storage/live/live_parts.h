// What the parts of LiveDisk share: live_disk.cpp, live_snapshot.cpp, live_commit.cpp.
#pragma once

#include <optional>

#include "storage/live/live_disk.h"

namespace yado::storage {

/// The one operation that a disk is in.
class LiveDisk::Busy {
  public:
    Busy(bool& flag, io::Gate::Pass pass) : flag_(&flag), pass_(std::move(pass)) { flag = true; }
    Busy(Busy&& o) noexcept : flag_(std::exchange(o.flag_, nullptr)), pass_(std::move(o.pass_)) {}
    Busy& operator=(Busy&&) = delete;
    ~Busy() {
        if (flag_) *flag_ = false;
    }

  private:
    bool* flag_;
    io::Gate::Pass pass_;
};

/// A snapshot on its way: files first, then the images in memory.
struct LiveDisk::Prepared {
    std::optional<Busy> busy;  ///< where it is an operation by itself
    std::string old_path;  ///< absolute
    std::string base;      ///< its new name
    std::string active;    ///< may be old_path
    std::string format;    ///< of the new image
    bool base_named = false, active_named = false;
    std::unique_ptr<block::DiskImage> overlay;
    Layer layer;
    Nanoseconds halted_at{0}, stall{0};
};

/// "STEM" and ".EXT" of a path whose name tells a format; all of it and "" of another.
struct NameParts {
    std::string stem, extension;
};
NameParts split_name(const std::string& path);

}  // namespace yado::storage
