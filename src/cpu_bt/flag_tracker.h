// Where the guest's arithmetic flags are at a point of the translation, and the code that moves them.
#pragma once

#include "cpu_bt/assembler.h"

namespace yado::cpu_bt {

class FlagTracker {
  public:
    explicit FlagTracker(Assembler& code) : code_(code) {}

    enum class Place : uint8_t {
        Host,    ///< EFLAGS
        Memory,  ///< Core::aflags
        Both,
        Dead,    ///< nowhere: nobody will ask
    };
    Place place() const { return place_; }
    void set(Place p) { place_ = p; }
    bool in_host() const { return place_ == Place::Host || place_ == Place::Both; }
    bool in_memory() const { return place_ == Place::Memory || place_ == Place::Both; }

    /// Saves EFLAGS if memory is behind. Clobbers rax.
    void save() {
        if (place_ != Place::Host) return;
        emit_save(code_);
        place_ = Place::Both;
    }
    /// Makes EFLAGS the guest's. Clobbers rax.
    void load() {
        if (place_ != Place::Memory) return;
        emit_load(code_);
        place_ = Place::Both;
    }
    /// EFLAGS were destroyed.
    void destroyed() { place_ = in_memory() ? Place::Memory : Place::Dead; }
    /// An instruction of the guest's has set EFLAGS.
    void changed() { place_ = Place::Host; }

    static void emit_save(Assembler& code) {
        code.lahf();
        code.seto(code.al);
        code.mov(code.word[code.rbp + at::kFlags], code.ax);
    }
    static void emit_load(Assembler& code) {
        code.movzx(code.eax, code.word[code.rbp + at::kFlags]);
        code.add(code.al, 0x7f);  // OF from bit 0
        code.sahf();
    }

  private:
    Assembler& code_;
    Place place_ = Place::Host;
};

}  // namespace yado::cpu_bt
