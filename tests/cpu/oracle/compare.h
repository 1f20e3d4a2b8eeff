// What two outcomes differ in, and what of it is allowed to.
#pragma once

#include <string>
#include <vector>

#include "generate.h"

namespace yado::oracle {

/// Parts of a case's result that the manual leaves undefined or to the implementation.
struct Mask {
    uint64_t rflags = 0;                                   ///< ignored flags
    std::vector<std::pair<int, int>> memory;               ///< ignored bytes: offset from the first memory operand, length
    bool fault_offset = false;                             ///< CR2 within its page: which part of a long operand came first
    bool gprs_of_fault = false;                            ///< registers loaded before a fault ended the instruction
    bool x87_of_fault = false;                             ///< the MMX transition of an instruction that then faulted
    bool staged = false;                                   ///< SIMD flags of stages after the one that faulted
    bool either_fault = false;                             ///< which of two operands was looked at first
    bool unread_parts = false;                             ///< faults of parts of the operand that the result does not need
};
Mask mask_of(const Form& form, Mode mode);

/// Where control lands after a branch, or after a case that ends where the page does, is a trap on the host and none by
/// the interpreter: makes the host's outcome look the same.
void settle(const Case& test, bool branch, Outcome* native);

/// False: what the host did there is its own choice (Mask::unread_parts).
bool comparable(const Mask& mask, const Outcome& native, const Outcome& guest);

/// One line a difference; empty: equal. x87 last instruction and data pointers and the last opcode are not compared:
/// AMD saves them only with an unmasked exception pending (APM vol. 2, 11.4.4).
std::string differences(const Case& test, const Mask& mask, const Outcome& native, const Outcome& guest);
/// The window's bytes that differ, but those that `mask` allows at the operand at `operand` (window offset).
std::string window_differences(const Mask& mask, uint32_t operand, const uint8_t* native, const uint8_t* guest);
/// Input state in full, for a report.
std::string describe(const Case& test);

}  // namespace yado::oracle
