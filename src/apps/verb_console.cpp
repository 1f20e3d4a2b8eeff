#include <unistd.h>

#include "apps/reach.h"
#include "apps/terminal.h"
#include "apps/verbs.h"

namespace yado::apps {

Result<> attach_console(const ConsoleOptions& options) {
    block_signals();
    auto client = YADO_TRY(reach(options.name));
    const auto direction = options.watch ? control::Client::Direction::Read : control::Client::Direction::ReadAndWrite;
    auto stream = YADO_TRY(std::move(client).stream("/v1/console?tail=4096", direction));
    if (isatty(STDIN_FILENO)) fmt::print(stderr, "yado: console of {}{}; Ctrl-] leaves\n", options.name, options.watch ? ", watching only" : "");
    const auto tell_size = [&](unsigned columns, unsigned rows) {
        if (options.watch) return;
        if (auto teller = reach(options.name)) teller->post(fmt::format("/v1/console/size?columns={}&rows={}", columns, rows));
    };
    const Parting parting = carry(std::move(stream), options.watch ? Typing::No : Typing::Yes, tell_size);
    if (parting == Parting::Ended) fmt::print(stderr, "\nyado: the console of {} has ended\n", options.name);
    return {};
}

}  // namespace yado::apps
