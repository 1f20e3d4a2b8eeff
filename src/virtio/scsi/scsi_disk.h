// A disk as SCSI commands see it (SPC-4, SBC-3), whatever carries them: logical blocks of 512 bytes on a DiskImage.
//
//     execute(cdb) --> table of opcodes (disk_commands.cpp) --> checks that all have --> handler --> nothing, or sense data
//
//     handlers: who it is (disk_identity.cpp), mode pages (disk_mode.cpp), the medium (disk_medium.cpp)
//
// Executor's thread.
#pragma once

#include <vector>

#include "virtio/disk/disk_access.h"
#include "virtio/scsi/command_spec.h"
#include "virtio/scsi/transfer.h"

namespace yado::virtio {

namespace pb {
class ScsiUnit;
}

/// Nothing: the command has status GOOD. Else CHECK CONDITION.
using ScsiFailure = std::optional<Sense>;

/// What a command wants to move.
struct ScsiAmount {
    uint64_t out = 0, in = 0;
};

class ScsiDisk {
  public:
    struct Options {
        std::string id;
        std::string serial;                       ///< at most 20 bytes are shown
        block::Attachment* attachment = nullptr;  ///< outlives the disk
    };
    /// The longest transfer of one command, in blocks.
    static constexpr uint32_t kMaxBlocks = 0xffff;
    static constexpr uint32_t kMaxUnmapDescriptors = 255;

    ScsiDisk(block::DiskImage& image, Options options);

    io::Task<ScsiFailure> execute(const Cdb& cdb, Transfer& data);
    /// What the CDB says that it moves; nothing for a command that is unknown. It may be 0, or more than the driver gave.
    static ScsiAmount amount(const Cdb& cdb);
    /// What the target answers for a logical unit that it does not have (SPC-4 6.4.2, SAM-5 4.13).
    static ScsiFailure execute_absent(const Cdb& cdb, Transfer& data);

    /// Power-on state; the next command is told why.
    void reset(const Sense& why);
    /// The image has another size.
    void resized();
    DiskAccess& access() { return access_; }
    const DiskAccess& access() const { return access_; }

    void save(pb::ScsiUnit& m) const;
    static bool valid(const pb::ScsiUnit& m);
    void load(const pb::ScsiUnit& m);

  private:
    using Handler = io::Task<ScsiFailure> (ScsiDisk::*)(const Cdb& cdb, Transfer& data);
    struct Command;
    struct Blocks {
        uint64_t lba = 0, count = 0;
        uint64_t bytes() const { return count * DiskAccess::kSector; }
    };
    static std::span<const Command> commands();
    static const Command* find(uint8_t opcode, uint16_t action);
    static const Command* find(const Cdb& cdb);
    static bool has_actions(uint8_t opcode);
    static Blocks blocks_of(const Cdb& cdb);
    ScsiFailure refused(const Command* command, const Cdb& cdb);
    ScsiFailure wrong_range(const Command& command, const Cdb& cdb) const;
    void attention(const Sense& sense);
    /// The oldest that waits, which is then told.
    ScsiFailure take_attention();

    // disk_identity.cpp
    io::Task<ScsiFailure> inquiry(const Cdb& cdb, Transfer& data);
    io::Task<ScsiFailure> request_sense(const Cdb& cdb, Transfer& data);
    io::Task<ScsiFailure> report_luns(const Cdb& cdb, Transfer& data);
    io::Task<ScsiFailure> report_opcodes(const Cdb& cdb, Transfer& data);
    io::Task<ScsiFailure> read_capacity_10(const Cdb& cdb, Transfer& data);
    io::Task<ScsiFailure> read_capacity_16(const Cdb& cdb, Transfer& data);
    std::optional<std::vector<uint8_t>> vital_product_data(VpdPage page) const;
    static std::vector<uint8_t> all_opcodes(bool timeouts);
    static std::vector<uint8_t> one_opcode(const Command* command, bool timeouts);
    std::vector<uint8_t> block_limits() const;
    std::vector<uint8_t> identification() const;
    std::string serial() const { return options_.serial.substr(0, DiskAccess::kMaxSerial); }

    // disk_mode.cpp
    io::Task<ScsiFailure> mode_sense(const Cdb& cdb, Transfer& data);
    io::Task<ScsiFailure> mode_select(const Cdb& cdb, Transfer& data);
    std::vector<uint8_t> mode_page(ModePage page, PageControl control) const;
    std::vector<uint8_t> block_descriptor(bool long_lba) const;
    bool same_blocks(std::span<const uint8_t> wanted, bool long_lba) const;
    ScsiFailure check_page(std::span<const uint8_t> page) const;
    io::Task<ScsiFailure> set_write_cache(bool on);

    // disk_medium.cpp
    io::Task<ScsiFailure> test_unit_ready(const Cdb& cdb, Transfer& data);
    io::Task<ScsiFailure> start_stop(const Cdb& cdb, Transfer& data);
    io::Task<ScsiFailure> read(const Cdb& cdb, Transfer& data);
    io::Task<ScsiFailure> write(const Cdb& cdb, Transfer& data);
    io::Task<ScsiFailure> verify(const Cdb& cdb, Transfer& data);
    io::Task<ScsiFailure> synchronize_cache(const Cdb& cdb, Transfer& data);
    io::Task<ScsiFailure> unmap(const Cdb& cdb, Transfer& data);
    io::Task<ScsiFailure> write_same(const Cdb& cdb, Transfer& data);
    io::Task<ScsiFailure> write_pattern(Blocks blocks, std::span<uint8_t> block);
    io::Task<ScsiFailure> flush();
    /// Behind a write: where it has to be on the disk when it is answered.
    io::Task<ScsiFailure> made_stable(bool force);

    DiskAccess access_;
    Options options_;
    bool write_cache_ = true;
    bool stopped_ = false;
    std::vector<uint16_t> attentions_;  ///< codes of unit attentions not yet told, the oldest first
};

/// Sends `bytes`, but not more than the CDB allows.
void send_allocated(Transfer& data, std::span<const uint8_t> bytes, uint64_t allocation);
void append_be16(std::vector<uint8_t>& to, uint16_t value);
void append_be32(std::vector<uint8_t>& to, uint32_t value);

}  // namespace yado::virtio
