#include "base/failpoint.h"

#include <atomic>
#include <map>

#include "base/guarded.h"

namespace yado::failpoint {
namespace {
struct Armed {
    Error error;
    int skip;
    int times;
};
using Table = std::map<std::string, Armed, std::less<>>;
Guarded<Table, LockRank::Leaf>& table() {
    static Guarded<Table, LockRank::Leaf> t;
    return t;
}
std::atomic<bool> any_armed{false};
}  // namespace

void arm(std::string_view name, Error error, int skip, int times) {
    table().lock()->insert_or_assign(std::string(name), Armed{std::move(error), skip, times});
    any_armed = true;
}

void disarm_all() {
    table().lock()->clear();
    any_armed = false;
}

std::optional<Error> hit(std::string_view name) {
    if (!any_armed.load(std::memory_order_relaxed)) return std::nullopt;
    auto t = table().lock();
    const auto it = t->find(name);
    if (it == t->end()) return std::nullopt;
    Armed& armed = it->second;
    if (armed.skip > 0) {
        --armed.skip;
        return std::nullopt;
    }
    if (armed.times == 0) return std::nullopt;
    if (armed.times > 0) --armed.times;
    return armed.error;
}

}  // namespace yado::failpoint
