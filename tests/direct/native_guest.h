// A mini-kernel: guest memory in a memfd, code at kCode, data at kData, and what runs there natively.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

#include "base/fd.h"
#include "direct/space.h"

namespace yado::direct::test {

class NativeGuest : public testing::Test {
  public:
    static constexpr uint64_t kCode = 0x40'0000, kData = 0x50'0000, kBytes = 1 << 20;

  protected:
    void SetUp() override {
        ram_ = Fd(memfd_create("ram", MFD_CLOEXEC));
        ASSERT_EQ(ftruncate(ram_.get(), kBytes), 0);
        void* at = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, ram_.get(), 0);
        ASSERT_NE(at, MAP_FAILED);
        memory_ = static_cast<uint8_t*>(at);
        auto made = Space::create(ram_.get(), tsc_);
        if (!made && made.error().kind() == ErrorKind::Denied) GTEST_SKIP() << made.error().message();
        ASSERT_TRUE(made) << made.error().message();
        space_ = std::move(*made);
        change({.kind = Change::Kind::Map, .address = kCode, .bytes = 4096, .rights = Rights::ReadExecute});
    }
    void TearDown() override {
        space_.reset();
        if (memory_) munmap(memory_, kBytes);
    }

    /// Code page at the start of the memory, data pages behind it.
    void code(std::initializer_list<uint8_t> bytes) { std::memcpy(memory_, std::data(bytes), bytes.size()); }
    uint8_t* data(size_t page = 0) { return memory_ + 4096 * (1 + page); }
    Result<> try_change(const Change& c) { return space_->change({&c, 1}); }
    void change(const Change& c) {
        const auto done = try_change(c);
        ASSERT_TRUE(done) << done.error().message();
    }
    void map_data(Rights rights) { change({.kind = Change::Kind::Map, .address = kData, .bytes = 4096, .offset = 4096, .rights = rights}); }
    Stop run() {
        if (state.regs.rip == 0) begin();
        auto stop = space_->run(state, vectors);
        EXPECT_TRUE(stop) << stop.error().message();
        return stop ? *stop : Stop{};
    }
    void begin() {
        state.regs.rip = kCode;
        state.regs.eflags = 0x202;
    }

    UserState state;
    Vectors vectors = Vectors::Leave;
    Tsc tsc_ = Tsc::Native;
    Fd ram_;
    uint8_t* memory_ = nullptr;
    std::unique_ptr<Space> space_;
};

}  // namespace yado::direct::test
