// Built images: one folder each under the cache directory.
//
//     $XDG_CACHE_HOME/yado/images/NAME/ (root: /var/cache/yado/images/NAME/)
//         image.json  vmlinux  vmlinuz  initrd.img  root.img  packages
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "base/units.h"

namespace yado::apps {

struct Image {
    std::string name;
    std::string kernel, initrd, disk;  ///< absolute paths
    std::string append;                ///< kernel command line
    std::string format = "raw";
    std::string built;                 ///< "2026-11-21T03:20:25Z"
    std::string description;           ///< "Debian 12 (bookworm), kernel 6.1.0-56-cloud-amd64"
    Bytes size;                        ///< of the disk
    Bytes allocated;                   ///< on the host
};

class ImageStore {
  public:
    /// YADO_IMAGE_DIR overrides the place. Errors: Denied, Failed.
    static Result<ImageStore> open();

    /// Errors: NotFound (with how to build one), Corrupt.
    Result<Image> find(const std::string& name) const;
    std::vector<Image> list() const;

    /// Writes image.json for the files of a folder (names relative to it).
    static Result<> describe(const std::string& folder, const Image& image);

    std::string folder_of(const std::string& name) const { return path_ + "/" + name; }
    const std::string& path() const { return path_; }

  private:
    explicit ImageStore(std::string path) : path_(std::move(path)) {}
    std::string path_;
};

std::string to_json(const std::vector<Image>& images);

}  // namespace yado::apps
