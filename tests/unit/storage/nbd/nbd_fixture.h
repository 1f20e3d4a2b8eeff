// A server on a thread of its own, and clients of it on the test's: ours, and a socket that says what the test wants.
#pragma once

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "io/listener.h"
#include "oracle.h"
#include "storage/nbd/message.h"
#include "storage/nbd/nbd_file.h"
#include "storage/nbd/spec.h"
#include "storage/operations/new_image.h"
#include "storage/operations/operations.h"
#include "storage/operations/serve.h"

namespace yado::storage {

class TestServer {
  public:
    struct Config {
        std::string path, format = "raw", socket, export_name;
        bool readonly = false;
    };
    explicit TestServer(const Config& config) : socket_(config.socket) {
        ServeConfig serve;
        serve.image.path = config.path;
        serve.image.format = config.format;
        serve.image.readonly = config.readonly;
        serve.export_name = config.export_name;
        auto listener = io::listen_unix(socket_, "test");
        EXPECT_TRUE(listener.has_value()) << listener.error().message();
        serve.listener = std::move(*listener);
        auto served = io::finish_on(thread_.executor(), ServedImage::start(thread_.executor(), std::move(serve), [this] { ++left_; }));
        EXPECT_TRUE(served.has_value()) << served.error().message();
        served_ = std::move(*served);
    }
    ~TestServer() {
        EXPECT_TRUE(io::finish_on(thread_.executor(), served_->close()));
        unlink(socket_.c_str());
    }
    /// How often the last client has left.
    unsigned left() const { return left_; }
    std::string uri(const std::string& name = "") const { return "nbd+unix:///" + name + "?socket=" + socket_; }

  private:
    const std::string socket_;
    std::atomic<unsigned> left_{0};
    io::ExecutorThread thread_{"nbd-server"};
    std::unique_ptr<ServedImage> served_;
};

/// Says to a server what the test wants.
class RawClient {
  public:
    explicit RawClient(const std::string& socket_path) : fd_(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
        socket_path.copy(address.sun_path, sizeof address.sun_path - 1);
        EXPECT_EQ(connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
        const timeval patience{.tv_sec = 20, .tv_usec = 0};
        setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    }
    int fd() const { return fd_.get(); }
    void say(const nbd::BytesOut& out) { (void)!send(fd_.get(), out.bytes().data(), out.bytes().size(), MSG_NOSIGNAL); }
    std::string hear(size_t bytes) {
        if (bytes == 0) return {};  // recv() would wait
        std::string text(bytes, '\0');
        const ssize_t n = recv(fd_.get(), text.data(), bytes, MSG_WAITALL);
        text.resize(n < 0 ? 0 : static_cast<size_t>(n));
        return text;
    }
    /// True if the server hung up, whatever it said before.
    bool hears_the_end() {
        char nothing[65536];
        ssize_t n = 0;
        while ((n = recv(fd_.get(), nothing, sizeof nothing, 0)) > 0) {}
        return n == 0 || errno == ECONNRESET;
    }
    void greet() {
        hear(18);
        nbd::BytesOut flags;
        flags.add(uint32_t{3});
        say(flags);
    }
    static void option(nbd::BytesOut& out, uint32_t number, std::span<const std::byte> data = {}) {
        out.add(nbd::IHAVEOPT).add(number).add(static_cast<uint32_t>(data.size())).add_bytes(data);
    }
    void say_option(uint32_t number, std::span<const std::byte> data = {}) {
        nbd::BytesOut out;
        option(out, number, data);
        say(out);
    }
    /// The type of the answer to an option; its data is heard as well.
    uint32_t reply() {
        const std::string header = hear(20);
        if (header.size() < 20) return 0;
        hear(load_be<uint32_t>(header.data() + 16));
        return load_be<uint32_t>(header.data() + 12);
    }
    /// As far as requests.
    void choose() {
        greet();
        say_option(1);
        hear(10);
    }
    struct Request {
        uint16_t flags = 0, type = 0;
        uint64_t offset = 0;
        uint32_t length = 512;
    };
    void request(const Request& r, uint64_t cookie = 7) {
        nbd::BytesOut out;
        out.add(nbd::NBD_REQUEST_MAGIC).add(r.flags).add(r.type).add(cookie).add(r.offset).add(r.length);
        say(out);
    }
    /// The errno of a simple reply; nothing if there is none.
    std::optional<uint32_t> simple_reply() {
        const std::string reply = hear(16);
        if (reply.size() < 16 || load_be<uint32_t>(reply.data()) != nbd::NBD_SIMPLE_REPLY_MAGIC) return std::nullopt;
        return load_be<uint32_t>(reply.data() + 4);
    }

  private:
    Fd fd_;
};

class NbdTest : public OracleTest {
  protected:
    void SetUp() override {}
    std::string socket() const { return folder_ + "/socket"; }
    Result<std::unique_ptr<block::DiskImage>> open(const std::string& uri, const std::string& format = "raw", bool readonly = false,
                                                   unsigned reconnect = 0) {
        DiskConfig config;
        config.path = uri;
        config.format = format;
        config.readonly = readonly;
        config.reconnect = std::chrono::seconds(reconnect);
        return try_open(std::move(config));
    }
    std::unique_ptr<block::DiskImage> must_open(const std::string& uri, const std::string& format = "raw", bool readonly = false, unsigned reconnect = 0) {
        auto disk = open(uri, format, readonly, reconnect);
        EXPECT_TRUE(disk.has_value()) << disk.error().message();
        return disk ? std::move(*disk) : nullptr;
    }
    /// A qcow2 image of 4 MiB in a file with room for all of it, since an export cannot grow.
    std::string roomy_qcow2() {
        CreateOptions options;
        options.size = 4_MiB;
        create(**find_format("qcow2"), "roomy", options);
        std::filesystem::resize_file(path("roomy"), 8 << 20);
        return path("roomy");
    }
    static bool have(const char* program) { return std::system(fmt::format("command -v {} > /dev/null 2>&1", program).c_str()) == 0; }
};

}  // namespace yado::storage
