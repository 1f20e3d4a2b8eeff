// `yado disk serve`: an image, and all below it, open to NBD clients.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/fd.h"
#include "storage/nbd/server.h"

namespace yado::storage {

struct ServeConfig {
    ChainConfig image;
    std::string export_name;  ///< empty: clients need not name it
    Fd listener;
};

/// Executor's thread only.
class ServedImage {
  public:
    /// Opens, locks and serves. `left` is called whenever the last client has left. Errors: as open_chain's.
    static io::Task<Result<std::unique_ptr<ServedImage>>> start(io::Executor& executor, ServeConfig config, std::function<void()> left);

    bool readonly() const { return chain_.top->readonly(); }
    /// Cuts clients off, flushes, and closes the image. Once, and before the end.
    io::Task<Result<>> close();

  private:
    explicit ServedImage(Chain chain) : chain_(std::move(chain)) {}
    Chain chain_;
    std::unique_ptr<nbd::Server> server_;
};

}  // namespace yado::storage
