// Translates a line of instructions: a block, or several blocks that mostly run one after the other. The path: forms of all instructions -> which flags are live after each -> entry (request
// poll) -> the instructions, each by its form's function -> the way out at the end -> the cold parts (misses, exits).
//
// Flags: between instructions the guest's arithmetic flags are in the host's EFLAGS, in Core::aflags, in both, or (when
// nothing reads them before they are overwritten) nowhere. Inserted checks destroy EFLAGS, so flags that are live are
// saved in front of them.
//
// Misses: a memory operand that the TLB does not serve at once (and everything else that the fast path does not want)
// leaves to the cold part, where the interpreter runs the whole instruction from its beginning; translated code goes on
// behind it. An instruction that ends a block is left to the interpreter by leaving translated code in front of it.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "cpu_bt/access_groups.h"
#include "cpu_bt/assembler.h"
#include "cpu_bt/flag_mode.h"
#include "cpu_bt/flag_tracker.h"
#include "cpu_bt/forms.h"
#include "cpu_bt/runtime.h"
#include "cpu_bt/step.h"
#include "cpu_interp/block.h"

namespace yado::cpu_bt {

using cpu_interp::Block;

/// 64-bit code.
bool translatable(const Block& block);

class BlockTranslator {
  public:
    BlockTranslator(Assembler& code, const Runtime& runtime, const cpu::CpuModel& model, FlagMode flags, Purpose purpose = Purpose::Run);

    struct Entries {
        size_t memory;  ///< offset of the entry with flags in Core::aflags
        size_t flags;   ///< of the entry with flags in EFLAGS
    };
    enum class Grouping : bool { Off, On };
    /// Emits the line at the assembler's end. nullopt: not worth it (its only instruction is the interpreter's).
    std::optional<Entries> translate(const Line& line, Grouping grouping);

    // --- instructions by form (forms.cpp names these) -----------------------------------------------------------------
    void modrm(const Insn& i, const Form& f);
    void vector(const Insn& i, const Form& f);
    void vector_zero(const Insn& i, const Form& f);
    void x87(const Insn& i, const Form& f);
    void x87_control(const Insn& i, const Form& f);
    void x87_load_control(const Insn& i, const Form& f);
    void x87_status_to_ax(const Insn& i, const Form& f);
    void mmx(const Insn& i, const Form& f);
    void mmx_and_vector(const Insn& i, const Form& f);
    void bit_manipulation(const Insn& i, const Form& f);
    void accumulator_immediate(const Insn& i, const Form& f);
    void shift_by_cl(const Insn& i, const Form& f);
    void multiply(const Insn& i, const Form& f);
    void divide(const Insn& i, const Form& f);
    void compare_exchange(const Insn& i, const Form& f);
    void compare_exchange_pair(const Insn& i, const Form& f);
    void bit_string(const Insn& i, const Form& f);
    void compare_strings(const Insn& i, const Form& f);
    void fence(const Insn& i, const Form& f);
    void flags_to_ah(const Insn& i, const Form& f);
    void ah_to_flags(const Insn& i, const Form& f);
    void direction_flag(const Insn& i, const Form& f);
    void from_segment(const Insn& i, const Form& f);
    void swap_gs(const Insn& i, const Form& f);
    void read_tsc(const Insn& i, const Form& f);
    void lea(const Insn& i, const Form& f);
    void move_immediate(const Insn& i, const Form& f);
    void move_immediate_byte(const Insn& i, const Form& f);
    void exchange_accumulator(const Insn& i, const Form& f);
    void sign_extend_accumulator(const Insn& i, const Form& f);
    void sign_extend_into_rdx(const Insn& i, const Form& f);
    void byte_swap(const Insn& i, const Form& f);
    void carry_flag(const Insn& i, const Form& f);
    void nothing(const Insn&, const Form&) {}
    void push_register(const Insn& i, const Form& f);
    void push_immediate(const Insn& i, const Form& f);
    void push_memory(const Insn& i, const Form& f);
    void push_flags(const Insn& i, const Form& f);
    void clear_interrupt_flag(const Insn& i, const Form& f);
    void pop_register(const Insn& i, const Form& f);
    void leave(const Insn& i, const Form& f);
    void jump_if(const Insn& i, const Form& f);
    void jump(const Insn& i, const Form& f);
    void call(const Insn& i, const Form& f);
    void ret(const Insn& i, const Form& f);
    void jump_indirect(const Insn& i, const Form& f);
    void call_indirect(const Insn& i, const Form& f);

