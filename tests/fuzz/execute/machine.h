// A machine for random code: RAM with page tables, descriptors and exception handlers, code and data pages, and one vCPU. Its handlers go
// on one byte behind what has faulted, until there were enough faults; then they halt. Thread: one a machine, and the Metronome's.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "cpu/cpu_model.h"
#include "cpu/vcpu.h"
#include "mem/guest_memory.h"

namespace yado::execute {

/// Linear addresses, each of them also at kHigh. Low memory is identity-mapped, for the supervisor only. Code pages are mapped
/// a second time as data; behind four pages of data lie one that is read-only, one of a device, and one that is not there.
inline constexpr uint64_t kPage = 4096;
inline constexpr uint64_t kCode = 0x40'0000, kCodePages = 2, kCodeAlias = 0x60'0000;
inline constexpr uint64_t kData = 0x80'0000, kDataPages = 4;
inline constexpr uint64_t kLarge = 0xa0'0000;   ///< a large page over all of RAM
inline constexpr uint64_t kHigh = 0xffff'8000'0000'0000;
inline constexpr uint64_t kRamBytes = 0x2'8000;
inline constexpr int32_t kFaults = 24;          ///< as many are gone on from

enum class Ring : uint8_t { Kernel, User };

/// What runs: code bytes put to `at`, registers and flags as in `state` (only what Machine::base() leaves to the case).
struct Case {
    Ring ring = Ring::User;
    uint64_t at = kCode;
    std::vector<uint8_t> code;
    std::array<uint8_t, kDataPages * kPage> data{};
    int32_t more_faults = 0;        ///< beyond kFaults
    cpu::CpuState state;
};

enum class End : uint8_t { Halted, TripleFault, Failed, Endless };

struct Outcome {
    End end = End::Endless;
    Ring ring = Ring::User;
    cpu::CpuState state;
    std::vector<std::byte> ram;
    uint64_t accesses = 0, access_hash = 0;   ///< of devices
    std::string failure;
    uint64_t kicks = 0;
};

/// Interpreter; translator of flags that are exact in every exception's frame, every block translated at once.
enum class Runner : uint8_t { Interpreter, Translator };

/// Whether requests of other threads come all the time. Where one comes in the middle of a REP instruction that overwrites itself,
/// and how often, is to be seen in the result.
enum class Requests : uint8_t { None, Many };

class Machine {
  public:
    explicit Machine(Runner runner);
    ~Machine();
    Machine(const Machine&) = delete;

    /// The state that a case begins with, before it changes it.
    cpu::CpuState base(Ring ring) const;
    Outcome run(const Case& test, Requests requests);
    /// The code wrote into its own page tables: what it then sees depends on what the TLB still knows (SDM vol. 3, 4.10.2.3).
    bool tables_changed(const Outcome& outcome) const;
    /// The code wrote into the pages that it was put into.
    bool code_changed(const Case& test, const Outcome& outcome) const;
    cpu::Vcpu& vcpu() { return *vcpu_; }

  private:
    struct Devices;
    std::vector<std::byte> ram_of(const Case& test) const;
    void reset(const Case& test);

    mem::GuestMemory memory_;
    std::unique_ptr<Devices> devices_;
    cpu::CpuModel model_;
    std::unique_ptr<cpu::Vcpu> vcpu_;
    std::array<std::vector<std::byte>, 2> image_;   ///< RAM by ring
};

/// Kicks the vCPU that runs, so that endless code ends, or again and again, so that requests come at any place.
class Metronome {
  public:
    Metronome();
    /// nullptr: nobody.
    void watch(cpu::Vcpu* vcpu, Requests requests);
    static Metronome& instance();

  private:
    std::mutex mutex_;
    cpu::Vcpu* vcpu_ = nullptr;
    std::chrono::steady_clock::time_point from_;   ///< no kick before
    std::jthread thread_;   // last: it uses the others
};

}  // namespace yado::execute
