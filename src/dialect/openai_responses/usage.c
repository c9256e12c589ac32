#include "dialect/openai_responses/codec.h"

static void read_count(struct json_value value, int64_t *count)
{
    int64_t n;
    if (json_number_i64(value, &n) && n >= 0)
        *count = n;
}

static void read_details(struct json_value object, bool is_input, struct token_usage *usage)
{
    struct json_cursor cursor;
    struct json_value value;
    struct str key;
    if (object.kind != JSON_OBJECT)
        return;
    json_cursor_init(&cursor, object.text);
    while (json_iter_object(&cursor, &key, &value) == 1) {
        if (is_input && str_eq(key, STR("cached_tokens")))
            read_count(value, &usage->cache_read);
        else if (is_input && str_eq(key, STR("cache_write_tokens")))
            read_count(value, &usage->cache_write_5m);
        else if (is_input && str_eq(key, STR("image_tokens")))
            read_count(value, &usage->image_input);
        else if (str_eq(key, STR("audio_tokens")))
            read_count(value, is_input ? &usage->audio_input : &usage->audio_output);
        else if (!is_input && str_eq(key, STR("reasoning_tokens")))
            read_count(value, &usage->reasoning);
    }
}

void responses_usage_read(struct str object, struct token_usage *usage)
{
    struct json_cursor cursor;
    struct json_value value;
    struct str key;
    int64_t total = -1;
    json_cursor_init(&cursor, object);
    while (json_iter_object(&cursor, &key, &value) == 1) {
        if (str_eq(key, STR("input_tokens")))
            read_count(value, &usage->input);
        else if (str_eq(key, STR("output_tokens")))
            read_count(value, &usage->output);
        else if (str_eq(key, STR("total_tokens")))
            read_count(value, &total);
        else if (str_eq(key, STR("input_tokens_details")))
            read_details(value, true, usage);
        else if (str_eq(key, STR("output_tokens_details")))
            read_details(value, false, usage);
    }
    usage->input_includes_cached = true;
    /* A provider that counts reasoning beside the output, and only tells so by the total. */
    bool is_beside = usage->reasoning > 0 && usage->input >= 0 && usage->output >= 0 &&
                     total == usage->input + usage->output + usage->reasoning;
    if (is_beside)
        usage->output += usage->reasoning;
}

void responses_usage_write(struct buf *out, const struct token_usage *usage)
{
    int64_t input = MAX(token_usage_input_total(usage), 0);
    int64_t output = MAX(usage->output, 0);
    int64_t written = MAX(token_usage_cache_write(usage), 0);
    if (usage->input < 0 && usage->output < 0) {
        BUF_LIT(out, "null");
        return;
    }
    BUF_LIT(out, "{\"input_tokens\":");
    buf_add_i64(out, input);
    BUF_LIT(out, ",\"input_tokens_details\":{\"cached_tokens\":");
    buf_add_i64(out, MAX(usage->cache_read, 0));
    BUF_LIT(out, ",\"cache_write_tokens\":");
    buf_add_i64(out, written);
    BUF_LIT(out, "},\"output_tokens\":");
    buf_add_i64(out, output);
    BUF_LIT(out, ",\"output_tokens_details\":{\"reasoning_tokens\":");
    buf_add_i64(out, MAX(usage->reasoning, 0));
    BUF_LIT(out, "},\"total_tokens\":");
    buf_add_i64(out, input + output);
    buf_add_char(out, '}');
}
