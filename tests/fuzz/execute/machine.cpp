#include "machine.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <mutex>
#include <stdexcept>

#include "cpu_bt/test_tier.h"
#include "cpu_interp/interp.h"
#include "cpu_interp/tier.h"

namespace yado::execute {

namespace {

constexpr uint64_t kTscHz = 1'000'000'000;
constexpr auto kEndless = std::chrono::milliseconds(8);
constexpr auto kBeat = std::chrono::microseconds(150);

// Guest-physical and, for the supervisor, linear.
constexpr uint64_t kPml4 = 0x1000, kPdpt = 0x2000, kPd = 0x3000, kLowPt = 0x4000, kCodePt = 0x5000, kAliasPt = 0x6000, kDataPt = 0x7000;
constexpr uint64_t kGdt = 0x8000, kIdt = 0x9000, kStubs = 0xa000, kCommon = 0xb000, kSyscall = 0xb100, kCount = 0xc000, kTss = 0xd000,
                   kInterruptStack = 0xf000, kKernelStack = 0x10000, kCodeFrames = 0x1'0000, kDataFrames = 0x2'0000;
constexpr uint64_t kDevice = 0x9000'0000;
constexpr uint64_t kPresent = 1, kWritable = 2, kUser = 4, kAccessed = 0x20, kDirty = 0x40, kLargePage = 0x80;

template <typename T>
T must(Result<T> result) {
    if (!result) throw std::runtime_error(result.error().message());
    if constexpr (!std::is_void_v<T>) return std::move(*result);
}

template <typename T>
void put(std::vector<std::byte>& ram, uint64_t at, const T& value) {
    std::memcpy(ram.data() + at, &value, sizeof value);
}
void put_bytes(std::vector<std::byte>& ram, uint64_t at, std::initializer_list<uint8_t> bytes) {
    for (const uint8_t b : bytes) ram[at++] = std::byte{b};
}

bool pushes_error(unsigned vector) { return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17; }

/// All accessed already: the translator looks up a call's target before it pushes, and a push that faults then leaves the target accessed,
/// which a processor may do, too (SDM vol. 3, 4.8).
void put_tables(std::vector<std::byte>& ram, Ring ring) {
    const uint64_t rights = kPresent | kWritable | (ring == Ring::User ? kUser : 0), all = kPresent | kWritable | kUser;
    const auto entry = [&](uint64_t table, uint64_t index, uint64_t value) { put(ram, table + 8 * index, value | kAccessed); };
    entry(kPml4, 0, kPdpt | all);
    entry(kPml4, 256, kPdpt | all);
    entry(kPdpt, 0, kPd | all);
    entry(kPd, 0, kLowPt | all);
    for (uint64_t page = 0; page < kRamBytes / kPage; ++page) entry(kLowPt, page, page * kPage | kPresent | kWritable);
    entry(kPd, kCode >> 21, kCodePt | all);
    entry(kPd, kCodeAlias >> 21, kAliasPt | all);
    for (uint64_t page = 0; page < kCodePages; ++page)
        for (const uint64_t table : {kCodePt, kAliasPt}) entry(table, page, (kCodeFrames + page * kPage) | rights);
    entry(kPd, kData >> 21, kDataPt | all);
    for (uint64_t page = 0; page <= kDataPages; ++page)
        entry(kDataPt, page, (kDataFrames + page * kPage) | (rights & (page == kDataPages ? ~kWritable : ~0ull)));
    entry(kDataPt, kDataPages + 1, kDevice | rights);
    entry(kPd, kLarge >> 21, rights | kLargePage);
}

void put_gate(std::vector<std::byte>& ram, unsigned vector) {
    const uint64_t at = kStubs + 16 * vector;
    const uint64_t type = vector >= 0x80 || vector == 3 || vector == 4 ? 0xee : 0x8e;
    put(ram, kIdt + 16 * vector, (at & 0xffff) | 8ull << 16 | 1ull << 32 | type << 40 | at >> 16 << 48);
    uint64_t code = at;
    if (!pushes_error(vector)) put_bytes(ram, code, {0x6a, 0x00}), code += 2;     // push 0
    put_bytes(ram, code, {0xe9});                                                 // jmp kCommon
    put(ram, code + 1, static_cast<uint32_t>(kCommon - code - 5));
}

void put_handlers(std::vector<std::byte>& ram) {
    for (unsigned vector = 0; vector < 256; ++vector) put_gate(ram, vector);
    put_bytes(ram, kCommon, {0xff, 0x04, 0x25, 0x00, 0xc0, 0x00, 0x00,            // inc dword [kCount]
                             0x83, 0x3c, 0x25, 0x00, 0xc0, 0x00, 0x00, kFaults,   // cmp dword [kCount], kFaults
                             0x7f, 0x0b,                                          // jg halt
                             0x48, 0xff, 0x44, 0x24, 0x08,                        // inc qword [rsp + 8]
                             0x48, 0x83, 0xc4, 0x08, 0x48, 0xcf,                  // add rsp, 8; iretq
                             0xf4, 0xeb, 0xfd});                                  // halt: hlt; jmp halt
    put_bytes(ram, kSyscall, {0x48, 0x0f, 0x07});                                 // sysretq
}

void put_segments(std::vector<std::byte>& ram) {
    const uint64_t gdt[] = {0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00cffb000000ffff, 0x00cff3000000ffff, 0x00affb000000ffff,
                            0x00cff3000000ffff, 0x00cf9b000000ffff, 0x67 | kTss << 16 | 0x8bull << 40, 0};
    for (unsigned n = 0; n < std::size(gdt); ++n) put(ram, kGdt + 8 * n, gdt[n]);
    put(ram, kTss + 4, kKernelStack);
    put(ram, kTss + 36, kInterruptStack);
    put(ram, kTss + 102, uint16_t{0x68});
}

std::vector<std::byte> image_of(Ring ring) {
    std::vector<std::byte> ram(kRamBytes);
    put_tables(ram, ring);
    put_handlers(ram);
    put_segments(ram);
    for (uint64_t n = 0; n < kPage; ++n) ram[kDataFrames + kDataPages * kPage + n] = static_cast<std::byte>(n * 7);
    return ram;
}

}  // namespace

/// Answers by a rule, notes what was asked. Kicks the vCPU now and then: a request in the middle of an instruction.
struct Machine::Devices final : cpu::DeviceAccess {
    uint64_t note(uint64_t kind, uint64_t where, uint64_t value) {
        hash = (hash ^ kind ^ where * 0x9e3779b97f4a7c15 ^ value) * 0xff51afd7ed558ccd;
        if (++count % 3 == 0 && requests == Requests::Many) vcpu->kick();
        return hash;
    }
    static uint64_t low(unsigned size) { return ~0ull >> (64 - 8 * size); }
    uint64_t port_read(Port port, unsigned size) override { return note(size, port.value(), 1) & low(size); }
    void port_write(Port port, unsigned size, uint64_t value) override { note(16 + size, port.value(), value); }
    uint64_t mmio_read(GuestPhysAddr at, unsigned size) override { return note(32 + size, at.value(), 2) & low(size); }
    void mmio_write(GuestPhysAddr at, unsigned size, uint64_t value) override { note(48 + size, at.value(), value); }
    uint64_t count = 0, hash = 0;
    cpu::Vcpu* vcpu = nullptr;
    Requests requests = Requests::None;
};

Machine::Machine(Runner runner) : devices_(std::make_unique<Devices>()), image_{image_of(Ring::Kernel), image_of(Ring::User)} {
    must(memory_.add_ram(GuestPhysAddr(0), Bytes(kRamBytes)));
    model_ = must(cpu::make_model("host", cpu_interp::supported_features(), 1, kTscHz));
    cpu_interp::TierFactory make_tier;
    if (runner == Runner::Translator)
        make_tier = [](cpu_interp::Core& core) { return cpu_bt::make_test_tier(core, cpu_bt::FlagMode::Strict, cpu_bt::Linking::On); };
    const cpu::VcpuWiring wiring{0, model_, memory_, *devices_, nullptr, nullptr, kTscHz};
    vcpu_ = must(cpu_interp::make_vcpu(wiring, cpu_interp::make_shared_state(memory_), make_tier));
    devices_->vcpu = vcpu_.get();
}

Machine::~Machine() = default;

cpu::CpuState Machine::base(Ring ring) const {
    cpu::CpuState s = cpu::reset_state();
    const bool user = ring == Ring::User;
    s.seg[cpu::CS] = user ? cpu::Segment{0x2b, 0xa0fb, 0xffffffff, 0} : cpu::Segment{0x08, 0xa09b, 0xffffffff, 0};
    for (const cpu::SegReg r : {cpu::SS, cpu::DS, cpu::ES})
        s.seg[r] = user ? cpu::Segment{0x23, 0xc0f3, 0xffffffff, 0} : cpu::Segment{0x10, 0xc093, 0xffffffff, 0};
    s.seg[cpu::FS] = {0, 0x10000, 0, kData + 0x100};
    s.seg[cpu::GS] = {0, 0x10000, 0, kHigh + kData + kPage};
    s.gdtr = {79, kGdt};
    s.idtr = {4095, kIdt};
    s.tr = {0x40, 0x8b, 0x67, kTss};
    s.ldtr = {0, 0x10082, 0, 0};
    s.cr0 = cpu::cr0::PE | cpu::cr0::MP | cpu::cr0::ET | cpu::cr0::NE | cpu::cr0::WP | cpu::cr0::PG;
    s.cr3 = kPml4;
    s.cr4 = cpu::cr4::PAE | cpu::cr4::OSFXSR | cpu::cr4::OSXMMEXCPT | cpu::cr4::OSXSAVE | cpu::cr4::PGE;
    s.efer = cpu::efer::SCE | cpu::efer::LME | cpu::efer::LMA | cpu::efer::NXE;
    s.xcr0 = model_.supported_xcr0();
    s.msrs[cpu::msr::IA32_STAR] = 0x18ull << 48 | 8ull << 32;
    s.msrs[cpu::msr::IA32_LSTAR] = kSyscall;
    s.msrs[cpu::msr::IA32_FMASK] = 0x700;
    return s;
}

std::vector<std::byte> Machine::ram_of(const Case& test) const {
    std::vector<std::byte> ram = image_[static_cast<int>(test.ring)];
    std::fill_n(ram.begin() + kCodeFrames, kCodePages * kPage, std::byte{0xf4});   // HLT
    for (size_t n = 0; n < test.code.size() && test.at - kCode + n < kCodePages * kPage; ++n) ram[kCodeFrames + test.at - kCode + n] = std::byte{test.code[n]};
    std::memcpy(ram.data() + kDataFrames, test.data.data(), test.data.size());
    put(ram, kCount, -test.more_faults);
    return ram;
}

/// Page by page, so that code which is as it was stays decoded.
void Machine::reset(const Case& test) {
    const std::vector<std::byte> ram = ram_of(test);
    for (uint64_t at = 0; at < kRamBytes; at += kPage) {
        if (std::memcmp(memory_.host_page(GuestPhysAddr(at)), ram.data() + at, kPage) == 0) continue;
        must(memory_.write(GuestPhysAddr(at), std::span(ram).subspan(at, kPage)));
    }
}

Outcome Machine::run(const Case& test, Requests requests) {
    reset(test);
    devices_->requests = requests;
    devices_->count = devices_->hash = 0;
    Outcome result;
    result.ring = test.ring;
    if (const auto set = vcpu_->set_state(test.state); !set) {
        result.end = End::Failed;
        result.failure = set.error().message();
        return result;
    }
    Metronome::instance().watch(vcpu_.get(), requests);
    const auto end = std::chrono::steady_clock::now() + kEndless;
    cpu::Exit exit = cpu::Kicked{};
    for (; std::holds_alternative<cpu::Kicked>(exit) && (result.kicks == 0 || std::chrono::steady_clock::now() < end); ++result.kicks) exit = vcpu_->run();
    if (!std::holds_alternative<cpu::Kicked>(exit)) {
        result.end = End::Halted;
        if (const auto* shutdown = std::get_if<cpu::ShutdownRequest>(&exit)) {
            result.end = shutdown->cause == cpu::ShutdownCause::TripleFault ? End::TripleFault : End::Failed;
            result.failure = shutdown->detail;
        }
    }
    Metronome::instance().watch(nullptr, requests);
    result.state = must(vcpu_->get_state());
    result.accesses = devices_->count;
    result.access_hash = devices_->hash;
    result.ram.resize(kRamBytes);
    must(memory_.read(GuestPhysAddr(0), result.ram));
    return result;
}

bool Machine::tables_changed(const Outcome& outcome) const {
    const std::vector<std::byte>& before = image_[static_cast<int>(outcome.ring)];
    for (uint64_t at = kPml4; at < kDataPt + kPage; ++at) {
        const std::byte dirty = at % 8 == 0 ? std::byte{kDirty} : std::byte{0};
        if ((outcome.ram[at] & ~dirty) != (before[at] & ~dirty)) return true;
    }
    return false;
}

bool Machine::code_changed(const Case& test, const Outcome& outcome) const {
    const std::vector<std::byte> before = ram_of(test);
    return !std::equal(before.begin() + kCodeFrames, before.begin() + kCodeFrames + kCodePages * kPage, outcome.ram.begin() + kCodeFrames);
}

// --- Metronome -----------------------------------------------------------------------------------------------------------------

Metronome& Metronome::instance() {
    static Metronome one;
    return one;
}

Metronome::Metronome()
    : thread_([this](const std::stop_token& stop) {
          while (!stop.stop_requested()) {
              std::this_thread::sleep_for(kBeat);
              const std::lock_guard lock(mutex_);
              if (vcpu_ && std::chrono::steady_clock::now() >= from_) vcpu_->kick();
          }
      }) {}

void Metronome::watch(cpu::Vcpu* vcpu, Requests requests) {
    const std::lock_guard lock(mutex_);
    vcpu_ = vcpu;
    from_ = std::chrono::steady_clock::now() + (requests == Requests::Many ? kBeat * 0 : kEndless);
}

}  // namespace yado::execute
