#include "bare_machine.h"

#include <elf.h>

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <fstream>
#include <mutex>
#include <thread>
#include <vector>

#include "cpu_bt/test_tier.h"
#include "cpu_interp/interp.h"
#include "cpu_interp/tier.h"

namespace yado::payload {

namespace {

constexpr Bytes kRam = 16_MiB;
constexpr uint64_t kTscHz = 1'000'000'000;
constexpr uint32_t kBootMagic = 0x2badb002;
constexpr uint16_t kCom1 = 0x3f8, kLineStatus = 5, kDebugExit = 0xf4;
constexpr uint8_t kTransmitterEmpty = 0x60;

struct Ports final : cpu::DeviceAccess {
    explicit Ports(Report& run) : run(run) {}
    uint64_t port_read(Port port, unsigned size) override {
        return port.value() == kCom1 + kLineStatus ? kTransmitterEmpty : ~0ull >> (64 - 8 * size);
    }
    void port_write(Port port, unsigned, uint64_t value) override {
        if (port.value() == kCom1) run.output += static_cast<char>(value);
        if (port.value() == kDebugExit) run.exit = static_cast<uint8_t>(value);
    }
    uint64_t mmio_read(GuestPhysAddr, unsigned size) override { return ~0ull >> (64 - 8 * size); }
    void mmio_write(GuestPhysAddr, unsigned, uint64_t) override {}
    Report& run;
};

template <typename T>
Result<T> at(const std::vector<char>& file, uint64_t offset) {
    T value;
    if (offset > file.size() || file.size() - offset < sizeof value) return fail(ErrorKind::Corrupt, "truncated ELF");
    std::memcpy(&value, file.data() + offset, sizeof value);
    return value;
}

/// Returns the entry point.
Result<uint32_t> load(const std::string& path, mem::GuestMemory& memory) {
    std::ifstream in(path, std::ios::binary);
    if (!in) return fail(ErrorKind::NotFound, "{}: cannot be read", path);
    const std::vector<char> file((std::istreambuf_iterator<char>(in)), {});
    const auto header = YADO_TRY(at<Elf32_Ehdr>(file, 0));
    for (unsigned i = 0; i < header.e_phnum; ++i) {
        const auto segment = YADO_TRY(at<Elf32_Phdr>(file, header.e_phoff + i * sizeof(Elf32_Phdr)));
        if (segment.p_type != PT_LOAD) continue;
        if (segment.p_offset > file.size() || segment.p_filesz > file.size() - segment.p_offset) return fail(ErrorKind::Corrupt, "truncated ELF");
        YADO_TRY(memory.write(GuestPhysAddr(segment.p_paddr), std::as_bytes(std::span(file).subspan(segment.p_offset, segment.p_filesz))));
    }
    return header.e_entry;
}

/// Multiboot 0.6.96, 3.2: flat 32-bit protected mode, EAX the magic number.
cpu::CpuState entry_state(uint32_t entry) {
    cpu::CpuState s = cpu::reset_state();
    for (cpu::Segment& segment : s.seg) segment = {0x10, 0xc093, 0xffffffff, 0};
    s.seg[cpu::CS] = {0x08, 0xc09b, 0xffffffff, 0};
    s.cr0 = cpu::cr0::PE | cpu::cr0::ET;
    s.gpr = {};
    s.gpr[cpu::RAX] = kBootMagic;
    s.rip = entry;
    return s;
}

/// Kicks the vCPU when the time is over.
class Watchdog {
  public:
    Watchdog(cpu::Vcpu& vcpu, std::chrono::seconds limit)
        : thread_([this, &vcpu, limit] {
              std::unique_lock lock(mutex_);
              if (!done_.wait_for(lock, limit, [this] { return over_; })) expired_ = true, vcpu.kick();
          }) {}
    ~Watchdog() {
        {
            std::lock_guard lock(mutex_);
            over_ = true;
        }
        done_.notify_all();
        thread_.join();
    }
    bool expired() const { return expired_; }

  private:
    std::mutex mutex_;
    std::condition_variable done_;
    bool over_ = false;
    std::atomic<bool> expired_{false};
    std::thread thread_;
};

}  // namespace

Result<Report> run(const std::string& path, Runner runner, std::chrono::seconds limit) {
    mem::GuestMemory memory;
    YADO_TRY(memory.add_ram(GuestPhysAddr(0), kRam));
    const uint32_t entry = YADO_TRY(load(path, memory));
    const cpu::CpuModel model = YADO_TRY(cpu::make_model("x86-64-v2", cpu_interp::supported_features(), 1, kTscHz));

    Report result;
    Ports ports(result);
    const cpu::VcpuWiring wiring{0, model, memory, ports, nullptr, nullptr, kTscHz};
    cpu_interp::TierFactory make_tier;
    if (runner == Runner::Translator)
        make_tier = [](cpu_interp::Core& core) { return cpu_bt::make_test_tier(core, cpu_bt::FlagMode::Live, cpu_bt::Linking::On); };
    const auto vcpu = YADO_TRY(cpu_interp::make_vcpu(wiring, cpu_interp::make_shared_state(memory), make_tier));
    YADO_TRY(vcpu->set_state(entry_state(entry)));
    Watchdog watchdog(*vcpu, limit);
    while (!result.exit && !result.shut_down) {
        const cpu::Exit exit = vcpu->run();
        if (const auto* shutdown = std::get_if<cpu::ShutdownRequest>(&exit)) {
            if (shutdown->cause != cpu::ShutdownCause::TripleFault) return fail(ErrorKind::Failed, "{}", shutdown->detail);
            result.shut_down = true;
        }
        if (std::holds_alternative<cpu::Halted>(exit) && !result.exit) return fail(ErrorKind::Failed, "halted for good; output so far:\n{}", result.output);
        if (watchdog.expired()) return fail(ErrorKind::TimedOut, "not done in time; output so far:\n{}", result.output);
    }
    result.instructions = vcpu->instructions();
    return result;
}

}  // namespace yado::payload
