#include "dialect/openai_chat/response.h"

#include "base/err.h"
#include "base/json.h"

/* Where a count stands in the usage object, one or two keys deep, and where it goes. */
struct usage_field {
    const char *outer; /* NULL = top level */
    const char *name;
    size_t offset;
};
#define INTO(member) offsetof(struct token_usage, member)

/* Later rows win, so the usual name of a class stands after its rarer ones. */
static const struct usage_field usage_fields[] = {
    {NULL, "prompt_tokens", INTO(input)},
    {NULL, "completion_tokens", INTO(output)},
    {NULL, "reasoning_tokens", INTO(reasoning)},         /* Perplexity */
    {NULL, "prompt_cache_hit_tokens", INTO(cache_read)}, /* DeepSeek */
    {NULL, "cached_tokens", INTO(cache_read)},           /* Moonshot */
    {"prompt_tokens_details", "cached_tokens", INTO(cache_read)},
    {"prompt_tokens_details", "cache_write_tokens", INTO(cache_write_5m)}, /* OpenRouter */
    {"prompt_tokens_details", "audio_tokens", INTO(audio_input)},
    {"prompt_tokens_details", "image_tokens", INTO(image_input)}, /* xAI */
    {"completion_tokens_details", "reasoning_tokens", INTO(reasoning)},
    {"completion_tokens_details", "audio_tokens", INTO(audio_output)},
};

static void read_level(struct str object, const char *outer, struct token_usage *usage)
{
    struct json_cursor cursor;
    struct str key;
    struct json_value value;
    json_cursor_init(&cursor, object);
    while (json_iter_object(&cursor, &key, &value) == 1) {
        if (value.kind == JSON_OBJECT && outer == NULL) {
            if (str_eq(key, STR("prompt_tokens_details")))
                read_level(value.text, "prompt_tokens_details", usage);
            else if (str_eq(key, STR("completion_tokens_details")))
                read_level(value.text, "completion_tokens_details", usage);
            continue;
        }
        if (value.kind != JSON_NUMBER)
            continue;
        for (size_t i = 0; i < ARRAY_LEN(usage_fields); i++) {
            const struct usage_field *f = &usage_fields[i];
            int64_t n;
            if (f->outer == outer && str_eq(key, str_c(f->name)) && json_number_i64(value, &n) &&
                n >= 0)
                memcpy((char *)usage + f->offset, &n, sizeof(n));
        }
    }
}

void openai_usage_read(struct str object, struct token_usage *usage)
{
    read_level(object, NULL, usage);
    usage->input_includes_cached = true;
}

/*
 * The first finish reason in the choices. Found as text, for going through the choices once more
 * costs as much as all the rest: quotes inside of strings are escaped, so these bytes can only be
 * the member itself.
 */
static struct str find_finish_reason(struct str choices)
{
    static const struct str member = STR_INIT("\"finish_reason\":");
    ptrdiff_t at = str_find(choices, member);
    if (at < 0)
        return STR_EMPTY;
    struct str rest = str_trim(str_skip(choices, (size_t)at + member.len));
    if (!str_starts(rest, STR("\"")))
        return STR_EMPTY;
    rest = str_skip(rest, 1);
    ptrdiff_t end = str_index(rest, '"');
    return end < 0 ? STR_EMPTY : str_head(rest, (size_t)end);
}

int openai_answer_read(struct str body, struct openai_answer *answer)
{
    struct json_cursor cursor;
    struct str key;
    struct json_value value;
    bool has_choices = false;
    bool may_be_error = false;
    int r;
    *answer = (struct openai_answer){.usage = TOKEN_USAGE_NONE};
    json_cursor_init(&cursor, body);
    while ((r = json_iter_object(&cursor, &key, &value)) == 1) {
        if (str_eq(key, STR("usage")) && value.kind == JSON_OBJECT) {
            openai_usage_read(value.text, &answer->usage);
            answer->has_usage = true;
        } else if (str_eq(key, STR("model"))) {
            answer->model = json_string_raw(value);
        } else if (str_eq(key, STR("choices")) && value.kind == JSON_ARRAY) {
            has_choices = true;
            answer->finish_reason = find_finish_reason(value.text);
        } else if (str_eq(key, STR("error")) || str_eq(key, STR("object"))) {
            may_be_error = true;
        }
    }
    if (r < 0)
        return r;
    answer->is_error = !has_choices && may_be_error && openai_error_read(body, &answer->error);
    return 0;
}
