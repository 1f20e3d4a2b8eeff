// Task<T>: a lazy coroutine with one awaiter. It starts when awaited or spawned and runs on the executor of whoever
// resumes it. An error leaves a Task<Result<T>> early by `co_await or_return(expr)`: the awaiter stores the error as
// the task's result and resumes the parent; the parent's Task object then destroys the suspended frame and its locals.
#pragma once

#include <coroutine>
#include <exception>
#include <functional>
#include <optional>
#include <type_traits>
#include <utility>

#include "base/check.h"
#include "base/error.h"

namespace yado::io {

template <typename T = void>
class Task;

namespace detail {

struct PromiseBase {
    std::coroutine_handle<> continuation = std::noop_coroutine();

    std::suspend_always initial_suspend() noexcept { return {}; }
    struct FinalAwaiter {
        bool await_ready() noexcept { return false; }
        template <typename P>
        std::coroutine_handle<> await_suspend(std::coroutine_handle<P> h) noexcept {
            return h.promise().continuation;
        }
        void await_resume() noexcept {}
    };
    FinalAwaiter final_suspend() noexcept { return {}; }
    [[noreturn]] void unhandled_exception() noexcept { std::terminate(); }
};

template <typename T>
struct Promise : PromiseBase {
    std::optional<T> result;
    Task<T> get_return_object();
    template <typename U>
    void return_value(U&& value) {
        result.emplace(std::forward<U>(value));
    }
};

template <>
struct Promise<void> : PromiseBase {
    Task<void> get_return_object();
    void return_void() {}
};

}  // namespace detail

template <typename T>
class [[nodiscard]] Task {
  public:
    using promise_type = detail::Promise<T>;
    using Handle = std::coroutine_handle<promise_type>;

    Task() = default;
    explicit Task(Handle h) : handle_(h) {}
    Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
    Task& operator=(Task&& other) noexcept {
        std::swap(handle_, other.handle_);
        return *this;
    }
    ~Task() {
        if (handle_) handle_.destroy();
    }

    auto operator co_await() && noexcept {
        struct Awaiter {
            Handle handle;
            bool await_ready() noexcept { return false; }
            std::coroutine_handle<> await_suspend(std::coroutine_handle<> parent) noexcept {
                handle.promise().continuation = parent;
                return handle;
            }
            T await_resume() {
                if constexpr (!std::is_void_v<T>) return std::move(*handle.promise().result);
            }
        };
        return Awaiter{handle_};
    }

  private:
    Handle handle_;
};

template <typename T>
Task<T> detail::Promise<T>::get_return_object() {
    return Task<T>(Task<T>::Handle::from_promise(*this));
}
inline Task<void> detail::Promise<void>::get_return_object() {
    return Task<void>(Task<void>::Handle::from_promise(*this));
}

namespace detail {
template <typename T>
struct OrReturnAwaiter {
    Result<T> result;
    bool await_ready() const noexcept { return result.has_value(); }
    template <typename P>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<P> h) {
        h.promise().result.emplace(std::unexpected(std::move(result).error()));
        return h.promise().continuation;
    }
    T await_resume() {
        if constexpr (!std::is_void_v<T>) return std::move(*result);
    }
};
}  // namespace detail

/// const T value = co_await or_return(result): the value, or the enclosing Task<Result<U>> ends with the error.
template <typename T>
detail::OrReturnAwaiter<T> or_return(Result<T> result) {
    return {std::move(result)};
}

namespace detail {
struct Detached {
    struct promise_type {
        Detached get_return_object() { return {}; }
        std::suspend_never initial_suspend() noexcept { return {}; }
        std::suspend_never final_suspend() noexcept { return {}; }
        void return_void() {}
        [[noreturn]] void unhandled_exception() noexcept { std::terminate(); }
    };
};
}  // namespace detail

/// Starts a task now, on this thread, and lets it run to its end by itself; `done` is called with its result.
/// The caller sees to it (by a Gate) that what the task uses outlives it.
template <typename T, typename F>
detail::Detached spawn(Task<T> task, F done) {
    if constexpr (std::is_void_v<T>) {
        co_await std::move(task);
        done();
    } else {
        done(co_await std::move(task));
    }
}
inline detail::Detached spawn(Task<void> task) { co_await std::move(task); }

/// Suspends until complete() is called (once); the awaiting coroutine resumes inside complete().
template <typename T>
class Completion {
  public:
    void complete(T value) {
        value_.emplace(std::move(value));
        if (const auto h = std::exchange(waiter_, {})) h.resume();
    }
    bool await_ready() const noexcept { return value_.has_value(); }
    void await_suspend(std::coroutine_handle<> h) noexcept { waiter_ = h; }
    T await_resume() { return std::move(*value_); }

  private:
    std::optional<T> value_;
    std::coroutine_handle<> waiter_;
};

}  // namespace yado::io
