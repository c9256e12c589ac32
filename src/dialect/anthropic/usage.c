#include "dialect/anthropic/codec.h"

static int64_t count_of(struct json_value value)
{
    int64_t n;
    return json_number_i64(value, &n) && n >= 0 ? n : -1;
}

static void put(int64_t *place, int64_t count)
{
    if (count >= 0)
        *place = count;
}

/* How long what was written is kept, where that is told. */
static bool read_kept(struct json_value object, struct token_usage *usage)
{
    struct json_value value;
    if (object.kind != JSON_OBJECT)
        return false;
    bool has_5m = json_find(object.text, "ephemeral_5m_input_tokens", &value);
    if (has_5m)
        put(&usage->cache_write_5m, count_of(value));
    bool has_1h = json_find(object.text, "ephemeral_1h_input_tokens", &value);
    if (has_1h)
        put(&usage->cache_write_1h, count_of(value));
    return has_5m || has_1h;
}

void anthropic_usage_read(struct str object, struct token_usage *usage)
{
    struct json_cursor cursor;
    struct str key;
    struct json_value value, inner;
    struct json_value kept = {JSON_NONE, STR_EMPTY};
    int64_t written = -1;
    json_cursor_init(&cursor, object);
    while (json_iter_object(&cursor, &key, &value) == 1) {
        if (json_string_eq(key, STR("input_tokens")))
            put(&usage->input, count_of(value));
        else if (json_string_eq(key, STR("output_tokens")))
            put(&usage->output, count_of(value));
        else if (json_string_eq(key, STR("cache_read_input_tokens")))
            put(&usage->cache_read, count_of(value));
        else if (json_string_eq(key, STR("cache_creation_input_tokens")))
            written = count_of(value);
        else if (json_string_eq(key, STR("cache_creation")))
            kept = value;
        else if (json_string_eq(key, STR("output_tokens_details")) && value.kind == JSON_OBJECT &&
                 json_find(value.text, "thinking_tokens", &inner))
            put(&usage->reasoning, count_of(inner));
    }
    if (read_kept(kept, usage) || written < 0)
        return;
    /* The sum alone, as the end of a stream has it: how it is made up may have been told before. */
    int64_t for_1h = MAX(usage->cache_write_1h, 0);
    if (written != token_usage_cache_write(usage))
        usage->cache_write_5m = MAX(written - for_1h, 0);
}

void anthropic_usage_write(struct buf *out, const struct token_usage *usage)
{
    int64_t for_5m = MAX(usage->cache_write_5m, 0), for_1h = MAX(usage->cache_write_1h, 0);
    BUF_LIT(out, "{\"input_tokens\":");
    buf_add_i64(out, MAX(token_usage_input_fresh(usage), 0));
    BUF_LIT(out, ",\"cache_creation_input_tokens\":");
    buf_add_i64(out, for_5m + for_1h);
    BUF_LIT(out, ",\"cache_read_input_tokens\":");
    buf_add_i64(out, MAX(usage->cache_read, 0));
    buf_printf(out,
               ",\"cache_creation\":{\"ephemeral_5m_input_tokens\":%lld,"
               "\"ephemeral_1h_input_tokens\":%lld},\"output_tokens\":%lld",
               (long long)for_5m, (long long)for_1h, (long long)MAX(usage->output, 0));
    if (usage->reasoning >= 0)
        buf_printf(out, ",\"output_tokens_details\":{\"thinking_tokens\":%lld}",
                   (long long)usage->reasoning);
    BUF_LIT(out, "}");
}

static const struct {
    const char *reason;
    enum llm_finish finish;
} reasons[] = {
    {"end_turn", FINISH_STOP},
    {"max_tokens", FINISH_LENGTH},
    {"stop_sequence", FINISH_STOP_SEQUENCE},
    {"tool_use", FINISH_TOOL_CALLS},
    {"pause_turn", FINISH_PAUSE},
    {"compaction", FINISH_PAUSE},
    {"refusal", FINISH_REFUSAL},
    {"model_context_window_exceeded", FINISH_CONTEXT},
};

enum llm_finish anthropic_finish_of(struct text stop_reason)
{
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++) {
        if (text_eq(stop_reason, str_c(reasons[i].reason)))
            return reasons[i].finish;
    }
    return FINISH_OTHER;
}

/* Agents go on by this word alone, so a call is told even where the provider spoke of a stop. */
const char *anthropic_stop_reason(enum llm_finish finish, bool has_call)
{
    if (finish == FINISH_CONTENT_FILTER)
        return "refusal";
    if (has_call && (finish == FINISH_STOP || finish == FINISH_OTHER))
        return "tool_use";
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++) {
        if (reasons[i].finish == finish)
            return reasons[i].reason;
    }
    return "end_turn";
}
