#include "dialect/openai_responses/scan.h"

#include "base/err.h"
#include "dialect/openai_responses/codec.h"

static const struct json_want wants[RESPONSES_WANT_COUNT] = {
    LLM_SHARED_WANTS,
    [RESPONSES_WANT_MODEL] = {{STR_INIT("model")}},
    [RESPONSES_WANT_STREAM] = {{STR_INIT("stream")}},
    [RESPONSES_WANT_INPUT] = {{STR_INIT("input")}},
    [RESPONSES_WANT_PREVIOUS] = {{STR_INIT("previous_response_id")}},
    [RESPONSES_WANT_STORE] = {{STR_INIT("store")}},
    [RESPONSES_WANT_BACKGROUND] = {{STR_INIT("background")}},
    [RESPONSES_WANT_CONVERSATION] = {{STR_INIT("conversation")}},
};

static int refuse(struct llm_scan *scan, unsigned want, const char *why)
{
    scan->bad_param = wants[want].path[0];
    return err_set(ERR_INVALID, FAULT_CLIENT, "'%.*s' %s", STR_ARG(scan->bad_param), why);
}

static int read_model(struct llm_scan *scan, struct str body, struct arena *arena)
{
    const struct json_found *found = &scan->json.found[RESPONSES_WANT_MODEL];
    if (found->kind == JSON_NONE)
        return refuse(scan, RESPONSES_WANT_MODEL, "is missing: you must provide a model parameter");
    if (found->kind != JSON_STRING)
        return refuse(scan, RESPONSES_WANT_MODEL, "must be a string");
    struct json_value value = {JSON_STRING, json_span_str(body, found->value)};
    int r = json_unescape(arena, json_string_raw(value), &scan->model);
    if (r == -ERR_NOMEM)
        return responses_no_memory();
    if (r < 0)
        return refuse(scan, RESPONSES_WANT_MODEL, "is not a valid JSON string");
    if (scan->model.len == 0)
        return refuse(scan, RESPONSES_WANT_MODEL, "must not be empty");
    /* The body may go before the name does. */
    scan->model = arena_dup(arena, scan->model);
    return scan->model.ptr == NULL ? responses_no_memory() : 0;
}

int responses_scan(struct str body, unsigned max_depth, struct arena *arena, struct llm_scan *scan)
{
    *scan = (struct llm_scan){.includes_usage = true};
    int r = json_scan_object(body, max_depth, wants, RESPONSES_WANT_COUNT, &scan->json);
    if (r < 0)
        return r;
    for (unsigned i = 0; i < RESPONSES_WANT_COUNT; i++) {
        if (scan->json.found[i].is_duplicate)
            return refuse(scan, i, "occurs more than once");
    }
    enum json_kind stream = scan->json.found[RESPONSES_WANT_STREAM].kind;
    if (stream != JSON_NONE && stream != JSON_TRUE && stream != JSON_FALSE && stream != JSON_NULL)
        return refuse(scan, RESPONSES_WANT_STREAM, "must be a boolean");
    scan->is_stream = stream == JSON_TRUE;
    return read_model(scan, body, arena);
}

void responses_fit(const struct llm_scan *scan, struct str body, const struct llm_target *target,
                   bool wants_usage, struct arena *arena, struct llm_fit *fit)
{
    (void)body;
    (void)wants_usage; /* it always comes, with the last event */
    *fit = (struct llm_fit){.count = 0};
    if (str_eq(scan->model, target->model))
        return;
    struct buf text = BUF_INIT;
    buf_add_json(&text, target->model);
    struct str value = buf_ok(&text) ? arena_dup(arena, buf_str(&text)) : STR_EMPTY;
    buf_fini(&text);
    fit->edits[fit->count++] =
        json_edit_replace(scan->json.found[RESPONSES_WANT_MODEL].value, value);
    fit->no_memory = value.ptr == NULL;
}
