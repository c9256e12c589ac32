#include "base/err.h"
#include "dialect/openai_chat/codec.h"

/* What the readers of a request share: errors that name their place, and members by name. */

int chat_no_memory(void)
{
    return err_set(ERR_NOMEM, FAULT_GATEWAY, "out of memory");
}

int chat_refuse(const struct chat_reading *r, const char *member, const char *words)
{
    const char *dot = member[0] != '\0' ? "." : "";
    if (r->list == NULL)
        return err_set(ERR_INVALID, FAULT_CLIENT, "'%s' %s", member, words);
    if (r->parts == NULL)
        return err_set(ERR_INVALID, FAULT_CLIENT, "'%s[%zu]%s%s' %s", r->list, r->index, dot,
                       member, words);
    return err_set(ERR_INVALID, FAULT_CLIENT, "'%s[%zu].%s[%zu]%s%s' %s", r->list, r->index,
                   r->parts, r->part, dot, member, words);
}

int chat_read_text(const struct chat_reading *r, const char *member, struct json_value value,
                   struct text *out)
{
    *out = text_of(value);
    if (value.kind != JSON_NONE && value.kind != JSON_NULL && value.kind != JSON_STRING)
        return chat_refuse(r, member, "must be a string");
    return 0;
}

static void keep(struct str key, struct json_value value, struct buf *rest)
{
    if (rest->len > 0)
        buf_add_char(rest, ',');
    buf_add_char(rest, '"');
    buf_add_str(rest, key);
    BUF_LIT(rest, "\":");
    buf_add_str(rest, value.text);
}

int chat_collect(const struct chat_reading *r, struct str object, const char *const *names,
                 struct json_value *values, struct str *rest)
{
    struct json_cursor cursor;
    struct json_value value;
    struct str key;
    /* Put together aside: that of a copy for each member would be the square of the body. */
    struct buf unknown = BUF_INIT;
    int more;
    for (unsigned i = 0; names[i] != NULL; i++)
        values[i] = (struct json_value){JSON_NONE, STR_EMPTY};
    json_cursor_init(&cursor, object);
    while ((more = json_iter_object(&cursor, &key, &value)) == 1) {
        unsigned i = 0;
        if (value.kind == JSON_NULL)
            continue;
        while (names[i] != NULL && !json_string_eq(key, str_c(names[i])))
            i++;
        if (names[i] != NULL)
            values[i] = value;
        else
            keep(key, value, &unknown);
    }
    struct str parts[] = {*rest, rest->len > 0 && unknown.len > 0 ? STR(",") : STR_EMPTY,
                          buf_str(&unknown)};
    bool is_kept = buf_ok(&unknown);
    if (is_kept && unknown.len > 0) {
        *rest = arena_concat(r->arena, parts, ARRAY_LEN(parts));
        is_kept = rest->ptr != NULL;
    }
    buf_fini(&unknown);
    if (!is_kept)
        return chat_no_memory();
    return more < 0 ? chat_refuse(r, "", "is not valid JSON, or is nested too deeply") : 0;
}
