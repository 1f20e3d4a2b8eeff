#pragma once

#include "machine/acpi/aml.h"
#include "machine/acpi/tables.h"

namespace yado::machine::acpi {
/// The definition block's terms, without the table header.
aml::Bytes dsdt_terms(const MachineDescription& machine);
}  // namespace yado::machine::acpi
