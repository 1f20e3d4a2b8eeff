#include "storage/operations/serve.h"

namespace yado::storage {

using io::or_return;

io::Task<Result<std::unique_ptr<ServedImage>>> ServedImage::start(io::Executor& executor, ServeConfig config, std::function<void()> left) {
    Chain chain = co_await or_return(co_await open_chain(executor, config.image));
    std::unique_ptr<ServedImage> served(new ServedImage(std::move(chain)));
    nbd::Export offered{.name = config.export_name, .size = served->chain_.top->size(), .readonly = served->chain_.top->readonly()};
    nbd::Served what{.offered = std::move(offered), .layers = served->chain_.layers};
    auto server = nbd::Server::start(executor, std::move(config.listener), std::move(what), std::move(left));
    if (server) {
        served->server_ = std::move(*server);
        co_return std::move(served);
    }
    (void)co_await served->chain_.close();
    co_return std::unexpected(server.error());
}

io::Task<Result<>> ServedImage::close() {
    co_await server_->close();
    server_.reset();
    co_return co_await chain_.close();
}

}  // namespace yado::storage
