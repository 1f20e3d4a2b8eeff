#include "virtio/pci/virtio_pci.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <future>

#include "base/log.h"
#include "virtio/virtio.pb.h"

namespace yado::virtio {

namespace {

constexpr unsigned kBar = 0, kMsixBar = 2;

pci::Identity identity_of(const DeviceModel& model) {
    const auto type = std::to_underlying(model.type());
    return {.vendor = 0x1af4, .device = static_cast<uint16_t>(0x1040 + type), .subsystem_vendor = 0x1af4,
            .subsystem = static_cast<uint16_t>(0x40 + type), .class_code = model.class_code(), .revision = 1};  // 4.1.2
}

uint64_t offered(const DeviceModel& model, const VirtioPci::Options& o) {
    return model.features() | VIRTIO_F_VERSION_1 | (o.packed ? VIRTIO_F_RING_PACKED : 0) | (o.event_idx ? VIRTIO_F_EVENT_IDX : 0) |
           (o.indirect ? VIRTIO_F_INDIRECT_DESC : 0);
}

uint16_t vectors_of(const DeviceModel& model) { return static_cast<uint16_t>(model.queues().size() + 1); }

}  // namespace

VirtioPci::VirtioPci(const Wiring& wiring, std::unique_ptr<DeviceModel> model, const Options& options)
    : PciFunction(wiring.pci, identity_of(*model)),
      executor_(wiring.executor),
      memory_(wiring.pci.ram),
      doorbells_(wiring.doorbells),
      model_(std::move(model)),
      queue_count_(static_cast<unsigned>(model_->queues().size())),
      notified_(new std::atomic<bool>[queue_count_]()),
      registers_(Registers{CommonConfig(offered(*model_, options), model_->queues(), vectors_of(*model_))}) {
    add_bar(kBar, pci::BarKind::Memory64, kBarSize, *this);
    add_msix(vectors_of(*model_), kMsixBar);
    hold_msix();  // until resume()
    add_virtio_capabilities();
    if (options.express) add_express(pci::ExpressType::Endpoint);
    use_intx_pin(1);
    seal();
    model_->bind(this);
    for (unsigned i = 0; doorbells_ && i < queue_count_; ++i) bells_.emplace_back(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}

VirtioPci::~VirtioPci() {
    model_->bind(nullptr);
    bar_moved(kBar, std::nullopt);
    run_to_end([this]() -> io::Task<> {
        co_await end_session();
        bell_watches_.clear();
    });
    // What was posted before, and the session's own end, have run when this has.
    run_to_end([]() -> io::Task<> { co_return; });
}

void VirtioPci::add_window(CfgType type, uint64_t offset, uint32_t length) {
    // struct virtio_pci_cap, 4.1.4; a notify capability has the multiplier behind it.
    std::array<uint8_t, 18> body{};
    const bool notify = type == CfgType::Notify;
    body[0] = notify ? 20 : 16;
    body[1] = std::to_underlying(type);
    body[2] = kBar;
    store_le<uint32_t>(&body[6], static_cast<uint32_t>(offset));
    store_le<uint32_t>(&body[10], length);
    store_le<uint32_t>(&body[14], kNotifyMultiplier);
    add_capability(pci::CapabilityId::Vendor, std::span(body).first(notify ? 18 : 14));
}

void VirtioPci::add_virtio_capabilities() {
    add_window(CfgType::Common, kCommonAt, CommonConfig::kSize);
    add_window(CfgType::Notify, kNotifyAt, queue_count_ * kNotifyMultiplier);
    add_window(CfgType::Isr, kIsrAt, 1);
    if (model_->config_size()) add_window(CfgType::Device, kDeviceAt, model_->config_size());
    std::array<uint8_t, 18> body{};
    body[0] = 20;
    body[1] = std::to_underlying(CfgType::Pci);
    window_capability_ = add_capability(pci::CapabilityId::Vendor, body);
    configure([&](pci::ConfigSpace& c) {  // 4.1.4.9: bar, offset, length and data are the driver's
        c.allow<uint8_t>(window_capability_ + 4, 0xff);
        c.allow<uint32_t>(window_capability_ + 8, 0xffffffff);
        c.allow<uint32_t>(window_capability_ + 12, 0xffffffff);
        c.allow<uint32_t>(window_capability_ + 16, 0xffffffff);
    });
}

// ---- registers: vCPU threads ----

uint64_t VirtioPci::read(uint64_t offset, unsigned size) {
    if (offset >= kNotifyAt) return 0;
    if (offset >= kDeviceAt) {
        const auto at = static_cast<uint32_t>(offset - kDeviceAt);
        if (at >= model_->config_size()) return mask_of_size(size);
        return model_->read_config(at, size);
    }
    return offset >= kIsrAt ? read_isr(offset - kIsrAt) : read_common(offset, size);
}

void VirtioPci::write(uint64_t offset, unsigned size, uint64_t value) {
    if (offset >= kNotifyAt) {
        if ((offset - kNotifyAt) % kNotifyMultiplier == 0) notify(static_cast<unsigned>((offset - kNotifyAt) / kNotifyMultiplier));
    } else if (offset >= kDeviceAt) {
        const auto at = static_cast<uint32_t>(offset - kDeviceAt);
        if (at < model_->config_size() && size <= model_->config_size() - at) model_->write_config(at, size, value);
    } else if (offset < kIsrAt) {
        write_common(offset, size, value);
    }
}

uint64_t VirtioPci::read_common(uint64_t offset, unsigned size) {
    auto r = registers_.lock();
    uint64_t value = 0;
    for (unsigned i = 0; i < size; ++i) {
        uint8_t byte = r->common.read_byte(static_cast<uint32_t>(offset) + i);
        if (offset + i == 20 && r->resets > 0 && byte == 0) byte = r->old_status;  // not yet 0: requests are in flight
        value |= static_cast<uint64_t>(byte) << (8 * i);
    }
    return value;
}

uint64_t VirtioPci::read_isr(uint64_t offset) {
    if (offset > 0) return 0;
    auto r = registers_.lock();
    const uint8_t isr = std::exchange(r->isr, uint8_t{0});
    set_intx(false);
    return isr;
}

void VirtioPci::write_common(uint64_t offset, unsigned size, uint64_t value) {
    auto r = registers_.lock();
    const uint8_t before = r->common.status;
    switch (r->common.write(static_cast<uint32_t>(offset), size, value)) {
    case CommonConfig::Effect::None: break;
    case CommonConfig::Effect::Reset:
        if (before == 0) break;
        r->old_status = before;
        ++r->resets;
        r->isr = 0;
        r->config_pending = false;
        set_intx(false);
        executor_.post([this] {
            enqueue([this]() -> io::Task<> {
                co_await end_session();
                --registers_.lock()->resets;
            });
        });
        break;
    case CommonConfig::Effect::DriverOk:
        executor_.post([this, config = r->common.session()]() mutable {
            enqueue([this, config = std::move(config)]() -> io::Task<> {
                start_session(config);
                co_return;
            });
        });
        break;
    }
}

std::optional<std::pair<uint64_t, unsigned>> VirtioPci::config_window() const {
    const uint32_t bar = config_register(window_capability_ + 4, 1), offset = config_register(window_capability_ + 8, 4),
                   length = config_register(window_capability_ + 12, 4);
    if (bar != kBar || (length != 1 && length != 2 && length != 4) || offset % length || offset > kBarSize - length) return std::nullopt;
    return std::pair<uint64_t, unsigned>(offset, length);
}

void VirtioPci::before_config_read(uint16_t offset, unsigned size) {
    const unsigned data = window_capability_ + 16u;
    if (offset >= data + 4 || offset + size <= data) return;
    if (const auto window = config_window()) poke_config(static_cast<uint16_t>(data), static_cast<uint32_t>(read(window->first, window->second)));
}

void VirtioPci::config_written(uint16_t offset, unsigned size) {
    const unsigned data = window_capability_ + 16u;
    if (offset < data + 4 && offset + size > data) {
        const auto window = config_window();
        if (window) write(window->first, window->second, config_register(static_cast<uint16_t>(data), window->second));
    }
    if (offset <= pci::kCommand && offset + size > pci::kCommand && bus_master())
        for (unsigned i = 0; i < queue_count_; ++i) notify(i);  // what waited for bus mastering
}

void VirtioPci::bar_moved(unsigned index, std::optional<uint64_t> address) {
    if (index != kBar || !doorbells_) return;
    for (unsigned i = 0; i < bells_.size(); ++i) {
        if (bell_base_) doorbells_->unbind(GuestPhysAddr(*bell_base_ + kNotifyAt + i * kNotifyMultiplier), bells_[i].get());
        if (address)
            if (auto bound = doorbells_->bind(GuestPhysAddr(*address + kNotifyAt + i * kNotifyMultiplier), bells_[i].get()); !bound)
                YADO_LOG_LIMITED(Warning, "{}: queue {}: {}", id(), i, bound.error().message());
    }
    bell_base_ = address;
}

std::string VirtioPci::detail() const {
    auto r = registers_.lock();
    const char* state = r->common.status & VIRTIO_STATUS_NEEDS_RESET ? "needs reset" : r->common.driver_ok() ? "driver ready" : "no driver";
    std::string all = state;
    if (const unsigned routed = msix_routed()) all += fmt::format(", {} interrupts routed", routed);
    const std::string more = model_->detail();
    return more.empty() ? all : fmt::format("{}, {}", all, more);
}

// ---- interrupts and kicks ----

void VirtioPci::interrupt(Registers& r, uint8_t cause, uint16_t vector) {
    if (msix_enabled()) {
        if (vector != VIRTIO_MSI_NO_VECTOR) raise_msix(vector);
    } else {
        r.isr |= cause;
        set_intx(true);
    }
}

void VirtioPci::signal(unsigned queue) {
    auto r = registers_.lock();
    if (r->common.driver_ok()) interrupt(*r, kIsrQueue, r->common.queues[queue].vector);
}

void VirtioPci::config_changed() {
    auto r = registers_.lock();
    ++r->common.generation;
    if (!r->common.driver_ok()) return;
    if (r->paused) {
        r->config_pending = true;
    } else {
        interrupt(*r, kIsrConfig, r->common.config_vector);
    }
}

void VirtioPci::failed(unsigned queue, const Error& error) {
    if (session_) session_->fail_all();
    needs_reset(error.within(fmt::format("queue {}", queue)));
}

void VirtioPci::needs_reset(const Error& error) {
    YADO_LOG_LIMITED(Warning, "{} {}: the driver broke the rules, the device needs a reset: {}", kind(), id(), error.message());
    {
        auto r = registers_.lock();
        if (!r->common.driver_ok()) return;
        r->common.status |= VIRTIO_STATUS_NEEDS_RESET;  // 2.1.2
    }
    config_changed();
}

void VirtioPci::again(unsigned queue) {
    executor_.post([this, queue] { kicked(queue); });
}

void VirtioPci::notify(unsigned queue) {
    if (queue >= queue_count_ || !bus_master()) return;
    // One posted kick a queue, however often the driver rings (acq_rel; cleared in the posted function).
    if (!notified_[queue].exchange(true, std::memory_order_acq_rel)) again(queue);
}

void VirtioPci::kicked(unsigned queue) {
    notified_[queue].store(false, std::memory_order_release);
    std::atomic_thread_fence(std::memory_order_seq_cst);  // cleared before the ring is looked at
    if (session_) session_->kick(queue);
}

void VirtioPci::watch_doorbells() {
    if (!bell_watches_.empty()) return;
    for (unsigned i = 0; i < bells_.size(); ++i) {
        auto watch = executor_.watch(bells_[i].get(), EPOLLIN, [this, i](uint32_t) {
            uint64_t count;
            [[maybe_unused]] const ssize_t n = ::read(bells_[i].get(), &count, sizeof count);
            kicked(i);
        });
        if (watch) bell_watches_.push_back(std::move(*watch));
    }
}

// ---- executor ----

void VirtioPci::enqueue(Operation operation) {
    operations_.push_back(std::move(operation));
    if (!pumping_) io::spawn(pump());
}

io::Task<> VirtioPci::pump() {
    pumping_ = true;
    while (!operations_.empty()) {
        Operation next = std::move(operations_.front());
        operations_.pop_front();
        co_await next();
    }
    pumping_ = false;
}

void VirtioPci::run_to_end(Operation operation) {
    std::promise<void> done;
    auto finished = done.get_future();
    // `done` outlives the operation: this call waits for it.
    Operation with_notice = [&]() -> io::Task<> {
        co_await operation();
        executor_.post([&done] { done.set_value(); });
    };
    if (!executor_.on_thread()) {
        executor_.post([&] { enqueue(std::move(with_notice)); });
        return finished.wait();
    }
    enqueue(std::move(with_notice));
    while (finished.wait_for(std::chrono::seconds(0)) != std::future_status::ready) executor_.run_once(std::chrono::milliseconds(10));
}

void VirtioPci::start_session(const SessionConfig& config) {
    auto session = Session::create(config, memory_, executor_, *this);
    if (!session) return needs_reset(session.error());
    session_ = std::move(*session);
    watch_doorbells();
    if (held_) session_->hold();
    model_->start(*session_);
    if (!held_) session_->kick_all();
}

io::Task<> VirtioPci::end_session() {
    if (session_) {
        std::unique_ptr<Session> ending = std::move(session_);
        model_->stop();
        ending->stop();
        co_await ending->drained();
        // We may run inside the last request's own completion: the queues go when that has returned.
        executor_.post([ending = std::move(ending)] {});
    }
    model_->reset();
}

// ---- lifecycle: control thread ----

void VirtioPci::pause() {
    registers_.lock()->paused = true;
    run_to_end([this]() -> io::Task<> {
        held_ = true;
        if (!session_) co_return;
        session_->hold();
        model_->pause();
        co_await session_->quiet();
    });
    hold_msix();
}

void VirtioPci::resume() {
    release_msix();
    run_to_end([this]() -> io::Task<> {
        held_ = false;
        {
            auto r = registers_.lock();
            r->paused = false;
            if (std::exchange(r->config_pending, false)) interrupt(*r, kIsrConfig, r->common.config_vector);
        }
        if (session_) {
            session_->release();
            model_->resume();
            session_->kick_all();
        }
        co_return;
    });
}

void VirtioPci::reset() {
    run_to_end([this]() -> io::Task<> { co_await end_session(); });
    {
        auto r = registers_.lock();
        r->common.reset();
        r->common.generation = 0;
        r->isr = 0;
        r->config_pending = false;
    }
    PciFunction::reset();
}

Result<state::Record> VirtioPci::save() const {
    if (session_ && session_->resting() > 0)
        return fail(ErrorKind::Conflict, "{}: {} requests wait until its host side works again", id(), session_->resting());
    pb::Device m;
    save_function(*m.mutable_function());
    {
        auto r = registers_.lock();
        r->common.save(m);
        m.set_isr(r->isr);
        m.set_config_pending(r->config_pending);
    }
    if (session_) {
        const auto positions = session_->positions();
        for (int i = 0; i < m.queues_size(); ++i) {
            m.mutable_queues(i)->set_next(positions[i].next);
            m.mutable_queues(i)->set_used(positions[i].used);
            m.mutable_queues(i)->set_next_wrap(positions[i].next_wrap);
            m.mutable_queues(i)->set_used_wrap(positions[i].used_wrap);
        }
    }
    m.set_model(model_->save());
    return state::make_record(*this, m);
}

Result<> VirtioPci::load(const state::Record& record) {
    pb::Device m;
    YADO_TRY(state::parse_record(record, m));
    if (m.isr() > (kIsrQueue | kIsrConfig)) return fail(ErrorKind::Corrupt, "saved state of {}: ISR {:#x}", record.name, m.isr());
    YADO_TRY(check_function(m.function()));
    CommonConfig common = registers_.lock()->common;
    YADO_TRY(common.load(m));
    SessionConfig config = common.session();
    for (const pb::Queue& q : m.queues())
        config.positions.push_back({static_cast<uint16_t>(q.next()), static_cast<uint16_t>(q.used()), q.next_wrap(), q.used_wrap()});
    const bool runs = common.driver_ok() && !(common.status & VIRTIO_STATUS_NEEDS_RESET);
    if (runs) {  // refused before anything changes: rings that are not in RAM
        io::Gate gate;
        for (unsigned i = 0; i < config.queues.size(); ++i)
            if (config.queues[i]) YADO_TRY(VirtQueue::create(i, *config.queues[i], config.positions[i], memory_, gate, *this));
    }
    run_to_end([this]() -> io::Task<> { co_await end_session(); });
    YADO_TRY(model_->load(m.model()));
    YADO_TRY(load_function(m.function()));
    {
        auto r = registers_.lock();
        r->common = std::move(common);
        r->isr = static_cast<uint8_t>(m.isr());
        r->config_pending = m.config_pending();
    }
    if (runs)
        run_to_end([&]() -> io::Task<> {
            start_session(config);
            co_return;
        });
    return {};
}

}  // namespace yado::virtio
