#include "cli/command.h"
#include "control/explain.h"

int plan_command(const struct arguments *arguments)
{
    const struct explain_options options = {
        .config = arguments->config,
        .request = arguments->words[0],
        .dialect = arguments->dialect,
        .model = arguments->model,
        .key = arguments->key,
        .headers = arguments->headers.items,
        .header_count = arguments->headers.count,
        .is_stream = arguments->stream,
        .wants_reason = arguments->explain,
        .is_json = arguments->json,
    };
    return explain_plan(&options);
}
