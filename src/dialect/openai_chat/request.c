#include "dialect/openai_chat/request.h"

#include "base/buf.h"
#include "base/err.h"

enum {
    WANT_FALLBACKS,
    WANT_MODEL,
    WANT_STREAM,
    WANT_STREAM_OPTIONS,
    WANT_INCLUDE_USAGE,
    WANT_COUNT
};

static const struct json_want wants[WANT_COUNT] = {
    [WANT_FALLBACKS] = {{STR_INIT("fallbacks")}},
    [WANT_MODEL] = {{STR_INIT("model")}},
    [WANT_STREAM] = {{STR_INIT("stream")}},
    [WANT_STREAM_OPTIONS] = {{STR_INIT("stream_options")}},
    [WANT_INCLUDE_USAGE] = {{STR_INIT("stream_options"), STR_INIT("include_usage")}},
};
static const struct str names[WANT_COUNT] = {
    [WANT_FALLBACKS] = STR_INIT("fallbacks"),
    [WANT_MODEL] = STR_INIT("model"),
    [WANT_STREAM] = STR_INIT("stream"),
    [WANT_STREAM_OPTIONS] = STR_INIT("stream_options"),
    [WANT_INCLUDE_USAGE] = STR_INIT("stream_options.include_usage"),
};

static int refuse_param(struct openai_request *request, unsigned want, const char *why)
{
    request->bad_param = names[want];
    return err_set(ERR_INVALID, FAULT_CLIENT, "'%.*s' %s", STR_ARG(names[want]), why);
}

static int read_model(struct openai_request *request, const struct json_found *found,
                      struct str body, struct arena *arena)
{
    if (found->kind == JSON_NONE)
        return refuse_param(request, WANT_MODEL, "is missing: you must provide a model parameter");
    if (found->kind != JSON_STRING)
        return refuse_param(request, WANT_MODEL, "must be a string");
    struct json_value value = {JSON_STRING, json_span_str(body, found->value)};
    int r = json_unescape(arena, json_string_raw(value), &request->model);
    if (r == -ERR_NOMEM)
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "out of memory");
    if (r < 0)
        return refuse_param(request, WANT_MODEL, "is not a valid JSON string");
    if (request->model.len == 0)
        return refuse_param(request, WANT_MODEL, "must not be empty");
    /* The body goes before the request ends; its name is needed until then. */
    request->model = arena_dup(arena, request->model);
    if (request->model.ptr == NULL)
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "out of memory");
    request->model_span = found->value;
    return 0;
}

int openai_request_scan(struct str body, unsigned max_depth, struct arena *arena,
                        struct openai_request *request)
{
    struct json_scan scan;
    *request = (struct openai_request){0};
    int r = json_scan_object(body, max_depth, wants, WANT_COUNT, &scan);
    if (r < 0)
        return r;
    for (unsigned i = 0; i < WANT_COUNT; i++) {
        if (scan.found[i].is_duplicate)
            return refuse_param(request, i, "occurs more than once");
    }
    const struct json_found *stream = &scan.found[WANT_STREAM];
    if (stream->kind != JSON_NONE && stream->kind != JSON_TRUE && stream->kind != JSON_FALSE &&
        stream->kind != JSON_NULL)
        return refuse_param(request, WANT_STREAM, "must be a boolean");
    request->is_stream = stream->kind == JSON_TRUE;
    request->object = scan.object;
    request->fallbacks = scan.found[WANT_FALLBACKS];
    request->stream_options_kind = scan.found[WANT_STREAM_OPTIONS].kind;
    request->stream_options_span = scan.found[WANT_STREAM_OPTIONS].value;
    request->include_usage_kind = scan.found[WANT_INCLUDE_USAGE].kind;
    request->include_usage_span = scan.found[WANT_INCLUDE_USAGE].value;
    request->includes_usage = request->include_usage_kind == JSON_TRUE;
    return read_model(request, &scan.found[WANT_MODEL], body, arena);
}

struct json_edit openai_edit_model(const struct openai_request *request, struct arena *arena,
                                   struct str model)
{
    struct buf text = BUF_INIT;
    buf_add_json(&text, model);
    struct str value = buf_ok(&text) ? arena_dup(arena, buf_str(&text)) : STR_EMPTY;
    buf_fini(&text);
    return json_edit_replace(request->model_span, value);
}

/* The object at this span has nothing between its braces. */
static bool object_is_empty(struct str body, struct json_span span)
{
    struct str inner = json_span_str(body, span);
    for (size_t i = 1; i < inner.len; i++) {
        char c = inner.ptr[i];
        if (c != ' ' && c != '\t' && c != '\n' && c != '\r')
            return c == '}';
    }
    return false;
}

bool openai_edit_include_usage(const struct openai_request *request, struct arena *arena,
                               struct str body, struct json_edit *edit)
{
    static const struct str whole = STR_INIT("{\"include_usage\":true}");
    switch (request->stream_options_kind) {
    case JSON_NONE:
        *edit = json_edit_add(arena, request->object, false, STR("stream_options"), whole);
        return true;
    case JSON_NULL:
        *edit = json_edit_replace(request->stream_options_span, whole);
        return true;
    case JSON_OBJECT:
        if (request->include_usage_kind != JSON_NONE)
            *edit = json_edit_replace(request->include_usage_span, STR("true"));
        else
            *edit = json_edit_add(arena, request->stream_options_span,
                                  object_is_empty(body, request->stream_options_span),
                                  STR("include_usage"), STR("true"));
        return true;
    default:
        return false;
    }
}
