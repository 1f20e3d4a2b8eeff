// The one mechanism by which every stateful thing saves and loads itself: a named, versioned record holding a protobuf
// message. Snapshot files, migration, handoff and replication carry the same records.
#pragma once

#include <google/protobuf/message_lite.h>

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace yado::state {

/// One record: who (instance name, e.g. "lapic.0"), its version, its serialized message.
struct Record {
    std::string name;
    uint32_t version = 1;
    std::string payload;
};

/// What every stateful thing implements. Called only while the guest is paused and devices are quiet.
class Stateful {
  public:
    virtual ~Stateful() = default;
    /// Unique in a guest and stable for ever: "pit", "uart.0", "virtio-blk.disk0", "vcpu.3".
    virtual std::string state_name() const = 0;
    virtual uint32_t state_version() const { return 1; }
    virtual Result<Record> save() const = 0;
    /// Refuses (Corrupt) what is out of range and then changes nothing. version is at most state_version().
    virtual Result<> load(const Record& record) = 0;
};

/// Serializes a message under a thing's name and version.
Record make_record(const Stateful& thing, const google::protobuf::MessageLite& message);
/// Parses a record's payload. Errors: Corrupt.
Result<> parse_record(const Record& record, google::protobuf::MessageLite& message);

/// The container: magic, format version, records, each with length and CRC-32C, closed by an end record.
/// Hostile input is bounded: names to 256 bytes, a record to 64 MiB, 65,536 records.
std::string encode(std::span<const Record> records);
Result<std::vector<Record>> decode(std::string_view stream);

}  // namespace yado::state
