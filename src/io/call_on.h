// Work done on an executor for a thread that is not its own: posted, and waited for.
#pragma once

#include <future>
#include <optional>
#include <type_traits>
#include <utility>

#include "base/check.h"
#include "io/executor.h"
#include "io/task.h"

namespace yado::io {

/// Calls `f` on the executor's thread, after all that was posted before, and returns what it returned. Any other thread;
/// the executor runs until then.
template <typename F>
std::invoke_result_t<F&> call_on(Executor& executor, F f) {
    YADO_CHECK(!executor.on_thread());  // it would wait for itself
    std::packaged_task<std::invoke_result_t<F&>()> call(std::move(f));
    auto outcome = call.get_future();
    executor.post(std::move(call));
    return outcome.get();
}

/// Starts the task on the executor's thread and returns its result once it has ended there. Threads as call_on().
template <typename T>
T finish_on(Executor& executor, Task<T> task) {
    YADO_CHECK(!executor.on_thread());
    std::promise<T> promise;
    auto outcome = promise.get_future();
    executor.post([task = std::move(task), promise = std::move(promise)]() mutable {
        spawn(std::move(task), [promise = std::move(promise)](T result) mutable { promise.set_value(std::move(result)); });
    });
    return outcome.get();
}

/// Runs an executor that has no thread of its own on this one until the task has ended, and returns its result.
template <typename T>
T run_until_done(Executor& executor, Task<T> task) {
    std::optional<T> result;
    spawn(std::move(task), [&result](T value) { result.emplace(std::move(value)); });
    while (!result) executor.run_once(std::chrono::seconds(1));
    return std::move(*result);
}

}  // namespace yado::io
