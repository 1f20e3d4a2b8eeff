#include <signal.h>

#include <mutex>

#include "cpu_kvm/vcpu.h"

namespace yado::cpu_kvm {

int kick_signal() { return SIGRTMIN; }

void install_kick_signal() {
    static std::once_flag once;
    std::call_once(once, [] {
        struct sigaction action{};
        action.sa_handler = [](int) {};  // only to interrupt KVM_RUN
        sigaction(kick_signal(), &action, nullptr);
    });
}

}  // namespace yado::cpu_kvm
