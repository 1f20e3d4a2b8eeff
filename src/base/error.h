// Errors are values: Result<T> = std::expected<T, Error>. YADO_TRY unwraps or returns. Inside coroutines use
// `co_await or_return(expr)` (io/task.h) instead: a statement expression that contains co_await crashes GCC 12.2.
#pragma once

#include <fmt/core.h>

#include <expected>
#include <string>
#include <utility>

namespace yado {

/// What kind of failure, in the terms of the documented exit statuses (docs/cli.md).
enum class ErrorKind : uint8_t {
    Failed,       ///< exit 1: anything without a better class
    Usage,        ///< exit 2: wrong usage, malformed value, unknown key
    NotFound,     ///< exit 3: no such guest, file, image
    Conflict,     ///< exit 4: in use, locked, exists already
    Denied,       ///< exit 5: no permission
    Unreachable,  ///< exit 6: nobody answers
    TimedOut,     ///< exit 7: timed out, but still going on
    GuestCrashed, ///< exit 8: triple fault, pvpanic
    OutOfRange,   ///< exit 1: an address or number outside what it may be
    Corrupt,      ///< exit 1: damaged or hostile input, refused whole
};

/// A failure that a user can act on: what failed, on what, why, what to do. One line, no trailing full stop.
class Error {
  public:
    /// `number`: the errno behind it, 0 where there is none.
    Error(ErrorKind kind, std::string message, int number = 0) : kind_(kind), number_(number), message_(std::move(message)) {}

    ErrorKind kind() const { return kind_; }
    const std::string& message() const { return message_; }
    int number() const { return number_; }
    /// The same error with "context: " before its message.
    Error within(std::string_view context) const {
        Error out = *this;
        out.message_ = fmt::format("{}: {}", context, message_);
        return out;
    }
    /// The same error, which trying again cannot mend: a failed fsync, after which nobody knows what was lost.
    Error made_lasting() const {
        Error out = *this;
        out.lasting_ = true;
        return out;
    }
    bool lasting() const { return lasting_; }

  private:
    ErrorKind kind_;
    bool lasting_ = false;
    int number_;
    std::string message_;
};

template <typename T = void>
using Result = std::expected<T, Error>;

/// fail(ErrorKind::NotFound, "disk {}: no such file", path): an unexpected Error with a formatted message.
template <typename... Args>
std::unexpected<Error> fail(ErrorKind kind, fmt::format_string<Args...> format, Args&&... args) {
    return std::unexpected(Error(kind, fmt::format(format, std::forward<Args>(args)...)));
}

/// An Error from errno: its kind follows the number (ENOENT: NotFound, EACCES and EPERM: Denied, EBUSY, EEXIST and
/// EADDRINUSE: Conflict, ECONNREFUSED: Unreachable), its message is "what: strerror", its number is kept.
Error errno_error(int number, std::string_view what);
/// errno_error of the current errno, as an unexpected.
std::unexpected<Error> fail_errno(std::string_view what);

/// The process exit status documented for a kind (0 is success and no kind).
int exit_status(ErrorKind kind);

}  // namespace yado

#define YADO_CONCAT2(a, b) a##b
#define YADO_CONCAT(a, b) YADO_CONCAT2(a, b)

/// auto value = YADO_TRY(fallible()); returns the error from the enclosing function. Also for Result<>.
#define YADO_TRY(...)                                                             \
    ({                                                                            \
        auto&& yado_try_result = (__VA_ARGS__);                                   \
        if (!yado_try_result) return std::unexpected(std::move(yado_try_result).error()); \
        ::yado::detail::unwrap(std::move(yado_try_result));                       \
    })

namespace yado::detail {
template <typename T>
T unwrap(Result<T>&& r) {
    if constexpr (!std::is_void_v<T>) return std::move(*r);
}
}  // namespace yado::detail
