#include "machine/lpc/reset_control.h"

#include "machine/lpc/lpc.pb.h"
#include "machine/power.h"

namespace yado::machine {

namespace {
constexpr uint8_t kWritable =
    ResetControlRegister::SYS_RST.mask | ResetControlRegister::RST_CPU.mask | ResetControlRegister::FULL_RST.mask;
}

uint64_t ResetControl::read(uint64_t, unsigned) { return value_.lock()->raw; }

void ResetControl::write(uint64_t offset, unsigned, uint64_t value) {
    if (offset != 0) return;
    const ResetControlRegister next(static_cast<uint8_t>(value & kWritable));
    bool was_set = false;
    {
        auto now = value_.lock();
        was_set = now->get(ResetControlRegister::RST_CPU);
        *now = next;
    }
    if (next.get(ResetControlRegister::RST_CPU) && !was_set) notify(wiring_.reset);
}

Result<state::Record> ResetControl::save() const {
    pb::ResetControl m;
    m.set_value(value_.lock()->raw);
    return state::make_record(*this, m);
}

Result<> ResetControl::load(const state::Record& record) {
    pb::ResetControl m;
    YADO_TRY(state::parse_record(record, m));
    if (m.value() & ~static_cast<uint32_t>(kWritable))
        return fail(ErrorKind::Corrupt, "saved state of {}: a register is out of range", record.name);
    *value_.lock() = ResetControlRegister(static_cast<uint8_t>(m.value()));
    return {};
}

}  // namespace yado::machine