  private:
    /// A cold part, emitted behind the block.
    struct Cold {
        enum class Kind : uint8_t {
            Miss,         ///< fill the TLB and try again; failing that, as Interpret, or Leave if the instruction ends the block
            Interpret,    ///< run instruction `insn` by the interpreter, go on at `resume`
            Find,         ///< ask for the jump target in the decoded blocks and try again; failing that, as Leave
            Leave,        ///< leave translated code in front of `insn`
            Follow,       ///< leave for `target` (page offset); may be linked: `jump` is patched
            LoadVectors,  ///< bring XMM registers in, go on at `resume`
            LoadX87,      ///< bring the x87 state in, go on at `resume`
        };
        Kind kind;
        size_t jump;            ///< the jump that leads here (Assembler::bind)
        unsigned insn;
        size_t resume = 0;
        bool executed = false;  ///< Leave: behind the instruction, not in front of it
        bool vectors = false;   ///< XMM registers are expected at `resume`
        bool x87 = false;       ///< the x87 state is
        FlagTracker::Place flags = FlagTracker::Place::Dead;  ///< at the jump
        uint32_t target = 0;
        size_t retry = 0;       ///< Miss: where the lookup of rax begins
        size_t served = 0;      ///< Miss of a group: behind the lookup
        int tag = 0;            ///< Miss: displacement of the tag that rax was compared with; Find: of the target
        int table = 0;          ///< Miss: offset of the TLB's table in Core
        Miss access{};
    };
    /// Ends of cold parts that all of a block share; emitted once if called.
    enum class BlockPart : uint8_t { Interpret, LoadVectors, LoadX87, Leave, Miss };
    struct Call {
        size_t jump;
        BlockPart part;
        Block* block;
    };

    // --- the block ----------------------------------------------------------------------------------------------------
    void find_forms();
    void find_live_flags();
    bool host_flags_first() const;
    Entries enter();
    void check_second_page(const Block& block);
    void instruction(unsigned n);
    void cold_parts();
    void cold_part(const Cold& c);
    void interpret_part(const Cold& c);
    void miss_part(const Cold& c);
    void careful_part(Cold c);
    void find_part(const Cold& c);
    void leave_part(const Cold& c);
    void follow_part(const Cold& c);
    void exit_for(uint32_t reason);
    void block_parts();
    size_t emit_block_part(BlockPart part, Block* block);
    void call_block_part(BlockPart part, unsigned insn);
    void jump_block_part(BlockPart part, unsigned insn);

