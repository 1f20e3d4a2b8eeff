#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace yado {
void check_failed(const char* expression, const char* file, int line) {
    std::fprintf(stderr, "yado: internal error: check failed: %s (%s:%d)\n", expression, file, line);
    std::abort();
}
}  // namespace yado
