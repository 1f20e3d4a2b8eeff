// Runs a case by the interpreter: a guest in 64-bit mode at CPL 3 whose page tables map the same pages as Native does.
#pragma once

#include <memory>
#include <optional>

#include "cpu_interp/interp.h"
#include "machine.h"
#include "mem/guest_memory.h"

namespace yado::oracle {

/// Who runs the guest's instructions: the translator with flags exact at every fault, or as guests get it, where flags
/// that program order makes dead may be wrong in the frame of a fault.
enum class Runner : uint8_t { Interpreter, Strict, Live };

/// Descriptors that not every host has: a guest has those of its host.
struct Segments {
    bool code32;  ///< in the GDT
    bool local;   ///< those that Native puts into the LDT
};

class Guest {
  public:
    Guest(Runner runner, Segments segments);
    ~Guest();
    Guest(const Guest&) = delete;

    /// Guest RAM behind the window.
    uint8_t* window() const;
    Outcome run(const Case& test);

  private:
    struct Devices;
    std::optional<cpu_interp::Stepper::Fault> step(const Case& test, cpu::CpuState& state);
    void build_tables(Segments segments);
    void put_code(const Case& test);

    Runner runner_;
    mem::GuestMemory memory_;
    std::unique_ptr<Devices> devices_;
    cpu::CpuModel model_;
    std::unique_ptr<cpu_interp::Stepper> stepper_;
    unsigned cases_ = 0;
    cpu::CpuState base_;
};

}  // namespace yado::oracle
