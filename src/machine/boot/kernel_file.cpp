#include "machine/boot/kernel_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "base/fd.h"

namespace yado::machine::boot {

void FileBytes::Free::operator()(std::byte* p) const { std::free(p); }

Result<FileBytes> read_file(const std::string& path, std::string_view what, Bytes limit) {
    const std::string label = fmt::format("{} {}", what, path);
    // O_NONBLOCK: a FIFO must not block the open; it is refused below.
    const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!fd) return fail_errno(label);
    struct stat st {};
    if (fstat(fd.get(), &st) < 0) return fail_errno(label);
    if (!S_ISREG(st.st_mode))
        return fail(ErrorKind::Failed, "{}: is {}, give a regular file", label,
                    S_ISDIR(st.st_mode) ? "a directory" : "no regular file");
    if (st.st_size == 0) return fail(ErrorKind::Failed, "{}: is empty", label);
    const auto size = static_cast<uint64_t>(st.st_size);
    if (size > limit.value())
        return fail(ErrorKind::Failed, "{}: is {} MiB, more than the {} MiB that fit", label, (size + (1 << 20) - 1) >> 20,
                    limit.value() >> 20);
    // Aligned for huge pages and not cleared first: most of a start's time went into first touches of this.
    constexpr size_t kHugePage = 2u << 20;
    FileBytes bytes;
    bytes.size_ = size;
    bytes.bytes_.reset(static_cast<std::byte*>(std::aligned_alloc(kHugePage, (size + kHugePage - 1) & ~(kHugePage - 1))));
    if (!bytes.bytes_) return fail(ErrorKind::Failed, "{}: no memory for {} MiB", label, size >> 20);
    madvise(bytes.bytes_.get(), size, MADV_HUGEPAGE);
    for (size_t done = 0; done < size;) {
        const ssize_t n = ::pread(fd.get(), bytes.bytes_.get() + done, size - done, static_cast<off_t>(done));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail_errno(label);
        if (n == 0) return fail(ErrorKind::Failed, "{}: shrank while it was read", label);
        done += static_cast<size_t>(n);
    }
    return bytes;
}

}  // namespace yado::machine::boot
