// Making images: an operation's output is there whole, or not at all.
#pragma once

#include <memory>
#include <string>

#include "io/executor.h"
#include "storage/chain/chain.h"
#include "storage/format.h"

namespace yado::storage {

/// Removes a file that an operation has made, unless it is kept.
class NewFile {
  public:
    explicit NewFile(std::string path) : path_(std::move(path)) {}
    NewFile(const NewFile&) = delete;
    ~NewFile();
    void keep() { path_.clear(); }
    const std::string& path() const { return path_; }

  private:
    std::string path_;
};

/// Makes the file and an empty image in it. Nothing is left of one that fails. Errors: Usage, Conflict (the name is taken).
io::Task<Result<>> create_image(io::Executor& executor, std::string path, const Format& format, CreateOptions options);

struct FreshImage {
    std::unique_ptr<block::DiskImage> image;
    std::optional<Bytes> cluster_size;
};
/// The same, opened for writing; `below` is what its parent shows, where the options name one. Whoever gets it removes
/// the file if nothing comes of it.
io::Task<Result<FreshImage>> create_open_image(io::Executor& executor, std::string path, const Format& format,
                                               CreateOptions options, std::unique_ptr<block::DiskImage> below);

/// A name beside `path` that nobody has.
std::string name_beside(const std::string& path);

/// Puts a finished file in the place of `path`, with its mode and owner: after a crash there is the old one or the new one.
Result<> replace_file(const std::string& fresh, const std::string& path);
/// Gives a finished file a name that nobody has, with the mode and owner of `like`. Errors: Conflict (the name is taken).
Result<> place_file(const std::string& fresh, const std::string& like, const std::string& path);
/// What names were given and taken in the folder of `path` is on the disk.
Result<> sync_folder(const std::string& path);

/// By a file's extension: .qcow2 .vhd .vhdx .img .raw. Errors: Usage.
Result<std::string> format_of_extension(const std::string& path);

/// What an image's first and last bytes look like: "raw" where they look like nothing. A guess: a guest can make a raw disk
/// look like anything, so that nothing is to be written, or followed, by it.
io::Task<Result<std::string>> guess_format(io::Executor& executor, std::string path);

}  // namespace yado::storage
