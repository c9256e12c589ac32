#include "cli/command.h"
#include "control/path_probe.h"

int probe_command(const struct arguments *arguments)
{
    const struct path_probe_options options = {
        .url = arguments->words[0],
        .key = arguments->key,
        .model = arguments->model,
        .events = arguments->events,
        .pace = arguments->pace,
        .idle = arguments->idle,
        .ca_file = arguments->ca_file,
        .headers = arguments->headers.items,
        .header_count = arguments->headers.count,
        .is_json = arguments->json,
    };
    return path_probe(&options);
}
