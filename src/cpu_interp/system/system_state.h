// The rarely used part of a vCPU: MSRs, the PAE page directory pointers, what the TLB needs for invalidation, debug traps.
// Thread: the vCPU's own.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "cpu/cpu_model.h"
#include "cpu/vcpu.h"
#include "cpu_interp/core.h"
#include "cpu_interp/system/tsc.h"

namespace yado::cpu_interp {

/// Bits of tlb_meta below the guest-physical page.
inline constexpr uint64_t kMetaGlobal = 1, kMetaLarge = 2;

/// Instruction-fetch translations. An entry lives while its generation does.
struct FetchEntry {
    uint64_t tag = ~0ull;  ///< linear page, bit 0: user
    const uint8_t* host = nullptr;
    uint64_t gpa = 0;
    uint64_t generation = 0;
    bool global = false;
};
inline constexpr unsigned kFetchSize = 2048;

/// A hash of the linear pages that jump-cache entries lie in: no false negatives.
class CodePages {
  public:
    bool test(uint64_t linear) const { return word(linear) >> (linear >> 12 & 63) & 1; }
    void set(uint64_t linear) { words_[linear >> 18 & (kWords - 1)] |= uint64_t{1} << (linear >> 12 & 63); }

  private:
    static constexpr unsigned kWords = 64;
    uint64_t word(uint64_t linear) const { return words_[linear >> 18 & (kWords - 1)]; }
    std::array<uint64_t, kWords> words_{};
};

struct ParkedEntry {
    uint16_t table, index;
    TlbEntry entry;
    uint64_t meta;
};
/// What is kept of a PCID that CR3 does not select now.
struct AddressSpace {
    unsigned pcid = 0;
    uint64_t generation = 0;  ///< 0: nothing is kept
    uint64_t last_used = 0;
    CodePages user_code;
    std::vector<ParkedEntry> entries;
};
/// Linux cycles through six on each processor.
inline constexpr unsigned kParkedSpaces = 8;

class SystemState {
  public:
    explicit SystemState(const cpu::VcpuWiring& wiring);

    // --- what the CPU model allows, worked out once ---------------------------------------------------------------
    std::vector<cpu::CpuidEntry> cpuid_table;
    uint64_t cr4_allowed = 0;
    uint64_t efer_allowed = 0;
    uint64_t physical_reserved = 0;  ///< bits 51:MAXPHYADDR
    bool amd = false;                ///< vendor: SYSCALL and SYSENTER outside 64-bit mode differ
    bool spec_ctrl_shown = false;
    bool hypervisor = false;         ///< CPUID.1:ECX[31]
    bool monitor = false;            ///< CPUID.1:ECX[3]
    bool gbyte_pages = false;
    uint32_t kvm_features = 0;       ///< CPUID.40000001H:EAX

    // --- MSRs --------------------------------------------------------------------------------------------------------
    uint64_t star = 0, lstar = 0, cstar = 0, fmask = 0, kernel_gs_base = 0, tsc_aux = 0;
    uint64_t sysenter_cs = 0, sysenter_esp = 0, sysenter_eip = 0;
    uint64_t tsc_offset = 0, tsc_adjust = 0;
    uint64_t pat = 0x0007040600070406;
    uint64_t misc_enable = 1, mcg_status = 0, spec_ctrl = 0, bios_sign = 0;
    uint64_t mtrr_def_type = 0;
    std::array<uint64_t, 16> mtrr_variable{};
    std::array<uint64_t, 11> mtrr_fixed{};
    uint64_t kvm_wall_clock = 0, kvm_system_time = 0;
    uint32_t kvm_clock_version = 0;
    uint64_t debugctl = 0, hwcr = 1u << 24, syscfg = 0, de_cfg = 2;  ///< the last three are AMD's
    std::shared_ptr<TscSync> tsc_sync;

    // --- paging ------------------------------------------------------------------------------------------------------
    std::array<uint64_t, 4> pdpte{};             ///< PAE paging (SDM vol. 3, 4.4.1)
    uint64_t used[kTlbTables][kTlbSize / 64] = {};  ///< TLB entries that may be valid
    uint64_t tlb_meta[kTlbTables][kTlbSize] = {};   ///< of those: guest-physical page, global, large-page bits
    uint64_t large_regions[2] = {};              ///< hashes of linear bits 62:30 where large pages were entered, by bit 63
    uint64_t generation = 1, global_generation = 1, last_generation = 1;
    uint64_t kernel_epoch = 1;                   ///< of supervisor code in the jump cache
    bool nonglobal_kernel_code = false;          ///< some of it depends on the address space
    bool low_kernel_code = false;                ///< some of it is in the lower half of linear addresses
    CodePages user_code, kernel_code;
    std::array<AddressSpace, kParkedSpaces> spaces;
    uint64_t switches = 0;
    std::array<FetchEntry, kFetchSize> fetch{};
    bool alignment_check = false;                ///< CR0.AM, RFLAGS.AC and CPL 3

    // --- debug ---------------------------------------------------------------------------------------------------------
    bool data_armed = false;  ///< DR7 enables a data breakpoint
    bool new_tf_counts = false;  ///< the instruction that ran with TF is SYSCALL or SYSRET: it traps if TF is still set

    // --- RDRAND ----------------------------------------------------------------------------------------------------------
    std::array<uint64_t, 32> random{};
    unsigned random_left = 0;
};

}  // namespace yado::cpu_interp
