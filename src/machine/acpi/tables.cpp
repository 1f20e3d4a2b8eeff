#include "machine/acpi/tables.h"

#include "base/bytes.h"
#include "machine/acpi/dsdt.h"
#include "machine/layout.h"
#include "machine/lpc/acpi_pm_regs.h"

namespace yado::machine::acpi {

namespace {

template <typename T>
void put(std::string& table, T value) {
    char b[sizeof(T)];
    store_le(b, value);
    table.append(b, sizeof(T));
}

/// Makes the bytes from `begin` to `end` sum to zero by the byte at `at`.
void fix_checksum(std::string& table, size_t at, size_t end) {
    uint8_t sum = 0;
    table[at] = 0;
    for (size_t n = 0; n < end; ++n) sum += static_cast<uint8_t>(table[n]);
    table[at] = static_cast<char>(-sum);
}

/// System description table header (5.2.6): 36 bytes, then the body.
std::string table(std::string_view signature, uint8_t revision, const std::string& body) {
    std::string t(signature);
    put<uint32_t>(t, static_cast<uint32_t>(36 + body.size()));
    t += static_cast<char>(revision);
    t += '\0';  // checksum
    t += "YADO  ";
    t += "YADOQ35 ";
    put<uint32_t>(t, 1);
    t += "YADO";
    put<uint32_t>(t, 1);
    t += body;
    fix_checksum(t, 9, t.size());
    return t;
}

std::string madt(uint32_t vcpus) {  // 5.2.12
    std::string b;
    put<uint32_t>(b, static_cast<uint32_t>(kLapicAddress.value()));
    put<uint32_t>(b, 1);  // PCAT_COMPAT: there are 8259s
    for (uint32_t id = 0; id < vcpus; ++id) {
        if (id < 255) {  // processor local APIC
            b += {0, 8, static_cast<char>(id), static_cast<char>(id)};
            put<uint32_t>(b, 1);
        } else {  // processor local x2APIC
            b += {9, 16, 0, 0};
            put<uint32_t>(b, id);
            put<uint32_t>(b, 1);
            put<uint32_t>(b, id);
        }
    }
    b += {1, 12, 0, 0};  // IOAPIC 0 at GSI 0
    put<uint32_t>(b, static_cast<uint32_t>(kIoapicAddress.value()));
    put<uint32_t>(b, 0);
    const auto override_source = [&](uint8_t irq, uint32_t gsi, uint16_t flags) {
        b += {2, 10, 0, static_cast<char>(irq)};
        put(b, gsi);
        put(b, flags);
    };
    constexpr uint16_t kBusDefault = 0, kLevelHigh = 0x000d;
    override_source(0, 2, kBusDefault);
    override_source(kSciIrq, kSciIrq, kLevelHigh);
    b += {4, 6, static_cast<char>(0xff), 0, 0, 1};  // NMI on LINT1 of every processor
    return table("APIC", 5, b);
}

std::string mcfg() {  // PCI Firmware 3.2, 4.1.2
    std::string b(8, '\0');
    put<uint64_t>(b, kEcamStart.value());
    put<uint16_t>(b, 0);
    b += {0, static_cast<char>(0xff)};
    put<uint32_t>(b, 0);
    return table("MCFG", 1, b);
}

/// Generic address structure (5.2.3.2).
void put_gas(std::string& b, uint8_t space, uint8_t bits, uint8_t access, uint64_t address) {
    b += {static_cast<char>(space), static_cast<char>(bits), 0, static_cast<char>(access)};
    put(b, address);
}
constexpr uint8_t kSystemMemory = 0, kSystemIo = 1;
constexpr uint32_t kSmiCommandPort = 0xb2;

std::string hpet() {  // IA-PC HPET 1.0a, 3.2.4
    std::string b;
    put<uint32_t>(b, 0x8086a201);  // as GCAP_ID: Intel, legacy replacement, 64-bit counter, 3 timers, revision 1
    put_gas(b, kSystemMemory, 0, 0, kHpetAddress.value());
    b += '\0';
    put<uint16_t>(b, 0x0080);  // minimum tick
    b += '\0';
    return table("HPET", 1, b);
}

std::string fadt(uint32_t facs, uint32_t dsdt) {  // 5.2.9
    constexpr uint32_t kWbinvd = 1, kProcC1 = 1 << 2, kNoSleepButton = 1 << 5, kTimerIs32Bit = 1 << 8, kResetRegister = 1 << 10;
    constexpr uint16_t kLegacyDevices = 1, kNoVga = 1 << 2;
    std::string b;
    put(b, facs);
    put(b, dsdt);
    b += {0, 0};  // reserved, unspecified power profile
    put<uint16_t>(b, kSciIrq);
    put<uint32_t>(b, kSmiCommandPort);
    b += {static_cast<char>(kAcpiEnable), static_cast<char>(kAcpiDisable), 0, 0};
    put<uint32_t>(b, kPm1aEvent);
    put<uint32_t>(b, 0);
    put<uint32_t>(b, kPm1aControl);
    put<uint32_t>(b, 0);
    put<uint32_t>(b, 0);       // PM2
    put<uint32_t>(b, kPmTimer);
    put<uint32_t>(b, kGpe0);
    put<uint32_t>(b, 0);       // GPE1
    b += {4, 2, 0, 4, static_cast<char>(kGpe0Length), 0, 0, 0};
    put<uint16_t>(b, 0xffff);  // C2 and C3 not supported
    put<uint16_t>(b, 0xffff);
    put<uint32_t>(b, 0);       // flush size and stride: WBINVD works
    b += {0, 0, 0, 0, static_cast<char>(kCenturyByte)};
    put<uint16_t>(b, kLegacyDevices | kNoVga);
    b += '\0';
    put<uint32_t>(b, kWbinvd | kProcC1 | kNoSleepButton | kTimerIs32Bit | kResetRegister);
    put_gas(b, kSystemIo, 8, 1, 0xcf9);
    b += 0x06;                 // full reset (ICH9 13.7.5)
    put<uint16_t>(b, 0);
    b += 0x05;                 // FADT minor version: 6.5
    put<uint64_t>(b, 0);       // X_FACS: only the 32-bit field is used
    put<uint64_t>(b, dsdt);
    put_gas(b, kSystemIo, 32, 2, kPm1aEvent);
    put_gas(b, 0, 0, 0, 0);
    put_gas(b, kSystemIo, 16, 2, kPm1aControl);
    put_gas(b, 0, 0, 0, 0);
    put_gas(b, 0, 0, 0, 0);
    put_gas(b, kSystemIo, 32, 3, kPmTimer);
    put_gas(b, kSystemIo, kGpe0Length * 8, 1, kGpe0);
    put_gas(b, 0, 0, 0, 0);
    put_gas(b, 0, 0, 0, 0);    // sleep control and status: hardware-reduced only
    put_gas(b, 0, 0, 0, 0);
    b += "YADO";
    b += std::string(4, '\0');
    return table("FACP", 6, b);
}

std::string facs() {  // 5.2.10
    std::string t = "FACS";
    put<uint32_t>(t, 64);
    t.resize(64, '\0');
    t[32] = 2;  // version
    return t;
}

std::string rsdp(uint64_t xsdt) {  // 5.2.5.3
    std::string t = "RSD PTR ";
    t += '\0';
    t += "YADO  ";
    t += 2;
    put<uint32_t>(t, 0);
    put<uint32_t>(t, 36);
    put(t, xsdt);
    t += std::string(4, '\0');
    fix_checksum(t, 8, 20);
    fix_checksum(t, 32, 36);
    return t;
}

/// Hands out addresses one after the other in the area reserved for the tables.
class Area {
  public:
    explicit Area(mem::GuestMemory& memory) : memory_(memory) {}
    Result<uint32_t> put(const std::string& bytes) {
        const uint64_t at = (next_ + 63) & ~63ull;  // FACS asks for 64
        if (at + bytes.size() > kAcpiStart.value() + kAcpiSize.value())
            return fail(ErrorKind::Failed, "cpus: too many to describe in {} KiB of ACPI tables", kAcpiSize.value() >> 10);
        YADO_TRY(memory_.write(GuestPhysAddr(at), std::as_bytes(std::span(bytes))));
        next_ = at + bytes.size();
        return static_cast<uint32_t>(at);
    }

