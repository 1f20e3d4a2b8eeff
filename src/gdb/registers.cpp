#include "gdb/registers.h"

#include <fmt/core.h>

#include "base/bytes.h"
#include "gdb/fpu_image.h"

namespace yado::gdb {

namespace {

using cpu::CpuState;

// --- general registers --------------------------------------------------------------------------------------------------------

constexpr unsigned kRip = 16;

uint64_t& general(CpuState& s, unsigned index) { return index == kRip ? s.rip : s.gpr[index]; }

constexpr RegisterAccess kGeneral{
    [](const CpuState& s, unsigned index, std::byte* out) { store_le(out, general(const_cast<CpuState&>(s), index)); },
    [](CpuState& s, unsigned index, const std::byte* in) -> Result<> {
        general(s, index) = load_le<uint64_t>(in);
        return {};
    }};

/// RFLAGS bits that software may change (SDM vol. 1, 3.4.3).
constexpr uint32_t kFlags = 0x3f7fd5;

constexpr RegisterAccess kEflags{
    [](const CpuState& s, unsigned, std::byte* out) { store_le(out, static_cast<uint32_t>(s.rflags)); },
    [](CpuState& s, unsigned, const std::byte* in) -> Result<> {
        s.rflags = (load_le<uint32_t>(in) & kFlags) | cpu::rflags::FIXED1;
        return {};
    }};

/// A selector's descriptor is not loaded for a debugger: outside of real and virtual-8086 mode it stays as it is.
constexpr RegisterAccess kSelector{
    [](const CpuState& s, unsigned index, std::byte* out) { store_le<uint32_t>(out, s.seg[index].selector); },
    [](CpuState& s, unsigned index, const std::byte* in) -> Result<> {
        const auto selector = static_cast<uint16_t>(load_le<uint32_t>(in));
        if (selector == s.seg[index].selector) return {};
        if (s.cr0 & cpu::cr0::PE && !(s.rflags & cpu::rflags::VM)) return fail(ErrorKind::Usage, "segment registers cannot be set in protected mode");
        s.seg[index].selector = selector;
        s.seg[index].base = uint64_t{selector} << 4;
        return {};
    }};

constexpr RegisterAccess kSegmentBase{
    [](const CpuState& s, unsigned index, std::byte* out) { store_le(out, s.seg[index].base); },
    [](CpuState& s, unsigned index, const std::byte* in) -> Result<> {
        s.seg[index].base = load_le<uint64_t>(in);
        return {};
    }};

// --- x87, SSE, AVX ------------------------------------------------------------------------------------------------------------

/// Sixteen-byte slots at a place of the image; `size` bytes of each are the register.
template <uint64_t component, size_t at, size_t size>
constexpr RegisterAccess kSlots{
    [](const CpuState& s, unsigned index, std::byte* out) {
        const cpu::XsaveArea area = with_component(s.xsave, component);
        std::memcpy(out, &area.bytes[at + 16 * index], size);
    },
    [](CpuState& s, unsigned index, const std::byte* in) -> Result<> {
        make_present(s.xsave, component);
        std::memcpy(&s.xsave.bytes[at + 16 * index], in, size);
        return {};
    }};

/// A field of the image that GDB shows with 32 bits.
template <typename T, size_t at>
constexpr RegisterAccess kX87Field{
    [](const CpuState& s, unsigned, std::byte* out) {
        const cpu::XsaveArea area = with_component(s.xsave, cpu::kXcr0X87);
        store_le<uint32_t>(out, load_le<T>(&area.bytes[at]));
    },
    [](CpuState& s, unsigned, const std::byte* in) -> Result<> {
        make_present(s.xsave, cpu::kXcr0X87);
        store_le(&s.xsave.bytes[at], static_cast<T>(load_le<uint32_t>(in)));
        return {};
    }};

constexpr RegisterAccess kX87Tags{
    [](const CpuState& s, unsigned, std::byte* out) { store_le<uint32_t>(out, full_tags(with_component(s.xsave, cpu::kXcr0X87))); },
    [](CpuState& s, unsigned, const std::byte* in) -> Result<> {
        make_present(s.xsave, cpu::kXcr0X87);
        s.xsave.bytes[kFtw] = abridged_tags(static_cast<uint16_t>(load_le<uint32_t>(in)));
        return {};
    }};

constexpr uint32_t kMxcsrBits = 0xffff;

constexpr RegisterAccess kMxcsrAccess{
    [](const CpuState& s, unsigned, std::byte* out) { store_le(out, load_le<uint32_t>(&s.xsave.bytes[kMxcsr])); },
    [](CpuState& s, unsigned, const std::byte* in) -> Result<> {
        make_present(s.xsave, cpu::kXcr0Sse);
        store_le(&s.xsave.bytes[kMxcsr], load_le<uint32_t>(in) & kMxcsrBits);
        return {};
    }};

// --- control registers ----------------------------------------------------------------------------------------------------------

enum Control : unsigned { CR0, CR2, CR3, CR4, EFER, KernelGsBase };

uint64_t& control(CpuState& s, unsigned index) {
    switch (index) {
    case CR0: return s.cr0;
    case CR2: return s.cr2;
    case CR3: return s.cr3;
    case CR4: return s.cr4;
    case EFER: return s.efer;
    default: return s.msrs[cpu::msr::IA32_KERNEL_GS_BASE];
    }
}

constexpr RegisterAccess kControl{
    [](const CpuState& s, unsigned index, std::byte* out) {
        const auto kernel_gs = s.msrs.find(cpu::msr::IA32_KERNEL_GS_BASE);
        if (index == KernelGsBase) store_le(out, kernel_gs == s.msrs.end() ? uint64_t{0} : kernel_gs->second);
        else store_le(out, control(const_cast<CpuState&>(s), index));
    },
    [](CpuState& s, unsigned index, const std::byte* in) -> Result<> {
        control(s, index) = load_le<uint64_t>(in);
        return {};
    }};

// --- the features -----------------------------------------------------------------------------------------------------------------

constexpr const char* kCoreTypes =
    R"(<flags id="i386_eflags" size="4"><field name="CF" start="0" end="0"/><field name="" start="1" end="1"/>)"
    R"(<field name="PF" start="2" end="2"/><field name="AF" start="4" end="4"/><field name="ZF" start="6" end="6"/>)"
    R"(<field name="SF" start="7" end="7"/><field name="TF" start="8" end="8"/><field name="IF" start="9" end="9"/>)"
    R"(<field name="DF" start="10" end="10"/><field name="OF" start="11" end="11"/><field name="NT" start="14" end="14"/>)"
    R"(<field name="RF" start="16" end="16"/><field name="VM" start="17" end="17"/><field name="AC" start="18" end="18"/>)"
    R"(<field name="VIF" start="19" end="19"/><field name="VIP" start="20" end="20"/><field name="ID" start="21" end="21"/></flags>)";

constexpr const char* kSseTypes =
    R"(<vector id="v4f" type="ieee_single" count="4"/><vector id="v2d" type="ieee_double" count="2"/>)"
    R"(<vector id="v16i8" type="int8" count="16"/><vector id="v8i16" type="int16" count="8"/>)"
    R"(<vector id="v4i32" type="int32" count="4"/><vector id="v2i64" type="int64" count="2"/>)"
    R"(<union id="vec128"><field name="v4_float" type="v4f"/><field name="v2_double" type="v2d"/>)"
    R"(<field name="v16_int8" type="v16i8"/><field name="v8_int16" type="v8i16"/><field name="v4_int32" type="v4i32"/>)"
    R"(<field name="v2_int64" type="v2i64"/><field name="uint128" type="uint128"/></union>)"
    R"(<flags id="i386_mxcsr" size="4"><field name="IE" start="0" end="0"/><field name="DE" start="1" end="1"/>)"
    R"(<field name="ZE" start="2" end="2"/><field name="OE" start="3" end="3"/><field name="UE" start="4" end="4"/>)"
    R"(<field name="PE" start="5" end="5"/><field name="DAZ" start="6" end="6"/><field name="IM" start="7" end="7"/>)"
    R"(<field name="DM" start="8" end="8"/><field name="ZM" start="9" end="9"/><field name="OM" start="10" end="10"/>)"
    R"(<field name="UM" start="11" end="11"/><field name="PM" start="12" end="12"/><field name="FZ" start="15" end="15"/></flags>)";

void add_general(std::vector<Register>& out) {
    struct Row {
        const char* name;
        const char* type;
        unsigned index;
    };
    static constexpr Row kRows[] = {
        {"rax", "int64", cpu::RAX}, {"rbx", "int64", cpu::RBX}, {"rcx", "int64", cpu::RCX}, {"rdx", "int64", cpu::RDX},
        {"rsi", "int64", cpu::RSI}, {"rdi", "int64", cpu::RDI}, {"rbp", "data_ptr", cpu::RBP}, {"rsp", "data_ptr", cpu::RSP},
        {"r8", "int64", cpu::R8}, {"r9", "int64", cpu::R9}, {"r10", "int64", cpu::R10}, {"r11", "int64", cpu::R11},
        {"r12", "int64", cpu::R12}, {"r13", "int64", cpu::R13}, {"r14", "int64", cpu::R14}, {"r15", "int64", cpu::R15},
        {"rip", "code_ptr", kRip}};
    for (const Row& r : kRows) out.push_back({r.name, 64, r.type, "", &kGeneral, r.index});
    out.push_back({"eflags", 32, "i386_eflags", "", &kEflags, 0});
    for (const auto& [name, index] : {std::pair{"cs", cpu::CS}, {"ss", cpu::SS}, {"ds", cpu::DS}, {"es", cpu::ES}, {"fs", cpu::FS}, {"gs", cpu::GS}})
        out.push_back({name, 32, "int32", "", &kSelector, index});
}

void add_x87(std::vector<Register>& out) {
    for (unsigned n = 0; n < 8; ++n) out.push_back({fmt::format("st{}", n), 80, "i387_ext", "", &kSlots<cpu::kXcr0X87, kSt0, 10>, n});
    const auto field = [&](const char* name, const RegisterAccess* access) { out.push_back({name, 32, "int", "float", access, 0}); };
    field("fctrl", &kX87Field<uint16_t, kFcw>);
    field("fstat", &kX87Field<uint16_t, kFsw>);
    field("ftag", &kX87Tags);
    field("fiseg", &kX87Field<uint16_t, kFcs>);
    field("fioff", &kX87Field<uint32_t, kFip>);
    field("foseg", &kX87Field<uint16_t, kFds>);
    field("fooff", &kX87Field<uint32_t, kFdp>);
    field("fop", &kX87Field<uint16_t, kFop>);
}

Feature core() {
    Feature f{"org.gnu.gdb.i386.core", kCoreTypes, {}};
    add_general(f.registers);
    add_x87(f.registers);
    return f;
}

Feature sse() {
    Feature f{"org.gnu.gdb.i386.sse", kSseTypes, {}};
    for (unsigned n = 0; n < 16; ++n) f.registers.push_back({fmt::format("xmm{}", n), 128, "vec128", "", &kSlots<cpu::kXcr0Sse, kXmm0, 16>, n});
    f.registers.push_back({"mxcsr", 32, "i386_mxcsr", "vector", &kMxcsrAccess, 0});
    return f;
}

Feature segments() {
    return {"org.gnu.gdb.i386.segments", "", {{"fs_base", 64, "int", "", &kSegmentBase, cpu::FS}, {"gs_base", 64, "int", "", &kSegmentBase, cpu::GS}}};
}

Feature avx() {
    Feature f{"org.gnu.gdb.i386.avx", "", {}};
    for (unsigned n = 0; n < 16; ++n) f.registers.push_back({fmt::format("ymm{}h", n), 128, "uint128", "", &kSlots<cpu::kXcr0Avx, kYmmHigh0, 16>, n});
    return f;
}

Feature system() {
    Feature f{"org.yado.i386.system", "", {}};
    for (const auto& [name, index] : {std::pair{"cr0", CR0}, {"cr2", CR2}, {"cr3", CR3}, {"cr4", CR4}, {"efer", EFER}, {"k_gs_base", KernelGsBase}})
        f.registers.push_back({name, 64, "uint64", "system", &kControl, index});
    return f;
}

std::string xml_of(const Register& r) {
    const std::string group = *r.group ? fmt::format(" group=\"{}\"", r.group) : "";
    return fmt::format("<reg name=\"{}\" bitsize=\"{}\" type=\"{}\"{}/>", r.name, r.bits, r.type, group);
}

}  // namespace

RegisterFile::RegisterFile(Vectors vectors) : features_{core(), sse(), segments()} {
    if (vectors == Vectors::Avx) features_.push_back(avx());
    features_.push_back(system());
    for (const Feature& f : features_)
        for (const Register& r : f.registers) all_.push_back(&r);
}

std::string RegisterFile::description() const {
    std::string xml = "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\"><target><architecture>i386:x86-64</architecture>";
    for (const Feature& f : features_) {
        xml += fmt::format("<feature name=\"{}\">{}", f.name, f.types);
        for (const Register& r : f.registers) xml += xml_of(r);
        xml += "</feature>";
    }
    return xml + "</target>";
}

std::vector<std::byte> value_of(const CpuState& state, const Register& r) {
    std::vector<std::byte> bytes(r.bits / 8);
    r.access->get(state, r.index, bytes.data());
    return bytes;
}

}  // namespace yado::gdb
