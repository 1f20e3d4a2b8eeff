#include "machine/timer/kvmclock.h"

#include "base/log.h"
#include "machine/timer/timer.pb.h"

namespace yado::machine {

void KvmClock::resume() {
    if (!loaded_) return;
    // Again: what passed since load() did not pass for the guest.
    if (const auto set = clock_.set(*loaded_); !set) YADO_LOG(Warning, "{}: {}", state_name(), set.error().message());
    loaded_.reset();
}

Result<state::Record> KvmClock::save() const {
    pb::KvmClock m;
    m.set_now((loaded_ ? *loaded_ : YADO_TRY(clock_.now())).count());
    return state::make_record(*this, m);
}

Result<> KvmClock::load(const state::Record& record) {
    pb::KvmClock m;
    YADO_TRY(state::parse_record(record, m));
    constexpr int64_t kMax = int64_t(1) << 61;  // 73 years
    if (m.now() < 0 || m.now() > kMax) return fail(ErrorKind::Corrupt, "saved state of {}: no time", record.name);
    YADO_TRY(clock_.set(Nanoseconds(m.now())));
    loaded_ = Nanoseconds(m.now());
    return {};
}

}  // namespace yado::machine
