#include "cli/command.h"
#include "control/server.h"

int run_command(const struct arguments *arguments)
{
    const struct server_options options = {
        .config = arguments->config,
        .listen = arguments->listen.items,
        .listen_count = arguments->listen.count,
        .threads = arguments->threads,
        .print_port = arguments->print_port,
        .pid_file = arguments->pid_file,
        .argv = arguments->argv,
    };
    return server_run(&options);
}

int check_command(const struct arguments *arguments)
{
    return server_check(arguments->words[0]);
}