  private:
    mem::GuestMemory& memory_;
    uint64_t next_ = kAcpiStart.value() + 64;  // the RSDP goes first
};

}  // namespace

Result<Tables> install(mem::GuestMemory& memory, const MachineDescription& machine) {
    Area area(memory);
    Tables tables{kAcpiStart, {}};
    const auto place = [&](const std::string& signature, const std::string& bytes) -> Result<uint32_t> {
        tables.by_signature[signature] = bytes;
        return area.put(bytes);
    };
    const uint32_t facs_at = YADO_TRY(place("FACS", facs()));
    const uint32_t dsdt_at = YADO_TRY(place("DSDT", table("DSDT", 2, dsdt_terms(machine))));
    std::string pointers;
    put<uint64_t>(pointers, YADO_TRY(place("FACP", fadt(facs_at, dsdt_at))));
    put<uint64_t>(pointers, YADO_TRY(place("APIC", madt(machine.vcpus))));
    put<uint64_t>(pointers, YADO_TRY(place("MCFG", mcfg())));
    put<uint64_t>(pointers, YADO_TRY(place("HPET", hpet())));
    const uint32_t xsdt_at = YADO_TRY(place("XSDT", table("XSDT", 1, pointers)));
    tables.by_signature["RSDP"] = rsdp(xsdt_at);
    YADO_TRY(memory.write(kAcpiStart, std::as_bytes(std::span(tables.by_signature["RSDP"]))));
    return tables;
}

}  // namespace yado::machine::acpi
