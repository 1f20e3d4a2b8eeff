// A host process that mirrors a guest's user address space and runs the guest's user code natively: the prototype of
// docs/adr/0007-direct-execution.md. Nothing of Yado is built on it yet.
//
//   create(): fork -> the child gives up all of its memory but two pages of ours (the stub, stub.S) -> two tasks share what is left:
//     the mapper   runs only the stub: mmap, munmap, mprotect from a list that it can read and not write. Seccomp allows it those three,
//                  from one instruction, and kills it for anything else.
//     the runner   runs only guest code. It is resumed by PTRACE_SYSEMU only, which does no system call, and behind that seccomp traps
//                  every one, whatever its number and entry.
//   Both are traced by the thread that made them, which is also the only one that may call anything here but kick().
//
//   run():  registers in -> the runner goes on -> it stops for a system call, fault, trap or kick -> registers out.
// Linux 5.9 or later, x86-64.
#pragma once

#include <sys/types.h>
#include <sys/user.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/error.h"
#include "base/fd.h"

namespace yado::direct {

/// All that 64-bit user code can see of a processor. Segment selectors are not taken from here, only the bases of FS and GS. `xsave` is an
/// XSAVE area in standard format.
struct UserState {
    user_regs_struct regs{};
    alignas(64) std::array<std::byte, 16384> xsave{};  ///< 11008 bytes are used where there is AMX
    size_t xsave_bytes = 0;  ///< 0: not known yet
};

/// Why the runner stopped.
struct Stop {
    enum class Why : uint8_t {
        Syscall,  ///< SYSCALL, INT 80h or a vsyscall; RIP is behind the instruction (vsyscall: at it)
        Fault,    ///< a page is missing or lacks a right: `address`
        General,  ///< #GP and what Linux reports like it, CPUID and RDTSC where they are made to fault
        Illegal,  ///< #UD
        Trap,     ///< INT3, single step
        Other,    ///< a signal without a case of its own
        Kick,
        Gone,     ///< the process is dead
    };
    Why why = Why::Gone;
    int signal = 0;
    int code = 0;
    uint64_t address = 0;
};

enum class Rights : uint8_t { Read, ReadWrite, ReadExecute };

/// One change of the mirror. `offset` is into the guest's memory.
struct Change {
    enum class Kind : uint8_t { Map, Unmap, Protect };
    Kind kind;
    uint64_t address;
    uint64_t bytes;
    uint64_t offset = 0;
    Rights rights = Rights::Read;
    bool populate = false;  ///< Map: at once, not at the first touch
};

enum class Tsc : uint8_t { Native, Faults };
enum class Vectors : uint8_t { Leave, Move };

class Space {
  public:
    /// `ram`: the guest's memory (a memfd). Errors: Failed, Denied (no ptrace, no seccomp, no memory).
    static Result<std::unique_ptr<Space>> create(int ram, Tsc tsc = Tsc::Native);
    ~Space();
    Space(const Space&) = delete;

    /// Makes the changes in their order. Errors: OutOfRange (touches the stub or lies outside user space: nothing was done),
    /// Failed (the host refuses; what came before it is done).
    Result<> change(std::span<const Change> changes);
    /// Runs until something stops it. With Vectors::Leave the runner keeps x87 and vector registers as they are.
    Result<Stop> run(UserState& state, Vectors vectors);
    /// Reads the vector registers that runs with Vectors::Leave have left in the runner, and nothing else.
    Result<> fetch_vectors(UserState& state);
    /// Stops run() from another thread, or the next one if none is running. May come late, never gets lost.
    void kick() const;

    /// Whether the instruction comes back as Stop::Why::General. Tried: hosts that accept the request may not keep it.
    bool cpuid_faults() const { return cpuid_faults_; }
    bool tsc_faults() const { return tsc_faults_; }
    pid_t runner() const { return runner_; }
    pid_t mapper() const { return mapper_; }

    /// Where our two pages are: the last ones of user space.
    static constexpr uint64_t kUserEnd = 0x7fff'ffff'f000, kStub = kUserEnd - 0x2000;

  private:
    Space() = default;
    Result<> make_stub();
    Result<> begin(int ram, Tsc tsc);
    Result<> attach();
    Result<bool> faults_at(const std::byte* instruction);
    Result<> make_batch(std::span<const Change> changes);
    Result<> check(const Change& change) const;
    Result<> put(const UserState& state, Vectors vectors);
    Result<> get(UserState& state, Vectors vectors);

    Fd stub_;
    std::byte* shared_ = nullptr;  ///< the stub's pages, writable
    pid_t mapper_ = -1, runner_ = -1;
    bool cpuid_faults_ = false, tsc_faults_ = false;
};

}  // namespace yado::direct
