#include "base/err.h"
#include "dialect/openai_chat/codec.h"
#include "dialect/openai_chat/request.h"

/* The contract's scan and fit, made of the scan and the edits of request.h. */

/* Places in the scan's list of what was found. */
enum { FOUND_MODEL = LLM_WANT_OWN, FOUND_STREAM_OPTIONS, FOUND_INCLUDE_USAGE };

int chat_scan(struct str body, unsigned max_depth, struct arena *arena, struct llm_scan *scan)
{
    struct openai_request request;
    *scan = (struct llm_scan){0};
    int r = openai_request_scan(body, max_depth, arena, &request);
    scan->bad_param = request.bad_param;
    if (r < 0)
        return r;
    scan->model = request.model;
    scan->is_stream = request.is_stream;
    scan->includes_usage = request.includes_usage;
    scan->json.object = request.object;
    scan->json.found[LLM_WANT_FALLBACKS] = request.fallbacks;
    scan->json.found[FOUND_MODEL].kind = JSON_STRING;
    scan->json.found[FOUND_MODEL].value = request.model_span;
    scan->json.found[FOUND_STREAM_OPTIONS].kind = request.stream_options_kind;
    scan->json.found[FOUND_STREAM_OPTIONS].value = request.stream_options_span;
    scan->json.found[FOUND_INCLUDE_USAGE].kind = request.include_usage_kind;
    scan->json.found[FOUND_INCLUDE_USAGE].value = request.include_usage_span;
    return 0;
}

static void add_edit(struct llm_fit *fit, struct json_edit edit)
{
    fit->edits[fit->count++] = edit;
    fit->no_memory = fit->no_memory || edit.insert.ptr == NULL;
}

void chat_fit(const struct llm_scan *scan, struct str body, const struct llm_target *target,
              bool wants_usage, struct arena *arena, struct llm_fit *fit)
{
    const struct json_found *found = scan->json.found;
    struct openai_request request = {
        .object = scan->json.object,
        .model_span = found[FOUND_MODEL].value,
        .stream_options_kind = found[FOUND_STREAM_OPTIONS].kind,
        .stream_options_span = found[FOUND_STREAM_OPTIONS].value,
        .include_usage_kind = found[FOUND_INCLUDE_USAGE].kind,
        .include_usage_span = found[FOUND_INCLUDE_USAGE].value,
    };
    struct json_edit edit;
    *fit = (struct llm_fit){.count = 0};
    if (!str_eq(scan->model, target->model))
        add_edit(fit, openai_edit_model(&request, arena, target->model));
    if (wants_usage && scan->is_stream && !scan->includes_usage &&
        openai_edit_include_usage(&request, arena, body, &edit)) {
        add_edit(fit, edit);
        fit->strips_usage = true;
    }
}
