#include "storage/operations/parent.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "storage/file/host_file.h"

namespace yado::storage {
namespace {

using io::or_return;

class Borrowed final : public block::DiskImage {
  public:
    explicit Borrowed(block::DiskImage& image) : image_(image) {}
    Bytes size() const override { return image_.size(); }
    bool readonly() const override { return true; }
    std::string describe() const override { return image_.describe(); }
    io::Task<Result<>> readv(Bytes offset, std::span<const iovec> into) override { return image_.readv(offset, into); }
    io::Task<Result<>> writev(Bytes, std::span<const iovec>) override { co_return denied(); }
    io::Task<Result<>> flush() override { co_return Result<>{}; }
    io::Task<Result<>> write_zeroes(Bytes, Bytes, bool) override { co_return denied(); }
    io::Task<Result<>> discard(Bytes, Bytes) override { co_return denied(); }
    io::Task<Result<block::Extent>> map(Bytes offset, Bytes length) override { return image_.map(offset, length); }
    io::Task<Result<>> close() override { co_return Result<>{}; }

  private:
    std::unexpected<Error> denied() const { return fail(ErrorKind::Denied, "{}: read-only here", describe()); }
    block::DiskImage& image_;
};

}  // namespace

Result<std::string> real_path(const std::string& path) {
    const std::unique_ptr<char, void (*)(void*)> real(realpath(path.c_str(), nullptr), free);
    if (!real) return fail_errno(fmt::format("disk {}", path));
    return std::string(real.get());
}

io::Task<Result<ParentFacts>> parent_facts(io::Executor& executor, std::string image, NewBase base) {
    ParentFacts facts;
    facts.parent.path = co_await or_return(recorded_name(image, base.path));
    facts.parent.format = base.format;
    Layer layer;
    layer.info = co_await or_return(co_await read_info(executor, base.path, base.format));
    facts.parent.id = layer.id();
    facts.size = layer.info.size;
    struct stat st{};
    if (stat(base.path.c_str(), &st) < 0) co_return fail_errno(fmt::format("disk {}", base.path));
    facts.parent.modified_seconds = st.st_mtim.tv_sec;
    co_return facts;
}

CreateOptions::Parent parent_as_claimed(const std::vector<Layer>& layers) {
    CreateOptions::Parent parent;
    parent.path = layers[0].info.backing->path;
    parent.format = layers[0].info.backing->format;
    parent.id = layers[1].id();
    struct stat st{};
    parent.modified_seconds = stat(layers[1].path.c_str(), &st) == 0 ? st.st_mtim.tv_sec : layers[1].modified_seconds;
    return parent;
}

std::unique_ptr<block::DiskImage> borrow(block::DiskImage& image) { return std::make_unique<Borrowed>(image); }

}  // namespace yado::storage
