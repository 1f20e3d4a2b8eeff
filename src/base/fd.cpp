#include "base/fd.h"

#include <unistd.h>

namespace yado {
Fd::~Fd() {
    if (fd_ >= 0) ::close(fd_);
}
}  // namespace yado