    // --- pieces of instructions -----------------------------------------------------------------------------------------
    /// Flags that somebody reads from in front of the running instruction.
    uint8_t live_before() const;
    /// To be called before code that destroys EFLAGS in front of the running instruction.
    void before_check();
    void keep_flags_for(const Form& f);
    bool needs_host_flags(const Form& f) const;
    /// True if an instruction is left to the interpreter though its form is known (refusals.cpp).
    bool refuses(const Insn& i, const Form& f) const;
    bool refuses_modrm(const Insn& i, const Form& f) const;
    void run_interpreted();
    void cold(unsigned condition, Cold::Kind kind);
    void cold_always(Cold::Kind kind);
    void add_cold(size_t jump, Cold::Kind kind, uint32_t target = 0);
    void resume_here();
    /// False for operands that are left to the interpreter: RIP-relative out of reach.
    bool addressable(const Insn& i) const;
    /// The memory operand's address as registers; those at home are loaded into rax and rcx.
    Rm effective(const Insn& i);
    /// rax = linear address of the memory operand. Clobbers rcx; EFLAGS only with a segment base.
    void linear_address(const Insn& i, int32_t disp);
    /// Looks rax up in the TLB; then rax + rcx is the host address. Destroys EFLAGS.
    enum class Aligned : bool { No, Yes };
    void look_up(const Miss& access, bool write_tag);
    /// Checks an access, unless an earlier one of its group has; the host address as an operand that uses rcx, or rax and rcx.
    /// `linear(disp)` emits rax = the access's linear address + disp.
    template <typename Linear>
    Rm checked_access(AccessKind kind, unsigned size, bool write, Aligned aligned, Linear linear);
    /// The same. Every store goes through here, so that it can be logged.
    template <typename Linear>
    Rm access(AccessKind kind, unsigned size, bool write, Aligned aligned, Linear linear);
    Rm memory_operand(const Insn& i, unsigned size, bool write, Aligned aligned = Aligned::No);
    /// The same for [guest register + disp] of 8 bytes.
    Rm stack_operand(unsigned guest, int32_t disp, bool write);
    /// For Purpose::Compare: in front of every store to guest memory. Leaves all registers and flags alone.
    void log_store(unsigned size, const Rm& rm);
    /// Frees rax.
    Rm only_rcx(const Rm& rm);
    static Cold::Kind fallback(const Form& f) { return f.ends_block ? Cold::Kind::Leave : Cold::Kind::Interpret; }
    unsigned size_of(const Insn& i, Width width) const { return width == Width::Operand ? i.opsize : static_cast<unsigned>(width); }
    bool has_high_byte(const Insn& i, const Form& f) const;
    Encoding encoding_of(const Insn& i, const Form& f) const;
    void emit(const Insn& i, const Form& f, int reg, const Rm& rm);
    HostReg reg_operand(const Insn& i, const Form& f, HostReg scratch);
    void reg_written(const Insn& i, const Form& f, HostReg r);
    void registers_form(const Insn& i, const Form& f);
    void memory_form(const Insn& i, const Form& f);
    void high_byte_form(const Insn& i, const Form& f);
    void two_high_bytes(const Insn& i, const Form& f);
    void put_high_byte(HostReg whole, HostReg byte);
    void push_kept();
    void adjust_stack(int32_t by);
    void after_home_write(unsigned guest, unsigned size);
    /// The host register of a guest register's value; one at home is loaded into scratch.
    HostReg value_of(unsigned guest, HostReg scratch);
    void set_guest(unsigned guest, HostReg from);
    /// Has a part of the state brought into the host's registers, unless it is known to be there; `is_loaded` says so at run time.
    void need(bool& there, int is_loaded, Cold::Kind load);
    void need_vectors();
    void need_x87();
    /// True for instructions that never leave translated code: the pointer may wait for a later one.
    static bool stays(const Insn& i, const Form& f);
    /// Stores FIP if an x87 instruction has changed it since it was stored last. Clobbers rax and rcx.
    void store_pointer();
    HostReg host(unsigned guest) const { return kHostOf[guest]; }
    /// The r/m operand to be read without rax: a register, its home, or [rcx].
    Rm source(const Insn& i, const Form& f);
    void check_signed_division(bool wide);

    // --- control flow -----------------------------------------------------------------------------------------------------
    uint32_t page_offset(unsigned at) const { return (*line_)[n_].block_at() + at; }
    void continue_line(const Insn& i, const Form& f, Path path);
    /// Linear address of page offset `at` into `to`.
    void linear_of(HostReg to, int64_t at);
    static bool in_page(int64_t target) { return target >= 0 && target < 4096; }
    int64_t after(const Insn& i) const { return page_offset(i.offset + i.length); }
    /// Goes to a direct target: a link inside the page, the jump cache beyond it.
    void go_direct(int64_t target);
    void follow(uint32_t target);
    /// Looks rax up in the jump cache; leaves in front of the instruction on a miss. Then rcx is the entry's offset.
    void find_target();
    void go_found();
    void push_return_address(const Insn& i);
    void finish_call(const Insn& i);
    void branch_beyond_page(unsigned condition, int64_t target);

    Assembler& code_;
    const Runtime& runtime_;
    const cpu::CpuModel& model_;
    FlagMode flag_mode_;
    Purpose purpose_;
    bool short_rotate_;              ///< the host has RORX (BMI2)
    const Line* line_ = nullptr;
    unsigned mmu_ = 0;
    unsigned n_ = 0;                 ///< running instruction of the line
    bool done_ = false;              ///< control never comes to the end of what is emitted
    bool executed_ = false;          ///< the running instruction is complete; what follows is the way on
    bool vectors_ = false;           ///< XMM registers are in the host's at this point
    bool x87_ = false;               ///< the x87 state is
    int pointer_ = -1;               ///< page offset that FIP is still to be set to, or -1
    FlagTracker flags_;
    AccessGroups groups_;
    std::array<Form, kMaxSteps> forms_;
    std::array<uint8_t, kMaxSteps> live_;
    std::vector<Cold> cold_;
    std::vector<Call> calls_;
};

}  // namespace yado::cpu_bt
