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

/* The members of a body that plans look at; those of the prompt in the order in which providers
 * put them before the model. */
enum member {
    SYSTEM,
    INSTRUCTIONS,
    SYSTEM_INSTRUCTION,
    MESSAGES,
    INPUT,
    CONTENTS,
    PROMPT,
    SAFETY_IDENTIFIER,
    USER,
    PROMPT_CACHE_KEY,
    METADATA,
    REQUEST_METADATA,
    LABELS,
    MEMBER_COUNT,
    PROMPT_COUNT = PROMPT + 1,
};

static const struct str member_names[MEMBER_COUNT] = {
    [SYSTEM] = STR_INIT("system"),
    [INSTRUCTIONS] = STR_INIT("instructions"),
    [SYSTEM_INSTRUCTION] = STR_INIT("systemInstruction"),
    [MESSAGES] = STR_INIT("messages"),
    [INPUT] = STR_INIT("input"),
    [CONTENTS] = STR_INIT("contents"),
    [PROMPT] = STR_INIT("prompt"),
    [SAFETY_IDENTIFIER] = STR_INIT("safety_identifier"),
    [USER] = STR_INIT("user"),
    [PROMPT_CACHE_KEY] = STR_INIT("prompt_cache_key"),
    [METADATA] = STR_INIT("metadata"),
    [REQUEST_METADATA] = STR_INIT("requestMetadata"),
    [LABELS] = STR_INIT("labels"),
};

/* All of them in one walk over the body, which may be long; what is not there is JSON_NONE. The
 * first one counts where names repeat. */
static void read_members(struct str body, struct json_value members[MEMBER_COUNT])
{
    struct json_cursor cursor;
    struct json_value value;
    struct str key;
    for (unsigned i = 0; i < MEMBER_COUNT; i++)
        members[i] = (struct json_value){.kind = JSON_NONE};
    json_cursor_init(&cursor, body);
    while (json_iter_object(&cursor, &key, &value) == 1) {
        for (unsigned i = 0; i < MEMBER_COUNT; i++) {
            if (members[i].kind == JSON_NONE && json_string_eq(key, member_names[i])) {
                members[i] = value;
                break;
            }
        }
    }
}

/* Its text, unescaped; empty where it is no string. */
static struct str unescaped(struct json_value value, struct arena *arena)
{
    struct str text;
    if (value.kind != JSON_STRING || json_unescape(arena, json_string_raw(value), &text) < 0)
        return STR_EMPTY;
    return text;
}

static struct str first_text(struct arena *arena, const struct json_value *values, size_t count)
{
    struct str text = STR_EMPTY;
    for (size_t i = 0; i < count && text.len == 0; i++)
        text = unescaped(values[i], arena);
    return text;
}

/* A member of the metadata, whichever of the two there is. */
static struct json_value in_metadata(const struct json_value *members, enum member which,
                                     const char *name)
{
    struct json_value value;
    if (members[which].kind != JSON_OBJECT || !json_find(members[which].text, name, &value))
        return (struct json_value){.kind = JSON_NONE};
    return value;
}

static struct str metadata_of(const struct json_value *members)
{
    static const enum member places[] = {METADATA, REQUEST_METADATA, LABELS};
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        if (members[places[i]].kind == JSON_OBJECT)
            return members[places[i]].text;
    }
    return STR_EMPTY;
}

static struct str prompt_prefix(const struct json_value *members, struct arena *arena)
{
    struct str parts[PROMPT_COUNT];
    size_t count = 0, room = PROMPT_PREFIX_BYTES;
    for (size_t i = 0; i < PROMPT_COUNT && room > 0; i++) {
        if (members[i].kind == JSON_NONE)
            continue;
        parts[count] = str_head(members[i].text, room);
        room -= parts[count++].len;
    }
    return count == 1 ? parts[0] : arena_concat(arena, parts, count);
}

void request_facts_read(struct str body, const struct http_headers *headers, struct arena *arena,
                        struct route_facts *facts)
{
    struct json_value members[MEMBER_COUNT];
    read_members(body, members);
    const struct json_value users[] = {
        members[SAFETY_IDENTIFIER],
        members[USER],
        in_metadata(members, METADATA, "user_id"),
        in_metadata(members, REQUEST_METADATA, "user_id"),
    };
    const struct json_value sessions[] = {
        in_metadata(members, METADATA, "session_id"),
        in_metadata(members, REQUEST_METADATA, "session_id"),
        members[PROMPT_CACHE_KEY],
    };
    facts->user = first_text(arena, users, ARRAY_LEN(users));
    facts->session = http_headers_get(headers, STR("x-weir-session"));
    if (facts->session.len == 0)
        facts->session = first_text(arena, sessions, ARRAY_LEN(sessions));
    facts->metadata = metadata_of(members);
    facts->prompt_prefix = prompt_prefix(members, arena);
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
