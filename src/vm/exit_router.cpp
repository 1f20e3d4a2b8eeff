#include "vm/exit_router.h"

namespace yado::vm {

namespace {
void count(std::atomic<uint64_t>& counter) {  // one writer
    counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}
}  // namespace

uint64_t ExitRouter::port_read(Port port, unsigned size) {
    count(port_reads_);
    return ports_.read(port.value(), size);
}
void ExitRouter::port_write(Port port, unsigned size, uint64_t value) {
    count(port_writes_);
    ports_.write(port.value(), size, value);
}
uint64_t ExitRouter::mmio_read(GuestPhysAddr address, unsigned size) {
    count(mmio_reads_);
    return memory_.read(address.value(), size);
}
void ExitRouter::mmio_write(GuestPhysAddr address, unsigned size, uint64_t value) {
    count(mmio_writes_);
    memory_.write(address.value(), size, value);
}

ExitRouter::Counters ExitRouter::counters() const { return {port_reads_, port_writes_, mmio_reads_, mmio_writes_}; }

}  // namespace yado::vm
