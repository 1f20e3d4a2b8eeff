// Other implementations: QEMU's and libnbd's tools on our server, our client on qemu-nbd.
#include <gmock/gmock.h>
#include <signal.h>

#include <thread>

#include "nbd/nbd_fixture.h"

namespace yado::storage {
namespace {

using testing::HasSubstr;

class NbdQemuTest : public NbdTest {
  protected:
    void SetUp() override {
        if (!have("qemu-img") || !have("qemu-nbd")) GTEST_SKIP() << "qemu-utils is not installed";
    }
    /// Half data, half holes.
    std::string sparse(const std::string& name) {
        const std::string image = file(name, 0);
        std::filesystem::resize_file(image, 8 << 20);
        std::fstream out(image, std::ios::in | std::ios::out | std::ios::binary);
        for (unsigned n = 0; n < 8; n += 2) {
            out.seekp(n << 20);
            out << std::string(1 << 20, static_cast<char>('a' + n));
        }
        return image;
    }
};

TEST_F(NbdQemuTest, QemuReadsWhatWeServe) {
    const std::string image = sparse("a.img");
    const TestServer server({.path = image, .socket = socket(), .export_name = "e"});
    EXPECT_THAT(qemu_img(fmt::format("info '{}'", server.uri("e"))), HasSubstr("8 MiB"));
    EXPECT_THAT(qemu_img(fmt::format("compare -U -f raw -F raw a.img '{}'", server.uri("e"))), HasSubstr("identical"));
    qemu_img(fmt::format("convert -f raw -O qcow2 '{}' copy.qcow2", server.uri("e")));
    EXPECT_THAT(qemu_img("compare -U -f raw -F qcow2 a.img copy.qcow2"), HasSubstr("identical"));
    EXPECT_THAT(qemu_img(fmt::format("map --output=json -f raw '{}'", server.uri("e"))), HasSubstr("\"zero\": true"));
}

TEST_F(NbdQemuTest, QemuWritesWhatWeServe) {
    const std::string source = sparse("a.img");
    CreateOptions options;
    options.size = 8_MiB;
    create(**find_format("qcow2"), "b.qcow2", options);
    {
        const TestServer server({.path = path("b.qcow2"), .format = "qcow2", .socket = socket()});
        qemu_img(fmt::format("convert -n -f raw -O raw a.img '{}'", server.uri()));
    }
    EXPECT_THAT(qemu_img("compare -f raw -F qcow2 a.img b.qcow2"), HasSubstr("identical"));
    qemu_img("check b.qcow2");
}

TEST_F(NbdQemuTest, LibnbdsToolsUseWhatWeServe) {
    if (!have("nbdinfo") || !have("nbdcopy")) GTEST_SKIP() << "libnbd-bin is not installed";
    const std::string image = sparse("a.img");
    CreateOptions options;
    options.size = 8_MiB;
    create(**find_format("qcow2"), "b.qcow2", options);
    const TestServer server({.path = image, .socket = socket(), .export_name = "e", .readonly = true});
    const TestServer target({.path = path("b.qcow2"), .format = "qcow2", .socket = path("target")});
    EXPECT_THAT(run(fmt::format("nbdinfo '{}'", server.uri("e"))), HasSubstr("can_multi_conn: true"));
    EXPECT_THAT(run(fmt::format("nbdinfo --list '{}'", server.uri())), HasSubstr("export=\"e\""));
    EXPECT_THAT(run(fmt::format("nbdinfo --map '{}'", server.uri("e"))), HasSubstr("hole,zero"));
    run(fmt::format("nbdcopy '{}' '{}'", server.uri("e"), target.uri()));
    EXPECT_THAT(qemu_img(fmt::format("compare '{}' '{}'", server.uri("e"), target.uri())), HasSubstr("identical"));
}

class NbdOnQemuTest : public NbdQemuTest {
  protected:
    void TearDown() override { stop(SIGTERM); }
    void serve(const std::string& arguments) {
        run(fmt::format("qemu-nbd --persistent --shared=4 --fork --pid-file {} --socket {} {}", path("pid"), socket(), arguments));
    }
    void stop(int signal) {
        std::ifstream in(path("pid"));
        pid_t pid = 0;
        if (!(in >> pid) || pid <= 0) return;
        kill(pid, signal);
        while (runs(pid)) std::this_thread::yield();
        std::filesystem::remove(path("pid"));
    }
    std::string uri() const { return "nbd+unix:///?socket=" + socket(); }

  private:
    /// Not gone, and no zombie that somebody else is to reap.
    static bool runs(pid_t pid) {
        const std::string stat = [&] {
            std::ifstream in(fmt::format("/proc/{}/stat", pid));
            return std::string(std::istreambuf_iterator<char>(in), {});
        }();
        return !stat.empty() && stat.find(") Z ") == stat.npos;
    }
};

TEST_F(NbdOnQemuTest, ARawDiskLiesOnQemuNbd) {
    serve("--discard=unmap -f raw " + file("a.img", 1 << 20));
    const auto disk = must_open(uri());
    torture(*disk, std::string(1 << 20, 0), 40);
    EXPECT_TRUE(wait(disk->discard(Bytes(0), Bytes(65536))));
    EXPECT_TRUE(wait(disk->close()));
}

TEST_F(NbdOnQemuTest, AQcow2ImageOfOursLiesOnQemuNbd) {
    serve("-f raw " + roomy_qcow2());
    const auto disk = must_open(uri(), "qcow2");
    torture(*disk, std::string(4 << 20, 0), 40);
    EXPECT_TRUE(wait(disk->close()));
    stop(SIGTERM);
    qemu_img("check -f qcow2 roomy");
}

TEST_F(NbdOnQemuTest, AQcow2DiskThatQemuUnderstandsIsRawToUs) {
    serve("-f qcow2 " + roomy_qcow2());
    const auto disk = must_open(uri());
    torture(*disk, std::string(4 << 20, 0), 40);
    EXPECT_TRUE(wait(disk->close()));
}

TEST_F(NbdOnQemuTest, AServerKilledInFlightIsWaitedForAndItsRequestsAreIssuedAgain) {
    const std::string image = file("a.img", 8 << 20);
    serve("-f raw " + image);
    const auto disk = must_open(uri(), "raw", false, 30);
    std::string data(8 << 20, 'k');
    size_t pending = 8;
    std::vector<iovec> pieces(8);
    for (size_t n = 0; n < 8; ++n) {
        pieces[n] = {&data[n << 20], 1 << 20};
        io::spawn(disk->writev(Bytes(n << 20), {&pieces[n], 1}), [&](Result<> r) {
            EXPECT_TRUE(r.has_value()) << r.error().message();
            --pending;
        });
    }
    stop(SIGKILL);
    std::filesystem::remove(socket());
    serve("-f raw " + image);
    while (pending > 0) executor_.run_once(std::chrono::seconds(1));
    EXPECT_TRUE(read(*disk, 0, data.size()) == data);
    (void)wait(disk->close());  // writes that were answered before may have been lost, so that this may fail
}

}  // namespace
}  // namespace yado::storage
