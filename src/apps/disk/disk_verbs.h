// `yado disk ...`: one file a group of verbs, over storage/operations. Options arrive parsed (disk_cli.cpp).
#pragma once

#include <optional>
#include <string>

#include "apps/verbs.h"

namespace yado::apps {

/// An image that is there already.
struct ImageOption {
    std::string path;
    std::string format;            ///< "auto" only where the image is read
    std::string backing = "none";  ///< none, folder, any
};

/// One that is to be made.
struct NewImageOption {
    std::string path;
    std::string format;            ///< empty: by the file's extension
    std::string cluster_size;      ///< empty: the format's own
    bool preallocate = false;
};

// make.cpp
Result<> disk_create(const NewImageOption& image, const std::string& size);
Result<> disk_convert(const ImageOption& source, const NewImageOption& target);
Result<> disk_compact(const ImageOption& image);
Result<> disk_clone(const ImageOption& base, const NewImageOption& target);

// show.cpp
Result<> disk_info(const ImageOption& image, Format format);
/// Status 1 if errors are left. `repair` is empty, "leaks" or "all".
Result<int> disk_check(const ImageOption& image, const std::string& repair, Format format);
/// Status 1 if they differ.
Result<int> disk_compare(const ImageOption& left, const ImageOption& right, Format format);

// change.cpp
struct ResizeOptions {
    std::string size;  ///< "20G", or "+5G"
    bool shrink = false, force = false;
};
Result<> disk_resize(const ImageOption& image, const ResizeOptions& options);
Result<> disk_commit(const ImageOption& image, bool keep);
struct RebaseOptions {
    std::string onto, onto_format;  ///< "none": on nothing
    bool header_only = false;
};
Result<> disk_rebase(const ImageOption& image, const RebaseOptions& options);

// serve.cpp
struct ServeOptions {
    std::string socket, tcp;  ///< one of them: a path, "[ADDRESS:]PORT"
    std::string export_name;
    bool readonly = false;
    bool persistent = false;  ///< goes on when the last client has left
};
inline constexpr size_t kMaxExportName = 4096;
Result<> disk_serve(const ImageOption& image, const ServeOptions& options);

// snapshot.cpp
Result<> disk_snapshot(const std::string& verb, const ImageOption& image, const std::string& name);
Result<> disk_snapshot_list(const ImageOption& image, Format format);

}  // namespace yado::apps
