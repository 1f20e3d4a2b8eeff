// virtio over PCI (4.1): one PCI function, one DeviceModel behind it.
//
//     BAR 0 (64-bit, 16 KiB): 0000 common configuration   1000 ISR   2000 device configuration   3000 notifications
//     BAR 2 (32-bit): MSI-X
//
//     vCPU thread: register write --> CommonConfig (locked) --> posts --> executor: start, kick, end of the session
//
// Executor-side operations (start, end, pause, resume) run one after another, each to its end, in the order posted. A
// driver that wrote 0 to the status reads 0 only when the last request in flight is done.
#pragma once

#include <atomic>
#include <deque>

#include "base/fd.h"
#include "io/executor.h"
#include "pci/function.h"
#include "virtio/device_model.h"
#include "virtio/pci/common_config.h"

namespace yado::virtio {

/// Lets an engine turn a queue notification into an eventfd signal without an exit (KVM's ioeventfd).
class Doorbells {
  public:
    virtual ~Doorbells() = default;
    /// A write of 2 bytes (any value) at `address` shall signal `eventfd` and not reach the device. Any thread; locks of
    /// rank Pci may be held. An error means that writes come through the address space as ever.
    virtual Result<> bind(GuestPhysAddr address, int eventfd) = 0;
    virtual void unbind(GuestPhysAddr address, int eventfd) = 0;
};

class VirtioPci final : public pci::PciFunction, private VirtQueue::Events, private DeviceModel::Host, private bus::IoHandler {
  public:
    struct Wiring {
        pci::FunctionWiring pci;
        io::Executor& executor;  ///< all queue processing; must run, and outlive this
        Doorbells* doorbells = nullptr;
    };
    struct Options {
        bool packed = false;  ///< offer packed rings
        bool event_idx = true;
        bool indirect = true;
        bool express = false;  ///< a PCI Express endpoint: it goes into a root port
    };
    VirtioPci(const Wiring& wiring, std::unique_ptr<DeviceModel> model, const Options& options);
    VirtioPci(const Wiring& wiring, std::unique_ptr<DeviceModel> model) : VirtioPci(wiring, std::move(model), Options{}) {}
    /// Ends the session and waits for requests in flight. vCPUs are stopped. Any thread.
    ~VirtioPci() override;

    DeviceModel& model() { return *model_; }

    // bus::Device
    std::string id() const override { return model_->id(); }
    std::string kind() const override { return model_->kind(); }
    void reset() override;
    void pause() override;
    void resume() override;
    Result<state::Record> save() const override;
    Result<> load(const state::Record& record) override;

    static constexpr uint64_t kCommonAt = 0, kIsrAt = 0x1000, kDeviceAt = 0x2000, kNotifyAt = 0x3000, kBarSize = 0x4000;
    static constexpr uint32_t kNotifyMultiplier = 4;

  private:
    struct Registers {
        CommonConfig common;
        uint8_t isr = 0;
        uint8_t old_status = 0;   // shown while a reset is under way
        unsigned resets = 0;      // under way
        bool paused = true;
        bool config_pending = false;
    };
    using Operation = std::move_only_function<io::Task<>()>;

    void add_virtio_capabilities();
    void add_window(CfgType type, uint64_t offset, uint32_t length);

    // BAR 0
    uint64_t read(uint64_t offset, unsigned size) override;
    void write(uint64_t offset, unsigned size, uint64_t value) override;
    uint64_t read_common(uint64_t offset, unsigned size);
    uint64_t read_isr(uint64_t offset);
    void write_common(uint64_t offset, unsigned size, uint64_t value);

    // pci::PciFunction
    void config_written(uint16_t offset, unsigned size) override;
    void before_config_read(uint16_t offset, unsigned size) override;
    void bar_moved(unsigned index, std::optional<uint64_t> address) override;
    std::string detail() const override;
    std::optional<std::pair<uint64_t, unsigned>> config_window() const;

    // VirtQueue::Events and DeviceModel::Host
    void signal(unsigned queue) override;
    void failed(unsigned queue, const Error& error) override;
    void again(unsigned queue) override;
    void config_changed() override;
    void interrupt(Registers& r, uint8_t cause, uint16_t vector);
    void notify(unsigned queue);
    void needs_reset(const Error& error);

    // Executor's thread
    void enqueue(Operation operation);
    io::Task<> pump();
    io::Task<> end_session();
    void start_session(const SessionConfig& config);
    void kicked(unsigned queue);
    void watch_doorbells();
    void run_to_end(Operation operation);

    io::Executor& executor_;
    mem::GuestMemory& memory_;
    Doorbells* doorbells_;
    std::unique_ptr<DeviceModel> model_;
    unsigned queue_count_;
    uint16_t window_capability_ = 0;
    std::unique_ptr<std::atomic<bool>[]> notified_;  // a kick is posted and not yet run
    std::vector<Fd> bells_;                // eventfds, one a queue, where there are doorbells
    std::optional<uint64_t> bell_base_;    // where they are bound; under the function's lock
    Guarded<Registers> registers_;
    // Executor's
    std::vector<io::Executor::Watch> bell_watches_;
    std::unique_ptr<Session> session_;
    std::deque<Operation> operations_;
    bool pumping_ = false;
    bool held_ = true;
};

}  // namespace yado::virtio
