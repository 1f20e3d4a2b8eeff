// Offers an open image to NBD clients. No TLS and no passwords: who may connect is up to the socket's place.
//
//     start() --> clients come and go --> close(): all are cut off, what is in flight ends
//
// Executor's thread only. The image is flushed and closed by its owner, afterwards.
#pragma once

#include <functional>
#include <list>
#include <memory>

#include "storage/nbd/connection.h"

namespace yado::storage::nbd {

/// Further ones are turned away.
inline constexpr size_t kMaxConnections = 16;

class Server {
  public:
    /// `listener` is a listening socket, or nothing: clients then come by adopt() only. `left` is called whenever the last client
    /// has left. Errors: Failed.
    static Result<std::unique_ptr<Server>> start(io::Executor& executor, Fd listener, Served served, std::function<void()> left);
    ~Server();

    /// Serves a connected socket.
    void adopt(Fd socket);
    io::Task<> close();
    size_t clients() const { return connections_.size(); }

  private:
    Server(io::Executor& executor, Fd listener, Served served, std::function<void()> left);
    Result<> watch_listener();
    void accept_all();
    io::Task<> hold(std::list<std::unique_ptr<Connection>>::iterator at);
    void forget(std::list<std::unique_ptr<Connection>>::iterator at);

    io::Executor& executor_;
    Fd listener_;
    const Served served_;
    const std::function<void()> left_;
    io::Executor::Watch watch_;
    std::unique_ptr<io::Timer> pause_;  // after accept() ran out of descriptors
    std::list<std::unique_ptr<Connection>> connections_;
    io::Completion<bool>* all_gone_ = nullptr;
    bool closed_ = false;
};

}  // namespace yado::storage::nbd
