#include "dialect/event.h"

const char *const llm_finish_names[FINISH_COUNT] = {
    [FINISH_STOP] = "stop",
    [FINISH_STOP_SEQUENCE] = "stop_sequence",
    [FINISH_LENGTH] = "length",
    [FINISH_CONTEXT] = "context",
    [FINISH_TOOL_CALLS] = "tool_calls",
    [FINISH_CONTENT_FILTER] = "content_filter",
    [FINISH_REFUSAL] = "refusal",
    [FINISH_PAUSE] = "pause",
    [FINISH_OTHER] = "other",
};

struct llm_event llm_event_make(enum llm_event_kind kind)
{
    return (struct llm_event){
        .kind = kind,
        .created_s = -1,
        .usage = TOKEN_USAGE_NONE,
        .error = LLM_ERROR_NONE,
    };
}

static void merge(int64_t *count, int64_t more)
{
    if (more >= 0)
        *count = more;
}

void token_usage_merge(struct token_usage *usage, const struct token_usage *more)
{
    merge(&usage->input, more->input);
    merge(&usage->output, more->output);
    merge(&usage->reasoning, more->reasoning);
    merge(&usage->cache_read, more->cache_read);
    merge(&usage->cache_write_5m, more->cache_write_5m);
    merge(&usage->cache_write_1h, more->cache_write_1h);
    merge(&usage->audio_input, more->audio_input);
    merge(&usage->audio_output, more->audio_output);
    merge(&usage->image_input, more->image_input);
    usage->input_includes_cached = usage->input_includes_cached || more->input_includes_cached;
    usage->is_partial = usage->is_partial || more->is_partial;
}

int64_t token_usage_cache_write(const struct token_usage *usage)
{
    if (usage->cache_write_5m < 0 && usage->cache_write_1h < 0)
        return -1;
    return MAX(usage->cache_write_5m, 0) + MAX(usage->cache_write_1h, 0);
}

static int64_t cached(const struct token_usage *usage)
{
    return MAX(usage->cache_read, 0) + MAX(token_usage_cache_write(usage), 0);
}

int64_t token_usage_input_total(const struct token_usage *usage)
{
    if (usage->input < 0 || usage->input_includes_cached)
        return usage->input;
    return usage->input + cached(usage);
}

int64_t token_usage_input_fresh(const struct token_usage *usage)
{
    if (usage->input < 0 || !usage->input_includes_cached)
        return usage->input;
    return MAX(usage->input - cached(usage), 0);
}
