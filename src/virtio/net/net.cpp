#include "virtio/net/net.h"

#include <algorithm>
#include <cstring>

#include "base/bytes.h"
#include "virtio/virtio.pb.h"

namespace yado::virtio {

namespace {

// 5.1.3
constexpr uint64_t VIRTIO_NET_F_MTU = 1 << 3, VIRTIO_NET_F_MAC = 1 << 5, VIRTIO_NET_F_MRG_RXBUF = 1 << 15, VIRTIO_NET_F_STATUS = 1 << 16,
                   VIRTIO_NET_F_CTRL_VQ = 1 << 17, VIRTIO_NET_F_CTRL_RX = 1 << 18, VIRTIO_NET_F_CTRL_VLAN = 1 << 19,
                   VIRTIO_NET_F_CTRL_RX_EXTRA = 1 << 20, VIRTIO_NET_F_CTRL_MAC_ADDR = 1 << 23;
constexpr uint16_t VIRTIO_NET_S_LINK_UP = 1;
// 5.1.6.5
constexpr uint8_t VIRTIO_NET_CTRL_RX = 0, VIRTIO_NET_CTRL_MAC = 1, VIRTIO_NET_CTRL_VLAN = 2;
constexpr uint8_t VIRTIO_NET_CTRL_MAC_TABLE_SET = 0, VIRTIO_NET_CTRL_MAC_ADDR_SET = 1;
constexpr uint8_t VIRTIO_NET_OK = 0, VIRTIO_NET_ERR = 1;
constexpr size_t kMaxCommand = 64 << 10;

// Queues: receive 2i, transmit 2i+1 for each pair, control behind them (5.1.2).
constexpr unsigned kPairs = 1, kControl = 2 * kPairs;

struct NetHeader {  // 5.1.6
    uint8_t flags, gso_type;
    uint16_t hdr_len, gso_size, csum_start, csum_offset, num_buffers;
};
static_assert(sizeof(NetHeader) == 12);

struct NetConfig {  // 5.1.4
    MacAddress mac;
    uint16_t status, max_virtqueue_pairs, mtu;
};
static_assert(sizeof(NetConfig) == 12);

}  // namespace

/// The transmit queue's handler.
struct Net::Transmit {
    Net& net;
    std::vector<std::byte> buffer;

    io::Task<Result<uint32_t>> handle(Chain& chain) {
        if (chain.readable_size() < sizeof(NetHeader)) co_return fail(ErrorKind::Corrupt, "a packet without its header");
        const uint64_t size = chain.readable_size() - sizeof(NetHeader);
        if (size < 14 || size > link::kMaxFrame) {
            ++net.counters_.bad_sends;
            co_return 0u;
        }
        // No offload was offered: nothing in the header can matter. Copied, so that the back end sees one version.
        ChainCursor cursor(*net.memory_, chain.readable());
        NetHeader header;
        cursor.read_object(header);
        buffer.resize(size);
        cursor.read(buffer);
        if (net.shared_.lock()->link_up) net.backend_.send(buffer);
        ++net.counters_.sent;
        co_return 0u;
    }
};

/// The control queue's: class, command, data; one byte of acknowledgement.
struct Net::Control {
    Net& net;

    io::Task<Result<uint32_t>> handle(Chain& chain) {
        if (chain.readable_size() < 2 || chain.readable_size() > kMaxCommand || chain.writable_size() == 0)
            co_return fail(ErrorKind::Corrupt, "a control command of {} bytes", chain.readable_size());
        std::vector<std::byte> command(chain.readable_size());
        ChainCursor(*net.memory_, chain.readable()).read(command);
        const bool done = execute(std::to_integer<uint8_t>(command[0]), std::to_integer<uint8_t>(command[1]), std::span(command).subspan(2));
        const std::byte ack{done ? VIRTIO_NET_OK : VIRTIO_NET_ERR};
        ChainCursor(*net.memory_, chain.writable()).write({&ack, 1});
        co_return 1u;
    }

