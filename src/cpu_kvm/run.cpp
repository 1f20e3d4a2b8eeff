// Running: exits, kicks, the PIC's interrupts, stepping.
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/bytes.h"
#include "base/log.h"
#include "cpu_kvm/system.h"
#include "cpu_kvm/vcpu.h"

namespace yado::cpu_kvm {

using cpu::Exit;

namespace {

void unblock_kick_signal() {
    static thread_local bool done = false;
    if (std::exchange(done, true)) return;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, kick_signal());
    pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

}  // namespace

Exit KvmVcpu::failure(std::string detail) const {
    return cpu::ShutdownRequest{cpu::ShutdownCause::EngineFailure, fmt::format("KVM, vCPU {}: {}", wiring_.index, detail)};
}

void KvmVcpu::clear_immediate_exit() { std::atomic_ref(run_->immediate_exit).store(0); }

void KvmVcpu::interrupt_run() {
    std::atomic_ref(run_->immediate_exit).store(1);
    const int thread = thread_.load();
    if (thread != 0 && thread != static_cast<int>(gettid()))
        syscall(SYS_tgkill, getpid(), thread, kick_signal());
}

void KvmVcpu::kick() {
    kicked_.store(true);
    interrupt_run();
}

void KvmVcpu::look_at_pic() { interrupt_run(); }

/// Completes an access that the last exit was about, without running the guest on: until then its registers are not those
/// after the instruction (Linux Documentation/virt/kvm/api.rst, KVM_RUN). A split access may exit again.
void KvmVcpu::finish_io() {
    while (io_unfinished_) {
        io_unfinished_ = false;
        std::atomic_ref(run_->immediate_exit).store(1);
        if (::ioctl(fd_.get(), KVM_RUN, 0) == 0) {
            if (run_->exit_reason == KVM_EXIT_MMIO) mmio_exit();
            if (run_->exit_reason == KVM_EXIT_IO) port_exit();
        }
    }
}

Exit KvmVcpu::run() {
    unblock_kick_signal();
    thread_.store(static_cast<int>(gettid()));
    Outcome outcome;
    while (!outcome) {
        clear_immediate_exit();
        if (kicked_.exchange(false)) {
            finish_io();
            outcome = cpu::Kicked{};
            break;
        }
        inject_from_pic();
        io_unfinished_ = false;
        const int r = ::ioctl(fd_.get(), KVM_RUN, 0);
        if (r < 0 && (errno == EINTR || errno == EAGAIN)) {
            ++interrupted_;
            continue;
        }
        if (r < 0) {
            outcome = failure(fmt::format("KVM_RUN: {}", strerror(errno)));
            break;
        }
        handed_.reset();
        machine_.exits.fetch_add(1, std::memory_order_relaxed);
        ++exits_[std::min<uint32_t>(run_->exit_reason, kExitReasons - 1)];
        outcome = route_exit();
        if (!outcome && io_unfinished_ && single_step_) outcome = step_done();
    }
    thread_.store(0);
    return *outcome;
}

KvmVcpu::Outcome KvmVcpu::route_exit() {
    switch (run_->exit_reason) {
    case KVM_EXIT_IO: port_exit(); return {};
    case KVM_EXIT_MMIO: mmio_exit(); return {};
    case KVM_EXIT_IOAPIC_EOI:
        if (machine_.eoi) machine_.eoi(run_->eoi.vector);
        return {};
    case KVM_EXIT_INTR:
    case KVM_EXIT_IRQ_WINDOW_OPEN:
    case KVM_EXIT_SET_TPR:
    case KVM_EXIT_HLT: return {};
    case KVM_EXIT_SHUTDOWN: return cpu::ShutdownRequest{cpu::ShutdownCause::TripleFault, fmt::format("triple fault on vCPU {}", wiring_.index)};
    case KVM_EXIT_DEBUG: return debug_exit();
    case KVM_EXIT_INTERNAL_ERROR:
        if (run_->internal.suberror == KVM_INTERNAL_ERROR_EMULATION) return step();
        return failure(fmt::format("internal error {}", static_cast<uint32_t>(run_->internal.suberror)));
    case KVM_EXIT_FAIL_ENTRY:
        return failure(fmt::format("the processor refused to enter the guest, reason {:#x}",
                                   static_cast<uint64_t>(run_->fail_entry.hardware_entry_failure_reason)));
    default: return failure(fmt::format("unexpected exit {}", static_cast<uint32_t>(run_->exit_reason)));
    }
}

void KvmVcpu::port_exit() {
    io_unfinished_ = true;
    auto* data = reinterpret_cast<uint8_t*>(run_) + run_->io.data_offset;
    const unsigned size = run_->io.size;
    const Port port(run_->io.port);
    for (uint32_t i = 0; i < run_->io.count; ++i, data += size) {
        uint64_t value = 0;
        if (run_->io.direction == KVM_EXIT_IO_IN) {
            value = wiring_.devices.port_read(port, size);
            std::memcpy(data, &value, size);
        } else {
            std::memcpy(&value, data, size);
            wiring_.devices.port_write(port, size, value);
        }
    }
}

void KvmVcpu::mmio_exit() {
    io_unfinished_ = true;
    const GuestPhysAddr address(run_->mmio.phys_addr);
    const unsigned size = std::min<unsigned>(run_->mmio.len, 8);
    uint64_t value = 0;
    if (run_->mmio.is_write) {
        std::memcpy(&value, run_->mmio.data, size);
        wiring_.devices.mmio_write(address, size, value);
    } else {
        value = wiring_.devices.mmio_read(address, size);
        std::memcpy(run_->mmio.data, &value, size);
    }
}

/// At most one interrupt a KVM_RUN: ready_for_interrupt_injection tells how the last exit left the guest.
void KvmVcpu::inject_from_pic() {
    if (!wiring_.pic) return;
    if (wiring_.pic->pending() && run_->ready_for_interrupt_injection && !handed_) {
        if (const auto vector = wiring_.pic->acknowledge()) {
            kvm_regs regs{};
            kvm_interrupt interrupt{.irq = *vector};
            kvm_ioctl(fd_.get(), KVM_GET_REGS, &regs);
            if (kvm_ioctl(fd_.get(), KVM_INTERRUPT, &interrupt) < 0)
                YADO_LOG_LIMITED(Warning, "KVM refused the PIC's interrupt {:#x}: {}", *vector, strerror(errno));
            else
                handed_ = Handed{*vector, regs.rip};
            run_->ready_for_interrupt_injection = 0;
        }
    }
    run_->request_interrupt_window = wiring_.pic->pending();
}

KvmVcpu::Outcome KvmVcpu::step() {
    auto state = get_state();
    if (!state) return failure(state.error().message());
    if (!stepper_) stepper_ = std::make_unique<cpu_interp::Stepper>(wiring_, machine_.interpreter);
    machine_.stepped.fetch_add(1, std::memory_order_relaxed);
    ++stepped_;
    const uint64_t rip = state->rip;
    // The local APIC stays KVM's: what the instruction does not touch is not written back.
    state->lapic.reset();
    if (const auto r = stepper_->step(*state); !r)
        return failure(fmt::format("cannot emulate the instruction at {:#x}: {}", rip, r.error().message()));
    state->msrs.erase(cpu::msr::IA32_TSC);
    if (const auto r = apply(*state); !r) return failure(r.error().message());
    return single_step_ ? step_done() : Outcome{};
}

}  // namespace yado::cpu_kvm
