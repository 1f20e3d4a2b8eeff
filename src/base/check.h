// A broken invariant of ours ends the process with a message. A guest, file or peer can never reach a check.
#pragma once

namespace yado {
[[noreturn]] void check_failed(const char* expression, const char* file, int line);
}

#define YADO_CHECK(...)                                                          \
    do {                                                                         \
        if (!(__VA_ARGS__)) [[unlikely]]                                         \
            ::yado::check_failed(#__VA_ARGS__, __FILE__, __LINE__);              \
    } while (false)
