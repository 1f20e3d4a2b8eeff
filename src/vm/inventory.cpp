#include "vm/inventory.h"

#include <map>
#include <ranges>

namespace yado::vm {

void Inventory::reset() {
    for (bus::Device* d : devices_) d->reset();
}
void Inventory::pause() {
    for (bus::Device* d : devices_ | std::views::reverse) d->pause();
}
void Inventory::resume() {
    for (bus::Device* d : devices_) d->resume();
}

Result<std::vector<state::Record>> Inventory::save() const {
    std::vector<state::Record> records;
    for (const bus::Device* d : devices_) records.push_back(YADO_TRY(d->save()));
    return records;
}

Result<> Inventory::load(std::span<const state::Record> records) {
    std::map<std::string_view, const state::Record*> by_name;
    for (const state::Record& r : records) by_name[r.name] = &r;
    for (bus::Device* d : devices_) {
        const auto it = by_name.find(d->state_name());
        if (it == by_name.end()) return fail(ErrorKind::Corrupt, "saved state lacks {}", d->state_name());
        if (it->second->version > d->state_version())
            return fail(ErrorKind::Corrupt, "saved state of {} has version {}, this yado knows {}", d->state_name(), it->second->version,
                        d->state_version());
        YADO_TRY(d->load(*it->second));
        by_name.erase(it);
    }
    if (!by_name.empty()) return fail(ErrorKind::Corrupt, "saved state holds {}, which this guest lacks", by_name.begin()->first);
    return {};
}

}  // namespace yado::vm
