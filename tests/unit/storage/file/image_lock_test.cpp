// Locks keep two writers apart and are the ones that QEMU looks for.
#include "storage/file/image_lock.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "storage_fixture.h"

namespace yado::storage {
namespace {

class ImageLock : public StorageTest {
  protected:
    Fd open(int flags = O_RDWR) { return Fd(::open(path_.c_str(), flags | O_CLOEXEC)); }
    std::string path_ = file("image", 4096);
};

TEST_F(ImageLock, KeepsTwoWritersApart) {
    const Fd a = open(), b = open();
    ASSERT_TRUE(lock_image(a.get(), LockUse::Write, "d"));
    const auto r = lock_image(b.get(), LockUse::Write, "d");
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().kind(), ErrorKind::Conflict);
}

TEST_F(ImageLock, LetsManyReadersIn) {
    const Fd a = open(O_RDONLY), b = open(O_RDONLY);
    EXPECT_TRUE(lock_image(a.get(), LockUse::Read, "d"));
    EXPECT_TRUE(lock_image(b.get(), LockUse::Read, "d"));
}

TEST_F(ImageLock, KeepsReadersAndAWriterApart) {
    const Fd a = open(O_RDONLY), b = open();
    ASSERT_TRUE(lock_image(a.get(), LockUse::Read, "d"));
    EXPECT_FALSE(lock_image(b.get(), LockUse::Write, "d"));
}

TEST_F(ImageLock, IsGoneWhenTheFileIsClosed) {
    {
        const Fd a = open();
        ASSERT_TRUE(lock_image(a.get(), LockUse::Write, "d"));
    }
    const Fd b = open();
    EXPECT_TRUE(lock_image(b.get(), LockUse::Write, "d"));
}

TEST_F(ImageLock, LeavesNothingLockedWhenItFails) {
    Fd a = open();
    const Fd b = open(), c = open();
    ASSERT_TRUE(lock_image(a.get(), LockUse::Write, "d"));
    ASSERT_FALSE(lock_image(b.get(), LockUse::Write, "d"));
    a.reset();
    EXPECT_TRUE(lock_image(c.get(), LockUse::Write, "d"));
}

TEST_F(ImageLock, NamesTheProcessThatHoldsTheImage) {
    int ready[2], leave[2];
    ASSERT_EQ(pipe(ready), 0);
    ASSERT_EQ(pipe(leave), 0);
    const pid_t child = fork();
    if (child == 0) {
        const Fd a = open();
        const char ok = lock_image(a.get(), LockUse::Write, "d") ? 'y' : 'n';
        char c = ok;
        if (::write(ready[1], &c, 1) != 1 || ::read(leave[0], &c, 1) != 1) _exit(1);
        _exit(0);
    }
    char c = 0;
    ASSERT_EQ(::read(ready[0], &c, 1), 1);
    ASSERT_EQ(c, 'y');
    const Fd b = open();
    const auto r = lock_image(b.get(), LockUse::Write, "d");
    ASSERT_FALSE(r);
    EXPECT_NE(r.error().message().find(std::to_string(child)), std::string::npos) << r.error().message();
    ASSERT_EQ(::write(leave[1], &c, 1), 1);
    waitpid(child, nullptr, 0);
}

// QEMU's side of the protocol: it tests byte 201 ("somebody does not share writing") before it writes.
TEST_F(ImageLock, ShowsQemuThatWritingIsNotShared) {
    const Fd a = open(), b = open();
    ASSERT_TRUE(lock_image(a.get(), LockUse::Write, "d"));
    struct flock l{.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 201, .l_len = 1, .l_pid = 0};
    ASSERT_EQ(fcntl(b.get(), F_OFD_GETLK, &l), 0);
    EXPECT_EQ(l.l_type, F_RDLCK);
}

}  // namespace
}  // namespace yado::storage
