#include "assemble/kernel_loader.h"

#include "machine/boot/kernel_file.h"

namespace yado::assemble {

Result<machine::boot::Entry> load_kernel(const api::GuestConfig& config, const machine::Layout& layout, GuestPhysAddr rsdp,
                                         mem::GuestMemory& memory) {
    if (config.kernel.empty()) return fail(ErrorKind::Usage, "no kernel to boot; give an image's name or --kernel FILE");
    const Bytes limit(layout.low_end().value());
    const auto kernel = YADO_TRY(machine::boot::read_file(config.kernel, "kernel", limit));
    machine::boot::FileBytes initrd;
    if (!config.initrd.empty()) initrd = YADO_TRY(machine::boot::read_file(config.initrd, "initrd", limit));
    return machine::boot::load(memory, layout, {.name = config.kernel, .kernel = kernel.span(), .initrd_name = config.initrd, .initrd = initrd.span(),
                                                .command_line = config.append, .rsdp = rsdp});
}

}  // namespace yado::assemble
