#include "guest.h"

#include "cpu_bt/test_tier.h"
#include "cpu_interp/tier.h"

#include <stdexcept>

namespace yado::oracle {

namespace {

// Guest-physical layout.
constexpr uint64_t kPml4 = 0x1000, kPdpt = 0x2000, kPd = 0x3000, kCodePt = 0x4000, kWindowPt = 0x5000, kSystemPdpt = 0x6000, kSystemPd = 0x7000;
constexpr uint64_t kGdt = 0x8000, kTss = 0x9000, kLdt = 0xa000, kCodePage = 0x10000, kWindowPages = 0x20000;
constexpr uint64_t kSystem = 0xffff'c000'0000'0000;   ///< linear address of guest-physical 0: descriptor tables, supervisor only
constexpr uint64_t kPresent = 1, kWritable = 2, kUser = 4, kNoExecute = 1ull << 63;

constexpr size_t kXstateBv = 512, kYmm = 576;   // SDM vol. 1, 13.4

template <typename T>
void must(const Result<T>& result) {
    if (!result) throw std::runtime_error(result.error().message());
}

/// Linux's user-visible segments (arch/x86/kernel/cpu/common.c, gdt_page), so that LAR, LSL and loads agree with the host.
constexpr uint64_t kGdtEntries[16] = {0, 0x00cf9b000000ffff, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00cffb000000ffff,
                                      0x00cff3000000ffff, 0x00affb000000ffff, 0, 0x00008b0090000067, 0,
                                      0, 0, 0, 0, 0, 0x0040f50000000000};

cpu::Segment segment(uint16_t selector, uint32_t attr) { return {selector, attr, 0xffffffff, 0}; }

constexpr uint64_t descriptor(uint64_t base, uint64_t limit, uint64_t access) {
    return limit | (base & 0xffffff) << 16 | access << 40 | base >> 24 << 56;
}

void enter_mode(Mode mode, cpu::CpuState* state) {
    if (mode == Mode::Long) return;
    state->seg[cpu::CS] = segment(kFlat32Code, 0xc0fb);
    state->seg[cpu::FS] = state->seg[cpu::GS] = {0, 0x10000, 0, 0};
    if (mode == Mode::Flat32) return;
    state->seg[cpu::CS] = {kCode16, 0x00fb, kPage - 1, kCode};
    state->seg[cpu::DS] = state->seg[cpu::ES] = state->seg[cpu::SS] = {kData16, 0x00f3, kWindowSize - 1, kWindow};
}

}  // namespace

struct Guest::Devices final : cpu::DeviceAccess {
    uint64_t port_read(Port, unsigned) override { return ~0ull; }
    void port_write(Port, unsigned, uint64_t) override {}
    uint64_t mmio_read(GuestPhysAddr, unsigned) override { return ~0ull; }
    void mmio_write(GuestPhysAddr, unsigned, uint64_t) override {}
};

Guest::Guest(Runner runner, Segments segments) : runner_(runner), devices_(std::make_unique<Devices>()) {
    must(memory_.add_ram(GuestPhysAddr(0), 1_MiB));
    auto model = cpu::make_model("host", cpu_interp::supported_features(), 1, 1'000'000'000);
    must(model);
    model_ = *model;
    const cpu::VcpuWiring wiring{0, model_, memory_, *devices_, nullptr, nullptr, 1'000'000'000};
    stepper_ = std::make_unique<cpu_interp::Stepper>(wiring, cpu_interp::make_shared_state(memory_));
    const auto flags = runner == Runner::Strict ? cpu_bt::FlagMode::Strict : cpu_bt::FlagMode::Live;
    if (runner != Runner::Interpreter) must(stepper_->add_tier([=](cpu_interp::Core& core) { return cpu_bt::make_test_tier(core, flags, cpu_bt::Linking::Off); }));
    build_tables(segments);
}

Guest::~Guest() = default;

uint8_t* Guest::window() const { return reinterpret_cast<uint8_t*>(memory_.host_page(GuestPhysAddr(kWindowPages))); }

void Guest::build_tables(Segments segments) {
    const auto put = [&](uint64_t table, uint64_t index, uint64_t entry) { must(memory_.store(GuestPhysAddr(table + 8 * index), entry)); };
    const uint64_t all = kPresent | kWritable | kUser;
    put(kPml4, 0, kPdpt | all);
    put(kPdpt, 0, kPd | all);
    put(kPd, kCode >> 21, kCodePt | all);
    put(kPd, kWindow >> 21, kWindowPt | all);
    put(kCodePt, kCode >> 12 & 511, kCodePage | all);
    for (uint64_t page = 0; page < kWindowSize / kPage; ++page)
        put(kWindowPt, (kWindow >> 12 & 511) + page,
            (kWindowPages + page * kPage) | kPresent | kUser | kNoExecute | (page * kPage < kWindowWritable ? kWritable : 0));
    for (unsigned i = 0; i < 16; ++i) put(kGdt, i, i == kFlat32Code >> 3 && !segments.code32 ? 0 : kGdtEntries[i]);
    put(kPml4, kSystem >> 39 & 511, kSystemPdpt | kPresent | kWritable);
    put(kSystemPdpt, 0, kSystemPd | kPresent | kWritable);
    put(kSystemPd, 0, 0x80 | kPresent | kWritable);
    must(memory_.store(GuestPhysAddr(kTss + 102), uint16_t{0x68}));   // no I/O permission bitmap

    base_ = cpu::reset_state();
    base_.seg[cpu::CS] = segment(0x33, 0xa0fb);
    base_.seg[cpu::SS] = base_.seg[cpu::DS] = base_.seg[cpu::ES] = segment(0x2b, 0xc0f3);
    base_.seg[cpu::FS] = {0, 0x10000, 0, kFsBase};
    base_.seg[cpu::GS] = {0, 0x10000, 0, kGsBase};
    base_.gdtr = {127, kSystem + kGdt};
    base_.idtr = {0, 0};
    base_.tr = {0x40, 0x8b, 0x67, kSystem + kTss};
    base_.ldtr = {0x50, 0x82, 23, kSystem + kLdt};
    if (segments.local) {
        put(kLdt, kCode16 >> 3, descriptor(kCode, kPage - 1, 0xfb));
        put(kLdt, kData16 >> 3, descriptor(kWindow, kWindowSize - 1, 0xf3));
    }
    base_.cr0 = cpu::cr0::PE | cpu::cr0::MP | cpu::cr0::ET | cpu::cr0::NE | cpu::cr0::WP | cpu::cr0::AM | cpu::cr0::PG;
    base_.cr3 = kPml4;
    base_.cr4 = cpu::cr4::PAE | cpu::cr4::OSFXSR | cpu::cr4::OSXMMEXCPT | cpu::cr4::OSXSAVE | cpu::cr4::FSGSBASE | cpu::cr4::UMIP;
    base_.efer = cpu::efer::SCE | cpu::efer::LME | cpu::efer::LMA | cpu::efer::NXE;
    base_.xcr0 = model_.supported_xcr0();
}

/// The rest of the page as the host has it: HLT. A case may have stored there.
void Guest::put_code(const Case& test) {
    std::array<std::byte, kPage> page;
    page.fill(std::byte{0xf4});
    const uint64_t offset = test.at - kCode;
    std::ranges::copy(std::as_bytes(std::span(test.code)).first(std::min<size_t>(test.code.size(), kPage - offset)), page.begin() + static_cast<long>(offset));
    must(memory_.write(GuestPhysAddr(kCodePage), std::span(page)));
}

/// The translator runs into the HLT behind the case, which is no part of it.
std::optional<cpu_interp::Stepper::Fault> Guest::step(const Case& test, cpu::CpuState& state) {
    if (runner_ == Runner::Interpreter) return stepper_->step_raw(state);
    // One case in four finds the TLB empty, so that misses and fast paths are both seen.
    static constexpr cpu_interp::Stepper::Known kWindowPagesKnown[] = {
        {kWindow, true}, {kWindow + kPage, true}, {kWindow, false}, {kWindow + kPage, false}, {kWindow + 2 * kPage, false}};
    std::span<const cpu_interp::Stepper::Known> known(kWindowPagesKnown);
    if (cases_++ % 4 == 0) known = {};
    auto fault = stepper_->block_raw(state, known);
    const bool behind = state.rip - kCode < kPage && state.rip - test.at >= test.code.size();
    if (fault && fault->vector == 13 && behind) fault.reset();
    return fault;
}

Outcome Guest::run(const Case& test) {
    put_code(test);
    cpu::CpuState state = base_;
    enter_mode(test.mode, &state);
    state.gpr = test.in.gpr;
    state.rip = test.mode == Mode::Segmented16 ? test.at - kCode : test.at;
    state.rflags = test.in.rflags;
    std::copy(test.in.fx.begin(), test.in.fx.end(), state.xsave.bytes.begin());
    std::copy(test.in.high.begin(), test.in.high.end(), state.xsave.bytes.begin() + kYmm);
    state.xsave.bytes[kXstateBv] = static_cast<uint8_t>(base_.xcr0);

    Outcome result;
    const uint64_t end = state.rip + test.code.size();
    while (result.steps < test.instructions && !result.trapped) {
        const auto fault = step(test, state);
        ++result.steps;
        result.trapped = fault.has_value();
        if (fault) result.trap = {fault->vector, fault->error.value_or(0), fault->vector == 14 ? fault->cr2 : 0};
        if (test.instructions > 1 && state.rip == end) break;
    }
    result.out.gpr = state.gpr;
    result.out.rip = state.rip;
    result.out.rflags = state.rflags;
    std::copy_n(state.xsave.bytes.begin(), 512, result.out.fx.begin());
    if (state.xsave.bytes[kXstateBv] & cpu::kXcr0Avx) std::copy_n(state.xsave.bytes.begin() + kYmm, 256, result.out.high.begin());
    for (unsigned i = 0; i < 6; ++i) result.out.selectors[i] = state.seg[i].selector;
    return result;
}

}  // namespace yado::oracle
