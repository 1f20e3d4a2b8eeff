#include "cpu_bt/code_cache.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace yado::cpu_bt {

Result<CodeCache> CodeCache::create(size_t bytes) {
    void* w = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (w == MAP_FAILED) return fail(ErrorKind::Failed, "code cache of {} MiB: {}", bytes >> 20, std::strerror(errno));
    void* x = mremap(w, 0, bytes, MREMAP_MAYMOVE);  // of size 0: the same memory once more
    if (x == MAP_FAILED || mprotect(x, bytes, PROT_READ | PROT_EXEC) != 0) {
        const int error = errno;
        munmap(w, bytes);
        if (x != MAP_FAILED) munmap(x, bytes);
        return fail(ErrorKind::Failed, "code cache: the host allows no new executable memory: {}", std::strerror(error));
    }
    return CodeCache(static_cast<uint8_t*>(w), static_cast<const uint8_t*>(x), bytes);
}

CodeCache::CodeCache(CodeCache&& other) noexcept
    : writable_(std::exchange(other.writable_, nullptr)), executable_(other.executable_), size_(other.size_) {}

CodeCache::~CodeCache() {
    if (!writable_) return;
    munmap(writable_, size_);
    munmap(const_cast<uint8_t*>(executable_), size_);
}

void CodeCache::discard(size_t from) const {
    const size_t page = (from + 4095) & ~size_t{4095};
    if (page < size_) (void)madvise(writable_ + page, size_ - page, MADV_REMOVE);
}

}  // namespace yado::cpu_bt
