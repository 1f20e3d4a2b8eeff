#include "cpu_bt/perf_files.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <ctime>
#include <map>
#include <vector>

#include "base/fd.h"
#include "base/guarded.h"

namespace yado::cpu_bt {

namespace {

/// All or nothing of it counts: the caller stops at the first failure.
bool write_all(int fd, const void* data, size_t size) { return write(fd, data, size) == static_cast<ssize_t>(size); }

// --- map ------------------------------------------------------------------------------------------------------------------

class PerfMap final : public PerfFile {
  public:
    explicit PerfMap(Fd file) : state_(State{std::move(file), {}}) {}

    void add(Code code, std::string_view name) override {
        const std::string line = fmt::format("{:x} {:x} {}\n", reinterpret_cast<uintptr_t>(code.data()), code.size(), name);
        auto state = state_.lock();
        state->lines[code.data()] = line;
        if (state->file && !write_all(state->file.get(), line.data(), line.size())) state->file.reset();
    }
    void drop(Code code) override {
        auto state = state_.lock();
        state->lines.erase(state->lines.lower_bound(code.data()), state->lines.lower_bound(code.data() + code.size()));
        if (!state->file || ftruncate(state->file.get(), 0) != 0) return;
        std::string all;
        for (const auto& [at, line] : state->lines) all += line;
        if (!write_all(state->file.get(), all.data(), all.size())) state->file.reset();
    }

  private:
    struct State {
        Fd file;
        std::map<const uint8_t*, std::string> lines;
    };
    Guarded<State, LockRank::Leaf> state_;
};

// --- jitdump (tools/perf/Documentation/jitdump-specification.txt) -----------------------------------------------------------

struct DumpHeader {
    uint32_t magic = 0x4a695444, version = 1, total_size = sizeof(DumpHeader), elf_mach = EM_X86_64, pad1 = 0, pid = 0;
    uint64_t timestamp = 0, flags = 0;
};
static_assert(sizeof(DumpHeader) == 40);

enum class RecordId : uint32_t { CodeLoad = 0, CodeClose = 3 };
struct RecordHeader {
    RecordId id;
    uint32_t total_size;
    uint64_t timestamp;
};
struct CodeLoad {
    RecordHeader header;
    uint32_t pid, tid;
    uint64_t vma, code_addr, code_size, code_index;
};
static_assert(sizeof(CodeLoad) == 56);

/// The clock of `perf record -k mono`.
uint64_t now() {
    timespec t{};
    clock_gettime(CLOCK_MONOTONIC, &t);
    return static_cast<uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(t.tv_nsec);
}

class JitDump final : public PerfFile {
  public:
    JitDump(Fd file, void* marker) : state_(State{std::move(file), 0}), marker_(marker) {}
    ~JitDump() override {
        const RecordHeader close{RecordId::CodeClose, sizeof(RecordHeader), now()};
        if (auto state = state_.lock(); state->file) (void)write_all(state->file.get(), &close, sizeof close);
        munmap(marker_, 4096);
    }

    void add(Code code, std::string_view name) override {
        const auto address = reinterpret_cast<uint64_t>(code.data());
        const size_t size = sizeof(CodeLoad) + name.size() + 1 + code.size();
        auto state = state_.lock();  // also keeps time stamps in order
        const CodeLoad load{{RecordId::CodeLoad, static_cast<uint32_t>(size), now()}, static_cast<uint32_t>(getpid()), static_cast<uint32_t>(gettid()),
                            address, address, code.size(), state->count++};
        std::vector<uint8_t> record(reinterpret_cast<const uint8_t*>(&load), reinterpret_cast<const uint8_t*>(&load + 1));
        record.insert(record.end(), name.begin(), name.end());
        record.push_back(0);
        record.insert(record.end(), code.begin(), code.end());
        if (state->file && !write_all(state->file.get(), record.data(), record.size())) state->file.reset();
    }
    void drop(Code) override {}  // what is loaded there later takes its place

  private:
    struct State {
        Fd file;
        uint64_t count;
    };
    Guarded<State, LockRank::Leaf> state_;
    void* marker_;
};

}  // namespace

Result<std::unique_ptr<PerfFile>> make_perf_map() {
    const std::string path = fmt::format("/tmp/perf-{}.map", getpid());
    unlink(path.c_str());  // of a process that had this number before
    Fd file(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!file) return fail_errno("perf map " + path);
    return std::make_unique<PerfMap>(std::move(file));
}

/// perf finds the file by an executable mapping of it.
Result<std::unique_ptr<PerfFile>> make_jit_dump(const std::string& folder) {
    const std::string path = fmt::format("{}/jit-{}.dump", folder, getpid());
    Fd file(open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!file) return fail_errno("jitdump " + path);
    DumpHeader header;
    header.pid = static_cast<uint32_t>(getpid());
    header.timestamp = now();
    if (!write_all(file.get(), &header, sizeof header)) return fail_errno("jitdump " + path);
    void* marker = mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, file.get(), 0);
    if (marker == MAP_FAILED) return fail_errno("jitdump " + path);
    return std::make_unique<JitDump>(std::move(file), marker);
}

}  // namespace yado::cpu_bt
