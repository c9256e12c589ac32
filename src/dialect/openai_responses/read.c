#include "base/err.h"
#include "dialect/openai_responses/codec.h"

/* What the readers of a request share: errors that name their place, and members by name. */

int responses_no_memory(void)
{
    return err_set(ERR_NOMEM, FAULT_GATEWAY, "out of memory");
}

int responses_refuse(const struct responses_reading *r, const char *member, const char *words)
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

int responses_read_text(const struct responses_reading *r, const char *member,
                        struct json_value value, struct text *out)
{
    *out = text_of(value);
    if (value.kind != JSON_NONE && value.kind != JSON_NULL && value.kind != JSON_STRING)
        return responses_refuse(r, member, "must be a string");
    return 0;
}

int responses_keep(const struct responses_reading *r, struct str key, struct json_value value,
                   struct str *rest)
{
    struct str parts[] = {*rest, rest->len > 0 ? STR(",\"") : STR("\""), key, STR("\":"),
                          value.text};
    *rest = arena_concat(r->arena, parts, ARRAY_LEN(parts));
    return rest->ptr == NULL ? responses_no_memory() : 0;
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

int responses_collect(const struct responses_reading *r, struct str object,
                      const char *const *names, struct json_value *values, struct str *rest)
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
        return responses_no_memory();
    return more < 0 ? responses_refuse(r, "", "is not valid JSON, or is nested too deeply") : 0;
}

struct text responses_signature_join(struct arena *arena, struct text encrypted, struct text id)
{
    struct str parts[] = {text_or(arena, encrypted, STR_EMPTY), STR("."),
                          text_or(arena, id, STR_EMPTY)};
    if (parts[0].len == 0 && parts[2].len == 0)
        return TEXT_NONE;
    return text_plain(arena_concat(arena, parts, ARRAY_LEN(parts)));
}

void responses_signature_split(struct text data, struct text *encrypted, struct text *id)
{
    ptrdiff_t dot = str_rindex(data.s, '.');
    *encrypted = data;
    *id = TEXT_NONE;
    if (dot >= 0) {
        encrypted->s = str_head(data.s, (size_t)dot);
        *id = (struct text){str_skip(data.s, (size_t)dot + 1), data.is_escaped};
    }
}

static const struct str redacted = STR_INIT("redacted:");

struct text responses_redact(struct arena *arena, struct text data)
{
    struct str parts[] = {redacted, data.s};
    return (struct text){arena_concat(arena, parts, ARRAY_LEN(parts)), data.is_escaped};
}

bool responses_unredact(struct text *data)
{
    if (!str_starts(data->s, redacted))
        return false;
    data->s = str_skip(data->s, redacted.len);
    return true;
}

struct llm_citation responses_read_annotation(struct str object)
{
    struct llm_citation citation = {
        .start = -1, .end = -1, .document = -1, .raw = object, .maker = DIALECT_OPENAI_RESPONSES};
    struct json_cursor cursor;
    struct json_value value;
    struct str key;
    json_cursor_init(&cursor, object);
    while (json_iter_object(&cursor, &key, &value) == 1) {
        if (str_eq(key, STR("url")))
            citation.url = text_of(value);
        else if (str_eq(key, STR("title")) || str_eq(key, STR("filename")))
            citation.title = text_of(value);
        else if (str_eq(key, STR("quote")))
            citation.cited_text = text_of(value);
        else if (str_eq(key, STR("start_index")))
            (void)json_number_i64(value, &citation.start);
        else if (str_eq(key, STR("end_index")))
            (void)json_number_i64(value, &citation.end);
    }
    return citation;
}
