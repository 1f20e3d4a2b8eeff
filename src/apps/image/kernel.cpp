#include "apps/image/kernel.h"

#include <fcntl.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <vector>

#include "apps/process.h"
#include "base/bytes.h"
#include "base/fd.h"

namespace yado::apps {

namespace {

// Linux x86 boot protocol, "The Real-Mode Kernel Header".
constexpr size_t kSetupSects = 0x1f1, kHeaderMagic = 0x202, kVersion = 0x206, kPayloadOffset = 0x248, kPayloadLength = 0x24c;

struct Packing {
    std::string_view magic;
    std::vector<std::string> tool;
};
const std::vector<Packing>& packings() {
    static const std::vector<Packing> all = {{std::string_view("\x02\x21\x4c\x18", 4), {"lz4", "-dcq"}},
                                             {std::string_view("\xfd"
                                                               "7zXZ",
                                                               5),
                                              {"xz", "-dcq", "--single-stream"}},
                                             {std::string_view("\x1f\x8b", 2), {"gzip", "-dcq"}},
                                             {std::string_view("\x28\xb5\x2f\xfd", 4), {"zstd", "-dcq"}}};
    return all;
}

Result<std::string_view> payload_of(std::string_view file) {
    if (file.size() < 0x1000 || file.substr(kHeaderMagic, 4) != "HdrS" || load_le<uint16_t>(file.data() + kVersion) < 0x208)
        return fail(ErrorKind::Corrupt, "not a Linux bzImage of boot protocol 2.08 or later");
    const uint64_t setup = file[kSetupSects] == 0 ? 4 : static_cast<uint8_t>(file[kSetupSects]);
    const uint64_t begin = (setup + 1) * 512 + load_le<uint32_t>(file.data() + kPayloadOffset);
    const uint64_t length = load_le<uint32_t>(file.data() + kPayloadLength);
    if (begin + length > file.size() || length < 8) return fail(ErrorKind::Corrupt, "the bzImage is cut short");
    return file.substr(begin, length);
}

bool is_elf(const std::string& path) {
    char magic[4] = {};
    std::ifstream(path, std::ios::binary).read(magic, 4);
    return std::string_view(magic, 4) == "\x7f"
                                         "ELF";
}

}  // namespace

Result<> unpack_kernel(const std::string& bzimage, const std::string& elf) {
    std::ostringstream text;
    text << std::ifstream(bzimage, std::ios::binary).rdbuf();
    const std::string file = std::move(text).str();
    const std::string_view payload = YADO_TRY(payload_of(file));
    for (const Packing& packing : packings()) {
        if (!payload.starts_with(packing.magic)) continue;
        const std::string packed = elf + ".packed";
        std::ofstream(packed, std::ios::binary) << payload;
        std::vector<std::string> arguments = packing.tool;
        arguments.push_back(packed);
        const Fd out(open(elf.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
        const auto status = run_program_to_end({.arguments = arguments, .descriptors = {{out.get(), STDOUT_FILENO}}, .environment = {}, .on_line = {}});
        unlink(packed.c_str());
        if (!status) return std::unexpected(status.error());
        if (is_elf(elf)) return {};  // the tool may complain of the length that follows the payload
        return fail(ErrorKind::Failed, "{} could not unpack the kernel", packing.tool[0]);
    }
    return fail(ErrorKind::Failed, "the kernel is packed in an unknown way");
}

}  // namespace yado::apps
