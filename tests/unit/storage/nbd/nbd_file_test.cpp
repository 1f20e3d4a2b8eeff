// The client against our server: what lies on an export, what a lost connection does.
#include <gmock/gmock.h>

#include "nbd/nbd_fixture.h"

namespace yado::storage {
namespace {

using testing::HasSubstr;

TEST_F(NbdTest, ARawDiskOnAnExportHoldsWhatIsWrittenToIt) {
    const TestServer server({.path = file("a.img", 1 << 20), .socket = socket()});
    const auto disk = must_open(server.uri());
    EXPECT_EQ(disk->size(), 1_MiB);
    torture(*disk, std::string(1 << 20, 0), 40);
    EXPECT_TRUE(wait(disk->flush()));
    EXPECT_TRUE(wait(disk->close()));
}

TEST_F(NbdTest, AQcow2ImageLiesOnAnExportWithRoomForIt) {
    const std::string image = roomy_qcow2();
    {
        const TestServer server({.path = image, .socket = socket()});
        const auto disk = must_open(server.uri(), "qcow2");
        torture(*disk, std::string(4 << 20, 0), 40);
        EXPECT_TRUE(wait(disk->close()));
    }
    const auto report = wait(check_image(executor_, image, "qcow2", Repair::No));
    ASSERT_TRUE(report.has_value());
    EXPECT_EQ(report->errors, 0u);
}

TEST_F(NbdTest, ServedByFormatOneSeesTheGuestsDisk) {
    const TestServer server({.path = roomy_qcow2(), .format = "qcow2", .socket = socket()});
    const auto disk = must_open(server.uri());
    EXPECT_EQ(disk->size(), 4_MiB);
    torture(*disk, std::string(4 << 20, 0), 40);
    EXPECT_TRUE(wait(disk->close()));
}

TEST_F(NbdTest, HolesAreSeenThroughTheExport) {
    const std::string image = file("a.img", 0);
    std::filesystem::resize_file(image, 4 << 20);
    const TestServer server({.path = image, .socket = socket()});
    const auto disk = must_open(server.uri());
    EXPECT_TRUE(write(*disk, 1 << 20, std::string(1 << 20, 'x')));
    const auto hole = wait(disk->map(Bytes(512), Bytes((4 << 20) - 512)));
    ASSERT_TRUE(hole.has_value());
    EXPECT_EQ(hole->kind, block::Extent::Kind::Zero);
    EXPECT_EQ(hole->length, Bytes((1 << 20) - 512));
    const auto data = wait(disk->map(1_MiB, 3_MiB));
    EXPECT_EQ(data->kind, block::Extent::Kind::Data);
    EXPECT_EQ(data->length, 1_MiB);
    EXPECT_TRUE(wait(disk->close()));
}

TEST_F(NbdTest, ALargeTransferIsSplit) {
    const TestServer server({.path = file("a.img", 40 << 20), .socket = socket()});
    const auto disk = must_open(server.uri());
    std::string data(36 << 20, 0);
    for (size_t n = 0; n < data.size(); n += 4096) std::memcpy(&data[n], &n, sizeof n);
    EXPECT_TRUE(write(*disk, 1 << 20, data));
    EXPECT_TRUE(read(*disk, 1 << 20, data.size()) == data);
    EXPECT_TRUE(wait(disk->close()));
}

TEST_F(NbdTest, AReadonlyExportIsOpenedOnlyReadonly) {
    const TestServer server({.path = file("a.img", 1 << 20, 'a'), .socket = socket(), .readonly = true});
    const auto refused = open(server.uri());
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().kind(), ErrorKind::Denied);
    EXPECT_THAT(refused.error().message(), HasSubstr("readonly=on"));
    const auto disk = must_open(server.uri(), "raw", true);
    EXPECT_EQ(read(*disk, 0, 512), std::string(512, 'a'));
    EXPECT_FALSE(write(*disk, 0, std::string(512, 'b')));
    EXPECT_TRUE(wait(disk->close()));
}

TEST_F(NbdTest, AnExportHasAName) {
    const TestServer server({.path = file("a.img", 1 << 20), .socket = socket(), .export_name = "disk one"});
    EXPECT_TRUE(wait(must_open(server.uri("disk%20one"))->close()));
    EXPECT_TRUE(wait(must_open(server.uri())->close()));
    const auto other = open(server.uri("two"));
    ASSERT_FALSE(other.has_value());
    EXPECT_THAT(other.error().message(), HasSubstr("export"));
}

TEST_F(NbdTest, ErrorsNameTheServerAndSayWhatToDo) {
    const auto nobody = open("nbd+unix:///?socket=" + socket());
    ASSERT_FALSE(nobody.has_value());
    EXPECT_EQ(nobody.error().kind(), ErrorKind::NotFound);
    EXPECT_THAT(nobody.error().message(), HasSubstr(socket()));
    EXPECT_EQ(open("nbds://localhost/").error().kind(), ErrorKind::Usage);
    EXPECT_EQ(open("nbd://127.0.0.1:1/").error().kind(), ErrorKind::Unreachable);
    EXPECT_EQ(open("nbd+unix:///x").error().kind(), ErrorKind::Usage);
}

TEST_F(NbdTest, AnExportCannotGrow) {
    const TestServer server({.path = file("a.img", 1 << 20), .socket = socket()});
    const HostFileConfig config{.path = server.uri()};
    auto opened = wait(open_named_file(executor_, config));
    ASSERT_TRUE(opened.has_value());
    const auto beyond = wait(write_bytes(**opened, 1_MiB, std::vector<std::byte>(512)));
    ASSERT_FALSE(beyond.has_value());
    EXPECT_THAT(beyond.error().message(), HasSubstr("cannot grow"));
    EXPECT_FALSE(wait((*opened)->resize(2_MiB)));
    EXPECT_TRUE(wait((*opened)->close()));
}

TEST_F(NbdTest, AHeadersNameIsNotFollowedFromAServer) {
    CreateOptions options;
    options.size = 1_MiB;
    options.parent.emplace();
    options.parent->path = "/etc/passwd";
    options.parent->format = "raw";
    create(**find_format("qcow2"), "claims", options);
    std::filesystem::resize_file(path("claims"), 1 << 20);
    const TestServer server({.path = path("claims"), .socket = socket()});
    DiskConfig config;
    config.path = server.uri();
    config.format = "qcow2";
    config.backing = BackingPolicy::Any;
    const auto disk = try_open(config);
    ASSERT_FALSE(disk.has_value());
    EXPECT_EQ(disk.error().kind(), ErrorKind::Denied);
}

TEST_F(NbdTest, OperationsTakeAnExportAsTheirSource) {
    const std::string image = file("a.img", 1 << 20, 'a');
    const TestServer server({.path = image, .socket = socket(), .readonly = true});
    const ChainConfig source{.path = server.uri(), .format = "raw"};
    const Control control;
    const ConvertTarget target{.path = path("b.qcow2"), .format = "qcow2"};
    EXPECT_TRUE(wait(convert(executor_, source, target, control)));
    const ChainConfig result{.path = path("b.qcow2"), .format = "qcow2"};
    EXPECT_TRUE(wait(compare(executor_, source, result, control))->same());
    EXPECT_EQ(*wait(guess_format(executor_, server.uri())), "raw");
}

TEST_F(NbdTest, WithoutReconnectEverythingFailsOnceTheServerIsGone) {
    auto server = std::make_unique<TestServer>(TestServer::Config{.path = file("a.img", 1 << 20), .socket = socket()});
    const auto disk = must_open(server->uri());
    server.reset();
    const auto written = write(*disk, 0, std::string(512, 'a'));
    ASSERT_FALSE(written.has_value());
    EXPECT_EQ(written.error().kind(), ErrorKind::Unreachable);
    EXPECT_THAT(written.error().message(), HasSubstr("reconnect="));
    EXPECT_FALSE(wait(disk->flush()));
    (void)wait(disk->close());
}

TEST_F(NbdTest, RequestsWaitForTheServerToComeBack) {
    const TestServer::Config config{.path = file("a.img", 1 << 20), .socket = socket()};
    auto server = std::make_unique<TestServer>(config);
    const auto disk = must_open(server->uri(), "raw", false, 30);
    EXPECT_TRUE(write(*disk, 0, std::string(512, 'a')));
    EXPECT_TRUE(wait(disk->flush()));
    server.reset();
    std::string data(512, 'b');
    const iovec piece{data.data(), data.size()};
    std::optional<Result<>> done;
    io::spawn(disk->writev(Bytes(512), {&piece, 1}), [&](Result<> r) { done = r; });
    executor_.run_once(std::chrono::milliseconds(0));
    EXPECT_FALSE(done.has_value());
    server = std::make_unique<TestServer>(config);
    while (!done) executor_.run_once(std::chrono::seconds(1));
    EXPECT_TRUE(done->has_value());
    EXPECT_TRUE(wait(disk->flush()));  // what was lost was nothing that a flush had not covered
    EXPECT_EQ(read(*disk, 0, 1024), std::string(512, 'a') + std::string(512, 'b'));
    EXPECT_TRUE(wait(disk->close()));
}

TEST_F(NbdTest, AFlushFailsForGoodOnceWritesMayBeLost) {
    const TestServer::Config config{.path = file("a.img", 1 << 20), .socket = socket()};
    auto server = std::make_unique<TestServer>(config);
    const auto disk = must_open(server->uri(), "raw", false, 30);
    EXPECT_TRUE(write(*disk, 0, std::string(512, 'a')));
    server.reset();
    server = std::make_unique<TestServer>(config);
    for (int n = 0; n < 2; ++n) {
        const auto flushed = wait(disk->flush());
        ASSERT_FALSE(flushed.has_value());
        EXPECT_THAT(flushed.error().message(), HasSubstr("no flush had covered"));
    }
    EXPECT_TRUE(write(*disk, 0, std::string(512, 'c')));
    EXPECT_FALSE(wait(disk->close()));
}

TEST_F(NbdTest, AnotherExportInItsPlaceIsNotTaken) {
    auto server = std::make_unique<TestServer>(TestServer::Config{.path = file("a.img", 1 << 20), .socket = socket()});
    const auto disk = must_open(server->uri(), "raw", false, 30);
    server.reset();
    server = std::make_unique<TestServer>(TestServer::Config{.path = file("b.img", 2 << 20), .socket = socket()});
    const auto written = write(*disk, 0, std::string(512, 'a'));
    ASSERT_FALSE(written.has_value());
    EXPECT_THAT(written.error().message(), HasSubstr("another export"));
    (void)wait(disk->close());
}

TEST_F(NbdTest, AServerThatStaysAwayIsGivenUp) {
    auto server = std::make_unique<TestServer>(TestServer::Config{.path = file("a.img", 1 << 20), .socket = socket()});
    const auto disk = must_open(server->uri(), "raw", false, 1);
    server.reset();
    const auto written = write(*disk, 0, std::string(512, 'a'));
    ASSERT_FALSE(written.has_value());
    EXPECT_THAT(written.error().message(), HasSubstr("tried again for 1 seconds"));
    (void)wait(disk->close());
}

}  // namespace
}  // namespace yado::storage
