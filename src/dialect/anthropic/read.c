#include "base/err.h"
#include "dialect/anthropic/codec.h"

int anthropic_no_memory(void)
{
    return err_set(ERR_NOMEM, FAULT_GATEWAY, "out of memory");
}

/* --- where we are --- */

size_t anthropic_enter(struct anthropic_reader *r, const char *member, ptrdiff_t index)
{
    size_t back = r->path_len, room = sizeof(r->path) - r->path_len;
    const char *dot = back > 0 && member[0] != '\0' ? "." : "";
    int len = index < 0 ? snprintf(r->path + back, room, "%s%s", dot, member)
                        : snprintf(r->path + back, room, "%s%s[%zd]", dot, member, index);
    r->path_len = MIN(back + (size_t)MAX(len, 0), sizeof(r->path) - 1);
    return back;
}

void anthropic_leave(struct anthropic_reader *r, size_t back)
{
    r->path_len = back;
    r->path[back] = '\0';
}

int anthropic_refuse(const struct anthropic_reader *r, const char *member, const char *words)
{
    bool needs_dot = r->path_len > 0 && member[0] != '\0';
    return err_set(ERR_INVALID, FAULT_CLIENT, "'%.*s%s%s' %s", (int)r->path_len, r->path,
                   needs_dot ? "." : "", member, words);
}

/* --- members --- */

int anthropic_keep(struct arena *arena, const char *name, struct str raw, struct str *rest)
{
    struct str parts[] = {
        *rest, rest->len > 0 ? STR(",") : STR_EMPTY, STR("\""), str_c(name), STR("\":"), raw};
    *rest = arena_concat(arena, parts, ARRAY_LEN(parts));
    return rest->ptr != NULL ? 0 : anthropic_no_memory();
}

static int keep_unknown(const struct anthropic_reader *r, struct str key, struct json_value value,
                        struct buf *rest)
{
    if (rest == NULL)
        return llm_extra_add(r->arena, r->request, str_n(r->path, r->path_len), key, value)
                   ? 0
                   : anthropic_no_memory();
    if (rest->len > 0)
        buf_add_char(rest, ',');
    buf_add_char(rest, '"');
    buf_add_str(rest, key);
    BUF_LIT(rest, "\":");
    buf_add_str(rest, value.text);
    return buf_ok(rest) ? 0 : anthropic_no_memory();
}

const char *anthropic_refusal_of(enum anthropic_wish wish, enum json_kind kind)
{
    switch (wish) {
    case WANT_ANY:
        return NULL;
    case WANT_STRING:
        return kind == JSON_STRING ? NULL : "must be a string";
    case WANT_NUMBER:
        return kind == JSON_NUMBER ? NULL : "must be a number";
    case WANT_BOOLEAN:
        return kind == JSON_TRUE || kind == JSON_FALSE ? NULL : "must be true or false";
    case WANT_OBJECT:
        return kind == JSON_OBJECT ? NULL : "must be an object";
    case WANT_ARRAY:
        return kind == JSON_ARRAY ? NULL : "must be an array";
    }
    return NULL;
}

static int collect(const struct anthropic_reader *r, struct str object,
                   const struct anthropic_member *members, struct json_value *values,
                   struct buf *rest)
{
    struct json_cursor cursor;
    struct str key;
    struct json_value value;
    int error;
    json_cursor_init(&cursor, object);
    while ((error = json_iter_object(&cursor, &key, &value)) == 1) {
        size_t i = 0;
        if (value.kind == JSON_NULL)
            continue;
        while (members[i].name != NULL && !json_string_eq(key, str_c(members[i].name)))
            i++;
        const char *words =
            members[i].name != NULL ? anthropic_refusal_of(members[i].wish, value.kind) : NULL;
        if (words != NULL)
            return anthropic_refuse(r, members[i].name, words);
        if (members[i].name != NULL)
            values[i] = value;
        else if (keep_unknown(r, key, value, rest) < 0)
            return anthropic_no_memory();
    }
    return error < 0 ? anthropic_refuse(r, "", "must be a JSON object") : 0;
}

int anthropic_collect(const struct anthropic_reader *r, struct str object,
                      const struct anthropic_member *members, struct json_value *values,
                      struct str *rest)
{
    struct buf unknown = BUF_INIT;
    for (size_t i = 0; members[i].name != NULL; i++)
        values[i] = (struct json_value){JSON_NONE, STR_EMPTY};
    int error = collect(r, object, members, values, rest != NULL ? &unknown : NULL);
    if (error == 0 && unknown.len > 0) {
        *rest = arena_dup(r->arena, buf_str(&unknown));
        error = rest->ptr != NULL ? 0 : anthropic_no_memory();
    }
    buf_fini(&unknown);
    return error;
}

int anthropic_read_cache(const struct anthropic_reader *r, struct json_value value,
                         enum llm_cache *cache, struct str *rest)
{
    static const struct anthropic_member members[] = {
        {"type", WANT_STRING}, {"ttl", WANT_STRING}, {NULL, WANT_ANY}};
    struct json_value values[2];
    struct str more = STR_EMPTY;
    if (value.kind == JSON_NONE)
        return 0;
    int error = anthropic_collect(r, value.text, members, values, &more);
    if (error < 0)
        return error;
    bool is_long = json_string_eq(json_string_raw(values[1]), STR("1h"));
    bool is_plain = json_string_eq(json_string_raw(values[0]), STR("ephemeral")) &&
                    (is_long || values[1].kind == JSON_NONE) && more.len == 0;
    *cache = is_long ? CACHE_1H : CACHE_5M;
    return is_plain ? 0 : anthropic_keep(r->arena, "cache_control", value.text, rest);
}

/* --- citations --- */

struct llm_citation anthropic_read_citation(struct json_value value)
{
    struct llm_citation c = {
        .start = -1, .end = -1, .document = -1, .raw = value.text, .maker = DIALECT_ANTHROPIC};
    struct json_cursor cursor;
    struct str key;
    struct json_value member;
    if (value.kind != JSON_OBJECT)
        return c;
    json_cursor_init(&cursor, value.text);
    while (json_iter_object(&cursor, &key, &member) == 1) {
        if (json_string_eq(key, STR("url")) || json_string_eq(key, STR("source")))
            c.url = text_of(member);
        else if (json_string_eq(key, STR("title")) || json_string_eq(key, STR("document_title")))
            c.title = text_of(member);
        else if (json_string_eq(key, STR("cited_text")))
            c.cited_text = text_of(member);
        else if (json_string_eq(key, STR("document_index")) ||
                 json_string_eq(key, STR("search_result_index")))
            (void)json_number_i64(member, &c.document);
        else if (json_string_eq(key, STR("encrypted_index")) && json_string_raw(member).len == 0)
            c.raw = STR_EMPTY; /* one that an encoder of ours has made up */
    }
    return c;
}
