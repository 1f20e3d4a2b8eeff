// The stub: what GDB's packets mean for a guest. Pure of sockets: a packet's payload in, payloads out.
// GDB manual, appendix E. All-stop mode; vCPU n is thread n+1.
//
//   attach() -> stopped --c, s, vCont--> running --a vCPU stops, interrupt()--> stopped ... -> D, k, the guest ends: over()
//
// Thread: the port's executor. Every packet is hostile until parsed.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "gdb/registers.h"
#include "gdb/text.h"
#include "vm/debug_port.h"

namespace yado::gdb {

class Stub final : private vm::DebugListener {
  public:
    /// `send` takes a payload, escaped where need be.
    using Send = std::function<void(std::string_view payload)>;
    Stub(vm::DebugPort& port, Send send);
    /// Leaves the guest as it is, without breakpoints, if GDB did not say how to.
    ~Stub() override;
    Stub(const Stub&) = delete;

    /// Stops the guest. Errors: those of DebugPort::attach. Before anything else.
    Result<> attach();
    void packet(std::string_view payload);
    /// Ctrl-C.
    void interrupt();
    /// GDB asked for no acknowledgments from now on.
    bool acknowledges() const { return acknowledges_; }
    /// Nothing more is to be said once what was sent is out: hang up.
    bool over() const { return over_; }

  private:
    /// A packet by the start of its payload; the handler gets the rest.
    struct Command {
        std::string_view name;
        void (Stub::*run)(std::string_view arguments);
    };
    static std::span<const Command> commands();

    // vm::DebugListener
    void stopped(const vm::DebugEvent& event) override;
    void ended(const api::ExitReport& report) override;

    // stub.cpp: running and stopping
    void tell_why(std::string_view arguments);
    void go_on(std::string_view arguments);
    void step(std::string_view arguments);
    void go_on_with_signal(std::string_view arguments);
    void step_with_signal(std::string_view arguments);
    void list_actions(std::string_view arguments);
    void act(std::string_view arguments);
    void detach(std::string_view arguments);
    void kill(std::string_view arguments);
    void kill_process(std::string_view arguments);
    void resume_at(std::string_view address, vm::VcpuAction action);
    void resume(const std::vector<vm::VcpuAction>& actions);
    std::string stop_reply() const;
    std::string reason_of(const cpu::DebugStop& stop) const;

    // stub_data.cpp: registers, memory, breakpoints
    void read_registers(std::string_view arguments);
    void write_registers(std::string_view arguments);
    void read_register(std::string_view arguments);
    void write_register(std::string_view arguments);
    void read_memory(std::string_view arguments);
    void write_memory(std::string_view arguments);
    void write_binary(std::string_view arguments);
    void insert(std::string_view arguments);
    void remove(std::string_view arguments);
    Result<> write_at(uint64_t address, std::span<const std::byte> bytes);
    Result<> read_at(uint64_t address, std::span<std::byte> out);
    Result<> insert_code(uint64_t address, unsigned type);
    void remove_code(uint64_t address, unsigned type);

    // stub_query.cpp: what GDB asks about us
    void supported(std::string_view arguments);
    void stop_acknowledging(std::string_view arguments);
    void read_description(std::string_view arguments);
    void first_threads(std::string_view arguments);
    void more_threads(std::string_view arguments);
    void current_thread(std::string_view arguments);
    void describe_thread(std::string_view arguments);
    void is_alive(std::string_view arguments);
    void choose_thread(std::string_view arguments);
    void attached_to(std::string_view arguments);
    void symbols_wanted(std::string_view arguments);
    void monitor(std::string_view arguments);
    void tell_physical(std::string_view arguments);
    void set_physical(std::string_view arguments);

    void done() { send_("OK"); }
    void malformed() { send_("E01"); }
    void unsupported() { send_(""); }
    void answer(const Result<>& result);

    vm::DebugPort& port_;
    Send send_;
    RegisterFile registers_;
    const std::string description_;
    bool attached_ = false, over_ = false, acknowledges_ = true;
    bool waiting_ = false;               ///< GDB waits for a stop
    bool tells_breaks_ = false;          ///< GDB understands swbreak and hwbreak
    bool physical_ = false;              ///< memory packets mean physical addresses
    unsigned chosen_ = 0;                ///< the vCPU that registers and memory are read with (Hg)
    std::optional<unsigned> to_resume_;  ///< the only one that c and s are for (Hc)
    vm::DebugEvent last_;                ///< the last stop
    std::map<uint64_t, uint8_t> code_breaks_;    ///< bit 0: by Z0, bit 1: by Z1
    std::vector<cpu::Watchpoint> watches_;
};

}  // namespace yado::gdb
