// A file descriptor that closes itself.
#pragma once

#include <utility>

namespace yado {

class Fd {
  public:
    Fd() = default;
    explicit Fd(int fd) : fd_(fd) {}
    Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Fd& operator=(Fd&& other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~Fd();

    int get() const { return fd_; }
    explicit operator bool() const { return fd_ >= 0; }
    int release() { return std::exchange(fd_, -1); }
    void reset() { Fd().swap(*this); }
    void swap(Fd& other) { std::swap(fd_, other.fd_); }

  private:
    int fd_ = -1;
};

}  // namespace yado
