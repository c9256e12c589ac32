#include "gateway/request_facts.h"

#include "base/err.h"
#include "base/json.h"
#include "provider/price.h"

enum {
    /* Bytes of a body that stand for a token, roughly; larger bodies are pictures and files. */
    BYTES_PER_TOKEN = 4,
    ESTIMATED_BYTES_MAX = 128 * 1024,
    /* What an answer is taken to be long, where only money is compared. */
    OUTPUT_TOKENS_USUAL = 500,
    /* So much of the prompt's beginning says whose cache is warm. */
    PROMPT_PREFIX_BYTES = 2048,
};

int64_t request_tokens(size_t body_bytes)
{
    return body_bytes <= ESTIMATED_BYTES_MAX ? (int64_t)(body_bytes / BYTES_PER_TOKEN) : -1;
}

/* The first of these members that is a string, unescaped; empty where none is. */
static struct str first_text(struct str body, struct arena *arena, const char *const *paths)
{
    struct str text = STR_EMPTY;
    for (; *paths != NULL && text.len == 0; paths++) {
        struct json_value value;
        if (json_find(body, *paths, &value) && value.kind == JSON_STRING &&
            json_unescape(arena, json_string_raw(value), &text) < 0)
            text = STR_EMPTY;
    }
    return text;
}

static struct str metadata_of(struct str body)
{
    static const char *const names[] = {"metadata", "requestMetadata", "labels"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct json_value value;
        if (json_find(body, names[i], &value) && value.kind == JSON_OBJECT)
            return value.text;
    }
    return STR_EMPTY;
}

static struct str prompt_prefix(struct str body, struct arena *arena)
{
    static const char *const names[] = {
        "system", "instructions", "systemInstruction", "messages", "input", "contents", "prompt"};
    struct str parts[ARRAY_LEN(names)];
    size_t count = 0, room = PROMPT_PREFIX_BYTES;
    for (size_t i = 0; i < ARRAY_LEN(names) && room > 0; i++) {
        struct json_value value;
        if (!json_find(body, names[i], &value))
            continue;
        parts[count] = str_head(value.text, room);
        room -= parts[count++].len;
    }
    return arena_concat(arena, parts, count);
}

void request_facts_read(struct str body, const struct http_headers *headers, struct arena *arena,
                        struct route_facts *facts)
{
    static const char *const users[] = {"safety_identifier", "user", "metadata.user_id",
                                        "requestMetadata.user_id", NULL};
    static const char *const sessions[] = {"metadata.session_id", "requestMetadata.session_id",
                                           "prompt_cache_key", NULL};
    facts->user = first_text(body, arena, users);
    facts->session = http_headers_get(headers, STR("x-weir-session"));
    if (facts->session.len == 0)
        facts->session = first_text(body, arena, sessions);
    facts->metadata = metadata_of(body);
    facts->prompt_prefix = prompt_prefix(body, arena);
}

double request_price(const struct provider *provider, struct str model, int64_t input_tokens)
{
    const struct price *price = price_find(provider, model);
    if (price == NULL)
        return -1;
    return (double)price_estimate(price, input_tokens, OUTPUT_TOKENS_USUAL) / 1e9;
}

/* One entry: "name", or {"model": "name"} as some clients write it. */
static int read_name(struct arena *arena, struct json_value value, struct str *name)
{
    if (value.kind == JSON_OBJECT) {
        struct str object = value.text;
        if (!json_find(object, "model", &value))
            return -ERR_INVALID;
    }
    if (value.kind != JSON_STRING)
        return -ERR_INVALID;
    int r = json_unescape(arena, json_string_raw(value), name);
    if (r == 0) {
        /* The body may go before the name does. */
        *name = arena_dup(arena, *name);
        r = name->ptr == NULL ? -ERR_NOMEM : 0;
    }
    return r == 0 && name->len == 0 ? -ERR_INVALID : r;
}

int request_fallbacks_read(struct str list, struct arena *arena, struct route_names *out)
{
    struct json_cursor cursor;
    struct json_value value;
    unsigned count = 0;
    int r;
    struct str *names = arena_calloc(arena, FALLBACKS_MAX * sizeof(*names));
    if (names == NULL)
        return -ERR_NOMEM;
    json_cursor_init(&cursor, list);
    while ((r = json_iter_array(&cursor, &value)) == 1) {
        if (count == FALLBACKS_MAX)
            return -ERR_INVALID;
        r = read_name(arena, value, &names[count++]);
        if (r < 0)
            return r;
    }
    *out = (struct route_names){names, count};
    return r;
}
