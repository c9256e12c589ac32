#include "dialect/bedrock/member.h"

#include "base/err.h"

int bedrock_no_memory(void)
{
    return err_set(ERR_NOMEM, FAULT_GATEWAY, "out of memory");
}

int bedrock_wrong(const struct bedrock_reader *reader, const char *what)
{
    if (reader->path_len == 0)
        return err_set(ERR_INVALID, FAULT_CLIENT, "the request must be %s", what);
    return err_set(ERR_INVALID, FAULT_CLIENT, "'%.*s' must be %s", (int)reader->path_len,
                   reader->path, what);
}

static void put(struct bedrock_reader *reader, struct str s)
{
    struct str fits = str_head(s, BEDROCK_PATH_BYTES - reader->path_len);
    if (fits.len > 0)
        memcpy(reader->path + reader->path_len, fits.ptr, fits.len);
    reader->path_len += fits.len;
}

static void push_key(struct bedrock_reader *reader, struct str key)
{
    if (reader->path_len > 0)
        put(reader, STR("."));
    put(reader, key);
}

static void push_index(struct bedrock_reader *reader, size_t index)
{
    char digits[20];
    put(reader, STR("["));
    put(reader, str_n(digits, str_put_u64(digits, index)));
    put(reader, STR("]"));
}

static const char *const kind_words[] = {
    [JSON_OBJECT] = "an object", [JSON_ARRAY] = "an array",     [JSON_STRING] = "a string",
    [JSON_NUMBER] = "a number",  [JSON_TRUE] = "true or false",
};

static bool is_kind(struct json_value value, enum json_kind kind)
{
    if (kind == JSON_NONE)
        return true;
    return value.kind == kind || (kind == JSON_TRUE && value.kind == JSON_FALSE);
}

static int read_member(struct bedrock_reader *reader, struct json_value value,
                       const struct bedrock_member *member, void *into)
{
    if (!is_kind(value, member->kind))
        return bedrock_wrong(reader, kind_words[member->kind]);
    if (member->read != NULL)
        return member->read(reader, value, into);
    char *place = (char *)into + member->offset;
    if (member->kind == JSON_STRING)
        *(struct text *)(void *)place = text_of(value);
    else if (member->kind == JSON_TRUE)
        *(bool *)(void *)place = value.kind == JSON_TRUE;
    else
        *(struct str *)(void *)place = value.text;
    return 0;
}

int bedrock_read_object(struct bedrock_reader *reader, struct json_value value,
                        const struct bedrock_member *members, void *into)
{
    struct json_cursor cursor;
    struct str key;
    struct json_value item;
    size_t len = reader->path_len;
    int r;
    if (value.kind != JSON_OBJECT)
        return bedrock_wrong(reader, kind_words[JSON_OBJECT]);
    json_cursor_init(&cursor, value.text);
    while ((r = json_iter_object(&cursor, &key, &item)) == 1) {
        const struct bedrock_member *member = members;
        if (item.kind == JSON_NULL)
            continue;
        while (member->name != NULL && !json_string_eq(key, str_c(member->name)))
            member++;
        if (member->name == NULL) {
            r = bedrock_keep_extra(reader, key, item, false);
        } else {
            push_key(reader, str_c(member->name));
            r = read_member(reader, item, member, into);
            if (r == 0)
                reader->path_len = len;
        }
        if (r < 0)
            return r;
    }
    return r;
}

int bedrock_read_array(struct bedrock_reader *reader, struct json_value value, enum json_kind kind,
                       bedrock_member_fn *read, void *into)
{
    struct json_cursor cursor;
    struct json_value item;
    size_t len = reader->path_len, index = 0;
    int r;
    json_cursor_init(&cursor, value.text);
    while ((r = json_iter_array(&cursor, &item)) == 1) {
        push_index(reader, index++);
        r = is_kind(item, kind) ? read(reader, item, into)
                                : bedrock_wrong(reader, kind_words[kind]);
        if (r < 0)
            return r;
        reader->path_len = len;
    }
    return r;
}

int bedrock_keep_extra(struct bedrock_reader *reader, struct str key, struct json_value value,
                       bool is_taken)
{
    struct llm_request *request = reader->request;
    struct llm_extra *extra = ARENA_NEW(reader->arena, struct llm_extra);
    struct str path = str_n(reader->path, reader->path_len);
    struct str dot = path.len > 0 && key.len > 0 ? STR(".") : STR_EMPTY;
    struct str parts[] = {path, dot, key};
    if (extra == NULL)
        return bedrock_no_memory();
    extra->name = arena_concat(reader->arena, parts, ARRAY_LEN(parts));
    extra->raw = value.text;
    extra->is_taken = is_taken;
    if (extra->name.ptr == NULL)
        return bedrock_no_memory();
    if (request->last_extra != NULL)
        request->last_extra->next = extra;
    else
        request->extras = extra;
    request->last_extra = extra;
    return 0;
}

bool bedrock_first_member(struct json_value object, struct str *key, struct json_value *value)
{
    struct json_cursor cursor;
    if (object.kind != JSON_OBJECT)
        return false;
    json_cursor_init(&cursor, object.text);
    while (json_iter_object(&cursor, key, value) == 1) {
        if (value->kind != JSON_NULL)
            return true;
    }
    return false;
}
