#include "support/bedrock_grammar.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/event_stream.h"

static const char *const stop_reasons[] = {
    "end_turn",
    "tool_use",
    "max_tokens",
    "stop_sequence",
    "content_filtered",
    "guardrail_intervened",
    "malformed_model_output",
    "malformed_tool_use",
    "model_context_window_exceeded",
};
static const char *const exceptions[] = {
    "internalServerException", "modelStreamErrorException",   "validationException",
    "throttlingException",     "serviceUnavailableException",
};

static void breach(const struct bedrock_grammar *g, const char *what)
{
    fail_msg("%s: event %u, %s: %s\n%.*s", g->name, g->events, g->type, what,
             STR_ARG(buf_str(&g->event)));
}

#define MUST(condition)            \
    do {                           \
        if (!(condition))          \
            breach(g, #condition); \
    } while (0)

static struct str data_of(const struct bedrock_grammar *g)
{
    return buf_str(&g->event);
}

static int64_t int_at(const struct bedrock_grammar *g, const char *path)
{
    struct json_value value;
    int64_t n = 0;
    if (!json_find(data_of(g), path, &value) || !json_number_i64(value, &n) || n < 0)
        breach(g, path);
    return n;
}

static struct str string_at(const struct bedrock_grammar *g, const char *path)
{
    struct json_value value;
    if (!json_find(data_of(g), path, &value) || value.kind != JSON_STRING)
        breach(g, path);
    return json_string_raw(value);
}

/* The one member of an object of the event. */
static void only_member(const struct bedrock_grammar *g, const char *path, char *name, size_t cap,
                        struct json_value *value)
{
    struct json_value object, more;
    struct json_cursor cursor;
    struct str key;
    if (!json_find(data_of(g), path, &object))
        breach(g, path);
    json_cursor_init(&cursor, object.text);
    MUST(json_iter_object(&cursor, &key, value) == 1);
    snprintf(name, cap, "%.*s", STR_ARG(key));
    MUST(json_iter_object(&cursor, &key, &more) == 0);
}

static void check_start(struct bedrock_grammar *g)
{
    struct json_value value;
    MUST(g->block[0] == '\0' && int_at(g, "contentBlockIndex") == g->index);
    only_member(g, "start", g->block, sizeof(g->block), &value);
    if (strcmp(g->block, "toolUse") == 0) {
        struct str id = string_at(g, "start.toolUse.toolUseId");
        MUST(id.len > 0 && id.len <= 64);
        MUST(string_at(g, "start.toolUse.name").len > 0);
    } else if (strcmp(g->block, "toolResult") == 0) {
        MUST(string_at(g, "start.toolResult.toolUseId").len > 0);
    } else {
        MUST(strcmp(g->block, "image") == 0);
    }
}

static void check_delta(struct bedrock_grammar *g)
{
    char kind[sizeof(g->block)], inner[32];
    struct json_value value;
    MUST(int_at(g, "contentBlockIndex") == g->index);
    only_member(g, "delta", kind, sizeof(kind), &value);
    if (strcmp(kind, "citation") == 0) {
        MUST(value.kind == JSON_OBJECT);
        snprintf(kind, sizeof(kind), "text");
    } else if (strcmp(kind, "text") == 0) {
        MUST(value.kind == JSON_STRING);
    } else if (strcmp(kind, "toolUse") == 0) {
        string_at(g, "delta.toolUse.input");
        MUST(g->block[0] != '\0');
    } else if (strcmp(kind, "reasoningContent") == 0) {
        only_member(g, "delta.reasoningContent", inner, sizeof(inner), &value);
        MUST(strcmp(inner, "text") == 0 || strcmp(inner, "signature") == 0 ||
             strcmp(inner, "redactedContent") == 0);
        MUST(value.kind == JSON_STRING);
    } else {
        MUST(strcmp(kind, "toolResult") == 0 || strcmp(kind, "image") == 0);
    }
    MUST(g->block[0] == '\0' || strcmp(g->block, kind) == 0);
    memcpy(g->block, kind, sizeof(kind));
}

static void check_stop(struct bedrock_grammar *g)
{
    MUST(g->block[0] != '\0' && int_at(g, "contentBlockIndex") == g->index);
    g->block[0] = '\0';
    g->index++;
}

static void check_message_stop(struct bedrock_grammar *g)
{
    struct str reason = string_at(g, "stopReason");
    MUST(g->block[0] == '\0');
    for (size_t i = 0; i < ARRAY_LEN(stop_reasons); i++) {
        if (str_eq(reason, str_c(stop_reasons[i])))
            g->stop_reason = stop_reasons[i];
    }
    MUST(g->stop_reason != NULL);
    g->has_stopped = true;
}

static void check_metadata(struct bedrock_grammar *g)
{
    MUST(g->has_stopped);
    int64_t cached = 0;
    struct json_value value;
    if (json_find(data_of(g), "usage.cacheReadInputTokens", &value))
        cached += int_at(g, "usage.cacheReadInputTokens");
    if (json_find(data_of(g), "usage.cacheWriteInputTokens", &value))
        cached += int_at(g, "usage.cacheWriteInputTokens");
    MUST(int_at(g, "usage.totalTokens") ==
         int_at(g, "usage.inputTokens") + int_at(g, "usage.outputTokens") + cached);
    int_at(g, "metrics.latencyMs");
    g->is_over = true;
}

static void check_exception(struct bedrock_grammar *g)
{
    bool is_known = false;
    for (size_t i = 0; i < ARRAY_LEN(exceptions); i++)
        is_known = is_known || strcmp(g->type, exceptions[i]) == 0;
    MUST(is_known);
    string_at(g, "message");
    g->is_over = g->is_error = true;
}

static void check(struct bedrock_grammar *g)
{
    struct json_scan scan;
    g->events++;
    MUST(json_scan_object(data_of(g), 128, NULL, 0, &scan) == 0);
    MUST(memchr(g->event.ptr, '\n', g->event.len) == NULL);
    MUST(!g->is_over);
    if (str_ends(str_c(g->type), STR("Exception"))) {
        check_exception(g);
        return;
    }
    if (strcmp(g->type, "messageStart") == 0) {
        MUST(!g->has_begun && str_eq(string_at(g, "role"), STR("assistant")));
        g->has_begun = true;
        return;
    }
    MUST(g->has_begun);
    if (strcmp(g->type, "metadata") == 0) {
        check_metadata(g);
        return;
    }
    MUST(!g->has_stopped);
    if (strcmp(g->type, "contentBlockStart") == 0)
        check_start(g);
    else if (strcmp(g->type, "contentBlockDelta") == 0)
        check_delta(g);
    else if (strcmp(g->type, "contentBlockStop") == 0)
        check_stop(g);
    else if (strcmp(g->type, "messageStop") == 0)
        check_message_stop(g);
    else
        breach(g, "unknown type");
}

static struct buf *begin(struct llm_frames *frames, struct str type)
{
    struct bedrock_grammar *g = CONTAINER_OF(frames, struct bedrock_grammar, frames);
    snprintf(g->type, sizeof(g->type), "%.*s", STR_ARG(type));
    buf_clear(&g->event);
    return &g->event;
}

static void end(struct llm_frames *frames)
{
    struct bedrock_grammar *g = CONTAINER_OF(frames, struct bedrock_grammar, frames);
    bool is_exception = str_ends(str_c(g->type), STR("Exception"));
    check(g);
    size_t mark = event_stream_begin(&g->stream, is_exception ? STR("exception") : STR("event"),
                                     str_c(g->type));
    buf_add_str(&g->stream, buf_str(&g->event));
    event_stream_end(&g->stream, mark);
    buf_printf(&g->text, "%s %.*s\n", g->type, STR_ARG(buf_str(&g->event)));
}

void bedrock_grammar_init(struct bedrock_grammar *g, const char *name)
{
    *g = (struct bedrock_grammar){.frames = {begin, end}, .name = name};
}

void bedrock_grammar_fini(struct bedrock_grammar *g)
{
    buf_fini(&g->event);
    buf_fini(&g->text);
    buf_fini(&g->stream);
}

void bedrock_grammar_end(const struct bedrock_grammar *g)
{
    MUST(g->is_over);
    MUST(g->is_error || (g->has_begun && g->has_stopped));
}

struct str bedrock_grammar_text(const struct bedrock_grammar *g)
{
    return buf_str(&g->text);
}
