#include "dialect/bedrock/usage.h"

#include "dialect/bedrock/write.h"

/* {"cacheDetails": [{"ttl": "1h", "inputTokens": 12}]}: which of the written tokens live how long.
 */
static void read_details(struct json_value list, struct token_usage *usage)
{
    struct json_cursor cursor;
    struct json_value item, ttl, tokens;
    int64_t n, by_ttl[2] = {0, 0};
    bool has_any = false;
    json_cursor_init(&cursor, list.text);
    while (list.kind == JSON_ARRAY && json_iter_array(&cursor, &item) == 1) {
        if (item.kind != JSON_OBJECT || !json_find(item.text, "ttl", &ttl) ||
            !json_find(item.text, "inputTokens", &tokens) || !json_number_i64(tokens, &n) || n < 0)
            continue;
        by_ttl[json_string_eq(json_string_raw(ttl), STR("1h"))] += n;
        has_any = true;
    }
    if (!has_any)
        return;
    usage->cache_write_5m = by_ttl[0];
    usage->cache_write_1h = by_ttl[1];
}

void bedrock_usage_read(struct str object, struct token_usage *usage)
{
    const struct {
        struct str name;
        int64_t *count;
    } members[] = {
        {STR("inputTokens"), &usage->input},
        {STR("outputTokens"), &usage->output},
        {STR("cacheReadInputTokens"), &usage->cache_read},
        {STR("cacheWriteInputTokens"), &usage->cache_write_5m},
    };
    struct json_cursor cursor;
    struct str key;
    struct json_value value, details = {JSON_NONE, STR_EMPTY};
    int64_t n;
    json_cursor_init(&cursor, object);
    while (json_iter_object(&cursor, &key, &value) == 1) {
        if (json_string_eq(key, STR("cacheDetails")))
            details = value;
        for (size_t i = 0; i < ARRAY_LEN(members); i++) {
            if (json_string_eq(key, members[i].name) && json_number_i64(value, &n) && n >= 0)
                *members[i].count = n;
        }
    }
    read_details(details, usage);
}

static void write_count(struct buf *out, const char *name, int64_t count)
{
    bedrock_key(out, name);
    buf_add_i64(out, MAX(count, 0));
}

void bedrock_usage_write(struct buf *out, const struct token_usage *usage)
{
    int64_t written = token_usage_cache_write(usage);
    BUF_LIT(out, "{");
    write_count(out, "inputTokens", token_usage_input_fresh(usage));
    write_count(out, "outputTokens", usage->output);
    write_count(out, "totalTokens", MAX(token_usage_input_total(usage), 0) + MAX(usage->output, 0));
    if (usage->cache_read >= 0)
        write_count(out, "cacheReadInputTokens", usage->cache_read);
    if (written >= 0)
        write_count(out, "cacheWriteInputTokens", written);
    if (usage->cache_write_1h > 0) {
        bedrock_key(out, "cacheDetails");
        buf_printf(out, "[{\"ttl\":\"1h\",\"inputTokens\":%lld}", (long long)usage->cache_write_1h);
        if (usage->cache_write_5m > 0)
            buf_printf(out, ",{\"ttl\":\"5m\",\"inputTokens\":%lld}",
                       (long long)usage->cache_write_5m);
        BUF_LIT(out, "]");
    }
    BUF_LIT(out, "}");
}
