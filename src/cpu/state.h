// The architectural state of one vCPU in the manual's terms: what is saved, migrated and passed between engines.
// Engines convert to and from it; none of their types appear here. Intel SDM vol. 1 chapter 3, vol. 3 chapter 2.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>

namespace yado::cpu {

enum Gpr : uint8_t { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };
enum SegReg : uint8_t { ES, CS, SS, DS, FS, GS };

/// A segment register with its hidden part. `attr` as in VMX (SDM vol. 3, 24.4.1): bits 3:0 type, 4 S, 6:5 DPL, 7 P,
/// 12 AVL, 13 L, 14 D/B, 15 G, 16 unusable. limit is in bytes, granularity already applied.
struct Segment {
    uint16_t selector = 0;
    uint32_t attr = 0;
    uint32_t limit = 0xffff;
    uint64_t base = 0;
    friend bool operator==(const Segment&, const Segment&) = default;
};

struct TableRegister {
    uint16_t limit = 0xffff;
    uint64_t base = 0;
    friend bool operator==(const TableRegister&, const TableRegister&) = default;
};

/// RFLAGS bits (SDM vol. 1, 3.4.3).
namespace rflags {
inline constexpr uint64_t CF = 1u << 0, PF = 1u << 2, AF = 1u << 4, ZF = 1u << 6, SF = 1u << 7, TF = 1u << 8, IF = 1u << 9,
                          DF = 1u << 10, OF = 1u << 11, IOPL = 3u << 12, NT = 1u << 14, RF = 1u << 16, VM = 1u << 17,
                          AC = 1u << 18, VIF = 1u << 19, VIP = 1u << 20, ID = 1u << 21, FIXED1 = 1u << 1;
inline constexpr uint64_t ARITH = CF | PF | AF | ZF | SF | OF;
}  // namespace rflags

namespace cr0 {
inline constexpr uint64_t PE = 1u << 0, MP = 1u << 1, EM = 1u << 2, TS = 1u << 3, ET = 1u << 4, NE = 1u << 5, WP = 1u << 16,
                          AM = 1u << 18, NW = 1u << 29, CD = 1u << 30, PG = 1u << 31;
}
namespace cr4 {
inline constexpr uint64_t VME = 1u << 0, PVI = 1u << 1, TSD = 1u << 2, DE = 1u << 3, PSE = 1u << 4, PAE = 1u << 5,
                          MCE = 1u << 6, PGE = 1u << 7, PCE = 1u << 8, OSFXSR = 1u << 9, OSXMMEXCPT = 1u << 10,
                          UMIP = 1u << 11, LA57 = 1u << 12, FSGSBASE = 1u << 16, PCIDE = 1u << 17, OSXSAVE = 1u << 18,
                          SMEP = 1u << 20, SMAP = 1u << 21;
}
namespace efer {
inline constexpr uint64_t SCE = 1u << 0, LME = 1u << 8, LMA = 1u << 10, NXE = 1u << 11;
}

/// MSR numbers (SDM vol. 4; KVM's paravirtual ones: Linux Documentation/virt/kvm/x86/msr.rst).
namespace msr {
inline constexpr uint32_t IA32_TSC = 0x10, IA32_APIC_BASE = 0x1b, IA32_FEATURE_CONTROL = 0x3a, IA32_TSC_ADJUST = 0x3b,
                          IA32_SPEC_CTRL = 0x48, IA32_PRED_CMD = 0x49, IA32_BIOS_UPDT_TRIG = 0x79, IA32_BIOS_SIGN_ID = 0x8b,
                          MSR_PLATFORM_INFO = 0xce, IA32_MTRRCAP = 0xfe, IA32_ARCH_CAPABILITIES = 0x10a,
                          IA32_SYSENTER_CS = 0x174, IA32_SYSENTER_ESP = 0x175, IA32_SYSENTER_EIP = 0x176,
                          IA32_MCG_CAP = 0x179, IA32_MCG_STATUS = 0x17a, IA32_MISC_ENABLE = 0x1a0,
                          IA32_MTRR_PHYSBASE0 = 0x200, IA32_MTRR_FIX64K_00000 = 0x250, IA32_PAT = 0x277,
                          IA32_MTRR_DEF_TYPE = 0x2ff, IA32_TSC_DEADLINE = 0x6e0, IA32_EFER = 0xc0000080,
                          IA32_STAR = 0xc0000081, IA32_LSTAR = 0xc0000082, IA32_CSTAR = 0xc0000083, IA32_FMASK = 0xc0000084,
                          IA32_FS_BASE = 0xc0000100, IA32_GS_BASE = 0xc0000101, IA32_KERNEL_GS_BASE = 0xc0000102,
                          IA32_TSC_AUX = 0xc0000103, MSR_KVM_WALL_CLOCK_NEW = 0x4b564d00, MSR_KVM_SYSTEM_TIME_NEW = 0x4b564d01,
                          MSR_KVM_ASYNC_PF_EN = 0x4b564d02, MSR_KVM_STEAL_TIME = 0x4b564d03, MSR_KVM_PV_EOI_EN = 0x4b564d04,
                          MSR_KVM_POLL_CONTROL = 0x4b564d05;
}

/// What a vCPU is doing.
enum class Activity : uint8_t { Running, Halted, WaitForSipi };

/// The 512-byte FXSAVE image, the XSAVE header and the extended components in the standard (non-compacted) format
/// (SDM vol. 1, 13.4). 64-byte aligned; large enough for x87, SSE, AVX.
struct alignas(64) XsaveArea {
    std::array<uint8_t, 1024> bytes{};
    friend bool operator==(const XsaveArea&, const XsaveArea&) = default;
};
inline constexpr uint64_t kXcr0X87 = 1, kXcr0Sse = 2, kXcr0Avx = 4;

/// Local APIC registers (SDM vol. 3, 11.4.1): the 4-byte registers at 16-byte steps, ID first, in xAPIC layout.
struct LapicState {
    std::array<uint32_t, 64> regs{};
    uint64_t apic_base = 0;
    uint64_t tsc_deadline = 0;
    bool sipi_pending = false;
    uint8_t sipi_vector = 0;
    bool nmi_pending = false;
    bool init_pending = false;
    friend bool operator==(const LapicState&, const LapicState&) = default;
};

/// An exception or interrupt that was recognized but not yet delivered.
struct PendingEvent {
    enum class Kind : uint8_t { None, ExternalInterrupt, Nmi, Exception, SoftwareInterrupt };
    Kind kind = Kind::None;
    uint8_t vector = 0;
    std::optional<uint32_t> error_code;
    friend bool operator==(const PendingEvent&, const PendingEvent&) = default;
};

struct CpuState {
    std::array<uint64_t, 16> gpr{};
    uint64_t rip = 0;
    uint64_t rflags = rflags::FIXED1;
    std::array<Segment, 6> seg{};
    Segment ldtr{};
    Segment tr{};
    TableRegister gdtr{};
    TableRegister idtr{};
    uint64_t cr0 = 0, cr2 = 0, cr3 = 0, cr4 = 0;
    std::array<uint64_t, 4> dr{};
    uint64_t dr6 = 0xffff0ff0, dr7 = 0x400;
    uint64_t efer = 0;
    uint64_t xcr0 = 1;
    /// Every MSR the model has that is not named above and not the APIC's, by number. IA32_TSC holds the TSC.
    std::map<uint32_t, uint64_t> msrs;
    XsaveArea xsave{};
    Activity activity = Activity::Running;
    bool sti_shadow = false;      ///< interrupts blocked for one instruction (STI)
    bool mov_ss_shadow = false;   ///< interrupts and debug traps blocked for one instruction (MOV SS, POP SS)
    bool nmi_blocked = false;
    PendingEvent pending{};
    std::optional<LapicState> lapic;  ///< present where the engine owns the LAPIC
};

/// State after power-on or RESET (SDM vol. 3, table 9-1), with the segment registers of real mode.
CpuState reset_state();
/// A local APIC after power-on (SDM vol. 3, 11.4.7.1), for engines that own it. The boot processor's LINT0 passes the
/// PIC's interrupts on, as firmware leaves it ("virtual wire mode", MultiProcessor Specification 3.6.2.2).
LapicState reset_lapic_state(uint32_t apic_id, bool boot_processor);
/// State after INIT for an application processor: as reset, but x87/SSE state, MSRs and CR0.CD/NW kept.
void apply_init(CpuState& state);
/// Puts the vCPU at vector:0000 in real mode (SDM vol. 3, 8.4.4).
void apply_sipi(CpuState& state, uint8_t vector);

}  // namespace yado::cpu