    bool execute(uint8_t command_class, uint8_t command, std::span<const std::byte> data) {
        if (command_class == VIRTIO_NET_CTRL_RX) return data.size() >= 1 && net.filter_.set_mode(command, data[0] != std::byte{0});
        if (command_class == VIRTIO_NET_CTRL_VLAN) return data.size() >= 2 && command < 2 && net.filter_.set_vlan(load_le<uint16_t>(data.data()), command == 0);
        if (command_class != VIRTIO_NET_CTRL_MAC) return false;
        if (command == VIRTIO_NET_CTRL_MAC_TABLE_SET) return net.filter_.set_addresses(data);
        if (command != VIRTIO_NET_CTRL_MAC_ADDR_SET || data.size() != sizeof(MacAddress)) return false;
        std::memcpy(net.shared_.lock()->mac.data(), data.data(), data.size());
        return true;
    }
};

Result<std::unique_ptr<Net>> Net::create(link::PacketBackend& backend, Options options) {
    if (options.mac[0] & 1) return fail(ErrorKind::Usage, "net {}: the MAC address is a multicast address", options.id);
    if (options.mtu != 0 && options.mtu < 68) return fail(ErrorKind::Usage, "net {}: MTU {}; at least 68 is possible", options.id, options.mtu);
    return std::unique_ptr<Net>(new Net(backend, std::move(options)));
}

Net::Net(link::PacketBackend& backend, Options options)
    : backend_(backend), options_(std::move(options)), shared_(Shared{options_.mac}), transmit_(new Transmit{*this, {}}), control_(new Control{*this}) {}

Net::~Net() = default;

uint64_t Net::features() const {
    return VIRTIO_NET_F_MAC | VIRTIO_NET_F_MRG_RXBUF | VIRTIO_NET_F_STATUS | VIRTIO_NET_F_CTRL_VQ | VIRTIO_NET_F_CTRL_RX | VIRTIO_NET_F_CTRL_VLAN |
           VIRTIO_NET_F_CTRL_RX_EXTRA | VIRTIO_NET_F_CTRL_MAC_ADDR | (options_.mtu ? VIRTIO_NET_F_MTU : 0);
}

std::vector<uint16_t> Net::queues() const {
    std::vector<uint16_t> sizes(2 * kPairs, options_.queue_size);
    sizes.push_back(64);
    return sizes;
}

uint64_t Net::read_config(uint32_t offset, unsigned size) {
    NetConfig config{.max_virtqueue_pairs = kPairs, .mtu = options_.mtu};
    {
        auto s = shared_.lock();
        config.mac = s->mac;
        config.status = s->link_up ? VIRTIO_NET_S_LINK_UP : 0;
    }
    return read_field(config, offset, size);
}

void Net::set_link(bool up) {
    shared_.lock()->link_up = up;
    config_changed();
}

void Net::start(Session& session) {
    memory_ = &session.memory();
    mergeable_ = session.has(VIRTIO_NET_F_MRG_RXBUF);
    vlan_filter_ = session.has(VIRTIO_NET_F_CTRL_VLAN);
    receive_ = session.queue(0);
    starved_ = true;  // the back end may have frames from before
    if (receive_)
        receive_->on_kick([this] {
            if (std::exchange(starved_, false)) backend_.ready();
        });
    if (VirtQueue* q = session.queue(1)) io::spawn(serve(*q, *transmit_));
    // Where the control queue is depends on pairs; without the feature there is none.
    if (VirtQueue* q = session.has(VIRTIO_NET_F_CTRL_VQ) ? session.queue(kControl) : nullptr) io::spawn(serve(*q, *control_));
    backend_.attach(this);
}

void Net::stop() {
    receive_ = nullptr;
    backend_.attach(nullptr);
}

void Net::reset() {
    filter_ = {};
    shared_.lock()->mac = options_.mac;
}

bool Net::deliver(std::span<const std::byte> frame) {
    const Shared now = *shared_.lock();
    if (!receive_) return false;
    if (!now.link_up || frame.size() > link::kMaxFrame || !filter_.wants(frame, now.mac, vlan_filter_)) {
        ++counters_.filtered;
        return true;
    }
    std::vector<Chain> buffers;
    uint64_t room = 0;
    const uint64_t needed = frame.size() + sizeof(NetHeader);
    while (room < needed && (mergeable_ || buffers.empty())) {
        std::optional<Chain> chain = receive_->pop();
        if (!chain) break;
        room += chain->writable_size();
        buffers.push_back(std::move(*chain));
        if (buffers.front().writable_size() < sizeof(NetHeader)) {
            receive_->fail_queue(Error(ErrorKind::Corrupt, "a receive buffer smaller than the header"));
            return true;
        }
    }
    if (room >= needed) {
        fill(buffers, frame);
        return true;
    }
    const bool too_big = !mergeable_ && !buffers.empty();
    while (!buffers.empty()) {
        receive_->put_back(std::move(buffers.back()));
        buffers.pop_back();
    }
    if (too_big) ++counters_.filtered;  // no buffer of this driver will ever hold it
    starved_ = starved_ || !too_big;
    return too_big;
}

void Net::fill(std::vector<Chain>& buffers, std::span<const std::byte> frame) {
    NetHeader header{.num_buffers = static_cast<uint16_t>(buffers.size())};
    uint32_t extra = sizeof header;
    for (Chain& buffer : buffers) {
        ChainCursor cursor(*memory_, buffer.writable());
        if (extra) cursor.write(as_bytes_of(header));
        const size_t n = cursor.write(frame);
        frame = frame.subspan(n);
        receive_->complete(std::move(buffer), static_cast<uint32_t>(n) + std::exchange(extra, 0));
    }
    buffers.clear();
    ++counters_.received;
}

std::string Net::save() const {
    pb::Net m;
    filter_.save(m);
    const Shared s = *shared_.lock();
    m.set_link_up(s.link_up);
    m.set_mac(s.mac.data(), s.mac.size());
    return m.SerializeAsString();
}

Result<> Net::load(const std::string& state) {
    pb::Net m;
    if (!m.ParseFromString(state) || m.mac().size() != sizeof(MacAddress)) return fail(ErrorKind::Corrupt, "saved state of {}: out of range", id());
    YADO_TRY(filter_.load(m));
    auto s = shared_.lock();
    s->link_up = m.link_up();
    std::memcpy(s->mac.data(), m.mac().data(), sizeof(MacAddress));
    return {};
}

std::string Net::detail() const { return backend_.describe(); }

}  // namespace yado::virtio
