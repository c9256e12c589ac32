#include "dialect/gemini/codec.h"
#include "dialect/gemini/member.h"

static int64_t count_of(struct str object, const char *name)
{
    struct json_value value;
    return gemini_find(object, name, &value) ? gemini_count(value) : -1;
}

static int64_t sum(int64_t a, int64_t b)
{
    return a < 0 ? b : b < 0 ? a : a + b;
}

/* The tokens of one modality in a list of {modality, tokenCount}. */
static int64_t of_modality(struct str object, const char *name, struct str modality)
{
    struct json_value details, detail, value;
    struct gemini_list list;
    int64_t count = -1;
    if (!gemini_find(object, name, &details))
        return -1;
    gemini_list_init(&list, details);
    while (gemini_list_next(&list, &detail)) {
        if (detail.kind == JSON_OBJECT && gemini_find(detail.text, "modality", &value) &&
            json_string_eq(json_string_raw(value), modality))
            count = sum(count, count_of(detail.text, "tokenCount"));
    }
    return count;
}

void gemini_read_usage(struct str object, struct token_usage *usage)
{
    struct token_usage told = TOKEN_USAGE_NONE;
    told.input =
        sum(count_of(object, "promptTokenCount"), count_of(object, "toolUsePromptTokenCount"));
    told.reasoning = count_of(object, "thoughtsTokenCount");
    told.output = sum(count_of(object, "candidatesTokenCount"), told.reasoning);
    told.cache_read = count_of(object, "cachedContentTokenCount");
    told.audio_input = of_modality(object, "promptTokensDetails", STR("AUDIO"));
    told.audio_output = of_modality(object, "candidatesTokensDetails", STR("AUDIO"));
    told.image_input = of_modality(object, "promptTokensDetails", STR("IMAGE"));
    told.input_includes_cached = true;
    token_usage_merge(usage, &told);
    usage->input_includes_cached = true;
}

bool gemini_has_usage(const struct token_usage *usage)
{
    return usage->input >= 0 || usage->output >= 0;
}

static void write_count(struct buf *out, const char *name, int64_t count)
{
    if (count < 0)
        return;
    gemini_comma(out);
    buf_printf(out, "\"%s\":", name);
    buf_add_i64(out, count);
}

void gemini_write_usage(struct buf *out, const struct token_usage *usage)
{
    int64_t input = token_usage_input_total(usage);
    int64_t answer = usage->output;
    if (answer >= 0 && usage->reasoning > 0)
        answer = answer > usage->reasoning ? answer - usage->reasoning : 0;
    buf_add_char(out, '{');
    write_count(out, "promptTokenCount", input);
    write_count(out, "candidatesTokenCount", answer);
    write_count(out, "thoughtsTokenCount", usage->reasoning);
    write_count(out, "cachedContentTokenCount", usage->cache_read);
    write_count(out, "totalTokenCount", sum(input, usage->output));
    buf_add_char(out, '}');
}
