#include "base/error.h"

#include <cerrno>
#include <cstring>

namespace yado {

namespace {
ErrorKind kind_of_errno(int number) {
    switch (number) {
    case ENOENT:
    case ENODEV:
    case ENXIO:
    case ENOTDIR: return ErrorKind::NotFound;
    case EACCES:
    case EPERM:
    case EROFS: return ErrorKind::Denied;
    case EBUSY:
    case EEXIST:
    case EADDRINUSE:
    case ETXTBSY: return ErrorKind::Conflict;
    case ECONNREFUSED:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case ECONNRESET:
    case EPIPE: return ErrorKind::Unreachable;
    case ETIMEDOUT: return ErrorKind::TimedOut;
    default: return ErrorKind::Failed;
    }
}
}  // namespace

Error errno_error(int number, std::string_view what) {
    char buffer[128];
    return Error(kind_of_errno(number), fmt::format("{}: {}", what, strerror_r(number, buffer, sizeof buffer)), number);
}

std::unexpected<Error> fail_errno(std::string_view what) { return std::unexpected(errno_error(errno, what)); }

int exit_status(ErrorKind kind) {
    switch (kind) {
    case ErrorKind::Usage: return 2;
    case ErrorKind::NotFound: return 3;
    case ErrorKind::Conflict: return 4;
    case ErrorKind::Denied: return 5;
    case ErrorKind::Unreachable: return 6;
    case ErrorKind::TimedOut: return 7;
    case ErrorKind::GuestCrashed: return 8;
    case ErrorKind::Failed:
    case ErrorKind::OutOfRange:
    case ErrorKind::Corrupt: return 1;
    }
    return 1;
}

}  // namespace yado
