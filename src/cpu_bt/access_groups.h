// Which memory accesses of a block lie close together, so that one check of the TLB serves them all.
//
// The addresses of a straight line of instructions are followed symbolically: a register's value is a version (one unknown value)
// plus a constant. Accesses whose addresses differ by a constant form a group. Its first access checks the whole span from
// the lowest to the highest byte and keeps the host address; the others need no check and leave the flags alone.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "cpu_bt/forms.h"
#include "cpu_bt/step.h"

namespace yado::cpu_bt {

inline constexpr unsigned kMaxGroups = 16;

/// The two accesses that one instruction may make, in this order.
enum class AccessKind : uint8_t { Operand, Stack };

class AccessGroups {
  public:
    struct Place {
        int8_t group = -1;   ///< -1: checks by itself
        bool first = false;  ///< checks for its group
        uint16_t at = 0;     ///< bytes from the group's lowest
    };
    struct Group {
        uint16_t span = 0;   ///< bytes
        bool write = false;  ///< somebody writes
    };

    void find(const Line& line, std::span<const Form> forms);
    void clear();
    const Place& place(unsigned insn, AccessKind kind) const { return places_[insn][static_cast<int>(kind)]; }
    const Group& group(const Place& p) const { return groups_[p.group]; }
    bool any() const { return used_ != 0; }

  private:
    struct Value {
        uint16_t version = 0;
        int64_t offset = 0;
    };
    struct Address {
        uint16_t base = 0, index = 0;  ///< versions
        uint8_t scale = 0, seg = 0;
        int64_t offset = 0;
        bool same_base(const Address& o) const { return base == o.base && index == o.index && scale == o.scale && seg == o.seg; }
    };
    struct Open {
        Address low;              ///< of the lowest byte so far
        int64_t high = 0;         ///< end of the highest
        int64_t first = 0;        ///< offset of the first access
        uint8_t first_align = 0;  ///< alignment that the first access checks; 0: none
        unsigned members = 0;
        bool write = false;
        bool open = true;
    };
    struct Member {
        uint8_t insn, kind, group;
        int64_t offset;
    };

    void start();
    void accesses_of(unsigned n, const Step& step, const Form& f);
    void operand_access(unsigned n, const Step& step, const Form& f);
    void add(unsigned n, AccessKind kind, const Address& a, unsigned size, bool write, bool aligned);
    bool join(Open& g, const Address& a, unsigned size, bool write, bool aligned);
    void effects_of(const Insn& i, const Form& f);
    bool followed(const Insn& i, const Form& f);
    void unknown(unsigned guest) { values_[guest] = {next_version_++, 0}; }
    void close_all();
    void settle();
    Address address_of(const Step& step) const;
    Address stack_address(unsigned guest, int64_t offset) const;

    std::array<Value, 16> values_;
    uint16_t next_version_ = 0;
    std::array<Open, 64> open_;
    unsigned open_count_ = 0;
    std::array<Member, 2 * kMaxSteps> members_;
    unsigned member_count_ = 0;
    std::array<std::array<Place, 2>, kMaxSteps> places_;
    std::array<Group, kMaxGroups> groups_;
    unsigned used_ = 0;
};

}  // namespace yado::cpu_bt
