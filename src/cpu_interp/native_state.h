// What translated code reads and writes in a Core beside the architectural state.
#pragma once

#include <cstdint>

namespace yado::cpu_interp {

struct Block;

struct NativeState {
    uint64_t rip_page = 0;          ///< linear page of the running code; set at every change of page
    const void* fpu = nullptr;      ///< Core::fpu
    void* system = nullptr;         ///< Core::system
    Block* exit_block = nullptr;    ///< where translated code was left, and before which instruction
    uint32_t exit_insn = 0;
    uint32_t exit_link = 0;         ///< offset in the code cache of the jump that could go on; 0: none
    uint64_t kept = 0;              ///< between the parts of one instruction
    uint64_t missed = 0;            ///< linear address that the TLB does not know
    Block* exit_head = nullptr;     ///< first block of the line whose access missed
    const void* careful = nullptr;  ///< code of the rest of that line in which every access checks by itself, or nullptr
    uint64_t group[16] = {};        ///< host addresses that serve several accesses of a block
    bool vectors = false;           ///< XMM registers (and MXCSR) are in the host's
    bool x87 = false;               ///< x87 and MMX registers are in the host's, all exceptions masked
    uint32_t store_size = 0;        ///< of the store that is about to be logged (cpu_bt/store_log.h)
    void* store_log = nullptr;      ///< where its record goes
};

}  // namespace yado::cpu_interp
