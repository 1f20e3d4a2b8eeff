// A small writer of ACPI Machine Language (ACPI 6.5, chapter 20): each function gives the bytes of one term; terms nest
// by concatenation.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace yado::machine::acpi::aml {

using Bytes = std::string;

Bytes integer(uint64_t value);                                        ///< 20.2.3 ComputationalData, shortest form
Bytes text(std::string_view s);                                       ///< String
Bytes buffer(const Bytes& contents);
Bytes package(std::initializer_list<Bytes> elements);                 ///< at most 255 elements
Bytes package(const std::vector<Bytes>& elements);
Bytes eisa_id(std::string_view id);                                   ///< "PNP0A08" as the compressed integer (19.3.4)
Bytes name_string(std::string_view path);                             ///< "\_SB.PCI0", "_HID": segments padded with '_'

Bytes name(std::string_view path, const Bytes& value);                ///< DefName
Bytes scope(std::string_view path, std::initializer_list<Bytes> terms);
Bytes scope(std::string_view path, const Bytes& terms);
Bytes device(std::string_view path, std::initializer_list<Bytes> terms);
Bytes method(std::string_view path, unsigned arguments, const Bytes& body);
Bytes return_value(const Bytes& value);
Bytes argument(unsigned n);                                           ///< Arg0 to Arg6
Bytes local(unsigned n);                                              ///< Local0 to Local7
Bytes store(const Bytes& value, const Bytes& target);
Bytes bit_and(const Bytes& left, const Bytes& right, const Bytes& target);  ///< DefAnd
Bytes bit_or(const Bytes& left, const Bytes& right, const Bytes& target);   ///< DefOr
Bytes if_equal(const Bytes& left, const Bytes& right, const Bytes& body);
Bytes if_unequal(const Bytes& left, const Bytes& right, const Bytes& body);
Bytes dword_field(const Bytes& source, unsigned offset, std::string_view field);  ///< CreateDWordField

/// Resource descriptors (6.4), to be wrapped by resources().
Bytes io_ports(uint16_t first, uint16_t last, uint8_t length);        ///< Io: fixed when first == last
Bytes irq(uint16_t number);                                           ///< IRQ: edge, active high, exclusive
Bytes memory32(uint32_t base, uint32_t length);                       ///< Memory32Fixed, read-write
Bytes bus_range(uint16_t first, uint16_t last);                       ///< WordBusNumber
Bytes io_range(uint16_t first, uint16_t last);                        ///< WordIO, entire range
Bytes memory_range32(uint32_t first, uint32_t last);                  ///< DWordMemory, non-cacheable, read-write
Bytes memory_range64(uint64_t first, uint64_t last);                  ///< QWordMemory
Bytes resources(std::initializer_list<Bytes> descriptors);            ///< a buffer closed by the end tag

}  // namespace yado::machine::acpi::aml
