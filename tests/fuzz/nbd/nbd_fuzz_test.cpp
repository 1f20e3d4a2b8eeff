// The server from bytes: conversations that make sense, mutated, and noise, over a socketpair. Each must end, within bounds, and leave the image
// usable. Seeded: YADO_FUZZ_SEED and YADO_FUZZ_COUNT choose others and more.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <cstdlib>
#include <random>

#include "fakes/model_file.h"
#include "base/log.h"
#include "io/call_on.h"
#include "storage/nbd/message.h"
#include "storage/nbd/server.h"
#include "storage/raw/raw_image.h"

namespace yado::storage {
namespace {

using nbd::BytesOut;

uint64_t environment(const char* name, uint64_t fallback) {
    const char* text = std::getenv(name);
    return text && *text ? std::strtoull(text, nullptr, 0) : fallback;
}

class NbdFuzz : public testing::Test {
  protected:
    NbdFuzz() : image_(*open_raw(std::make_unique<fakes::ModelFile>(fakes::ModelFile::Contents(1 << 20)))) {
        layers_[0].image = image_.get();
        nbd::Export offered{.name = "e", .size = 1_MiB};
        nbd::Served served{.offered = std::move(offered), .layers = layers_};
        server_ = *nbd::Server::start(executor_, Fd(), std::move(served), nullptr);
    }
    ~NbdFuzz() override {
        wait(closing());
        server_.reset();
        EXPECT_TRUE(wait(image_->close()));
    }
    template <typename T>
    T wait(io::Task<T> task) {
        return io::run_until_done(executor_, std::move(task));
    }
    io::Task<bool> closing() {
        co_await server_->close();
        co_return true;
    }
    uint64_t below(uint64_t n) { return random_() % n; }

    void add_option(BytesOut& out) {
        BytesOut data;
        const auto option = static_cast<uint32_t>(below(20) ? 2 + below(9) : below(5000));
        if (option == 6 || option == 7) data.add(uint32_t{1}).add_text("e").add(uint16_t{1}).add(uint16_t{3});
        if (option == 9 || option == 10) data.add(uint32_t{0}).add(uint32_t{1}).add(uint32_t{15}).add_text("base:allocation");
        if (option == 2) return;
        out.add(nbd::IHAVEOPT).add(option).add(static_cast<uint32_t>(data.bytes().size())).add_bytes(data.bytes());
    }
    void add_request(BytesOut& out) {
        const auto type = static_cast<uint16_t>(below(30) ? std::array{0, 1, 3, 4, 6, 7}[below(6)] : below(70000));
        const uint64_t offset = below(10) ? below(2048) * 512 : random_();
        const auto length = static_cast<uint32_t>(below(10) ? (1 + below(16)) * 512 : random_() >> below(32));
        out.add(nbd::NBD_REQUEST_MAGIC).add(static_cast<uint16_t>(below(10) ? 0 : below(32))).add(type).add(random_()).add(offset).add(length);
        if (type == 1) out.add_zeroes(std::min<uint32_t>(length, 1 << 16));
    }
    std::vector<std::byte> conversation() {
        BytesOut out;
        out.add(uint32_t{3});
        for (uint64_t n = below(6); n > 0; --n) add_option(out);
        BytesOut go;
        go.add(uint32_t{0}).add(uint16_t{0});
        out.add(nbd::IHAVEOPT).add(uint32_t{7}).add(uint32_t{6}).add_bytes(go.bytes());
        for (uint64_t n = below(20); n > 0; --n) add_request(out);
        return {out.bytes().begin(), out.bytes().end()};
    }
    void mutate(std::vector<std::byte>& bytes) {
        for (uint64_t n = below(4); n > 0; --n) bytes[below(below(2) ? bytes.size() : std::min<size_t>(bytes.size(), 160))] = static_cast<std::byte>(random_());
        if (below(8) == 0) bytes.resize(below(bytes.size()) + 1);
        if (below(50) == 0)
            for (std::byte& b : bytes) b = static_cast<std::byte>(random_());
    }
    /// Says the bytes in pieces, hangs up, and hears what comes until the server has forgotten the client.
    void converse(std::span<const std::byte> bytes) {
        int ends[2];
        ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
        Fd ours(ends[0]);
        server_->adopt(Fd(ends[1]));
        char nothing[65536];
        for (unsigned round = 0; server_->clients() > 0; ++round) {
            ASSERT_LT(round, 100'000u);
            const size_t piece = std::min<size_t>(bytes.size(), 1 + below(4096));
            const ssize_t n = piece ? send(ours.get(), bytes.data(), piece, MSG_NOSIGNAL) : 0;
            if (n > 0) bytes = bytes.subspan(static_cast<size_t>(n));
            else if (n < 0 && errno != EAGAIN) bytes = {};
            if (bytes.empty()) shutdown(ours.get(), SHUT_WR);
            while (recv(ours.get(), nothing, sizeof nothing, 0) > 0) {}
            executor_.run_once(Nanoseconds(0));
        }
    }

    io::Executor executor_;
    std::mt19937_64 random_{environment("YADO_FUZZ_SEED", 1)};
    std::unique_ptr<block::DiskImage> image_;
    std::vector<Layer> layers_{1};
    std::unique_ptr<nbd::Server> server_;
};

TEST_F(NbdFuzz, EveryConversationEnds) {
    log::set_level(LogLevel::Error);
    for (uint64_t n = environment("YADO_FUZZ_COUNT", 4000); n > 0 && !HasFatalFailure(); --n) {
        auto bytes = conversation();
        mutate(bytes);
        converse(bytes);
    }
}

}  // namespace
}  // namespace yado::storage
