#include "dialect/gemini/schema.h"

#include "dialect/gemini/member.h"

/* Deeper ones are copied as they are (to JSON Schema), or taken for any value (from it). */
enum { DEPTH_MAX = 64 };

/* "name": with a comma before it where it is not the first of its object. */
static void add_key(struct buf *out, size_t start, const char *name)
{
    if (out->len > start)
        buf_add_char(out, ',');
    buf_printf(out, "\"%s\":", name);
}

static void add_raw_key(struct buf *out, size_t start, struct str key)
{
    if (out->len > start)
        buf_add_char(out, ',');
    buf_add_char(out, '"');
    buf_add_str(out, key);
    BUF_LIT(out, "\":");
}

static void add_cased(struct buf *out, struct str word, char from, char distance)
{
    buf_add_char(out, '"');
    for (size_t i = 0; i < word.len; i++) {
        char c = word.ptr[i];
        buf_add_char(out, c >= from && c < from + 26 ? (char)(c + distance) : c);
    }
    buf_add_char(out, '"');
}

static void add_lower(struct buf *out, struct str word)
{
    add_cased(out, word, 'A', 'a' - 'A');
}

static void add_upper(struct buf *out, struct str word)
{
    add_cased(out, word, 'a', 'A' - 'a');
}

/* --- to JSON Schema --- */

enum form {
    FORM_RAW,    /* as it stands */
    FORM_COUNT,  /* a number, perhaps in a string */
    FORM_SCHEMA, /* an object of its own */
    FORM_LIST,   /* of schemas */
    FORM_MAP,    /* of schemas by name */
    FORM_TYPE,
    FORM_ENUM,
    FORM_FORMAT,
    FORM_EXAMPLE,
    FORM_ANY_OF,
    FORM_LEFT_OUT, /* JSON Schema has no word for it */
};

static const struct {
    const char *name;
    enum form form;
} members[] = {
    {"type", FORM_TYPE},
    {"enum", FORM_ENUM},
    {"format", FORM_FORMAT},
    {"description", FORM_RAW},
    {"title", FORM_RAW},
    {"default", FORM_RAW},
    {"pattern", FORM_RAW},
    {"required", FORM_RAW},
    {"properties", FORM_MAP},
    {"items", FORM_SCHEMA},
    {"prefixItems", FORM_LIST},
    {"anyOf", FORM_ANY_OF},
    {"oneOf", FORM_LIST},
    {"allOf", FORM_LIST},
    {"additionalProperties", FORM_SCHEMA},
    {"$defs", FORM_MAP},
    {"defs", FORM_MAP},
    {"minItems", FORM_COUNT},
    {"maxItems", FORM_COUNT},
    {"minLength", FORM_COUNT},
    {"maxLength", FORM_COUNT},
    {"minProperties", FORM_COUNT},
    {"maxProperties", FORM_COUNT},
    {"minimum", FORM_COUNT},
    {"maximum", FORM_COUNT},
    {"example", FORM_EXAMPLE},
    {"nullable", FORM_LEFT_OUT},
    {"propertyOrdering", FORM_LEFT_OUT},
};

static void to_json(struct buf *out, struct json_value schema, unsigned depth);

static void list_to_json(struct buf *out, struct json_value value, bool is_nullable, unsigned depth)
{
    struct gemini_list list;
    struct json_value item;
    size_t start = out->len + 1;
    gemini_list_init(&list, value);
    buf_add_char(out, '[');
    while (gemini_list_next(&list, &item)) {
        if (out->len > start)
            buf_add_char(out, ',');
        to_json(out, item, depth);
    }
    if (is_nullable)
        buf_printf(out, "%s{\"type\":\"null\"}", out->len > start ? "," : "");
    buf_add_char(out, ']');
}

static void map_to_json(struct buf *out, struct json_value value, unsigned depth)
{
    struct json_cursor cursor;
    struct json_value item;
    struct str key;
    size_t start = out->len + 1;
    if (value.kind != JSON_OBJECT) {
        buf_add_str(out, value.text);
        return;
    }
    json_cursor_init(&cursor, value.text);
    buf_add_char(out, '{');
    while (json_iter_object(&cursor, &key, &item) == 1) {
        add_raw_key(out, start, key);
        to_json(out, item, depth);
    }
    buf_add_char(out, '}');
}

static void type_to_json(struct buf *out, size_t start, struct json_value value, bool is_nullable)
{
    struct str word = json_string_raw(value);
    if (value.kind == JSON_STRING && str_ieq(word, STR("TYPE_UNSPECIFIED")))
        return;
    add_key(out, start, "type");
    if (value.kind != JSON_STRING) {
        buf_add_str(out, value.text);
        return;
    }
    is_nullable = is_nullable && !str_ieq(word, STR("null"));
    if (is_nullable)
        buf_add_char(out, '[');
    add_lower(out, word);
    if (is_nullable)
        BUF_LIT(out, ",\"null\"]");
}

static void enum_to_json(struct buf *out, struct json_value value, bool is_nullable)
{
    struct gemini_list list;
    struct json_value item;
    size_t start = out->len + 1;
    gemini_list_init(&list, value);
    buf_add_char(out, '[');
    while (gemini_list_next(&list, &item)) {
        if (out->len > start)
            buf_add_char(out, ',');
        buf_add_str(out, item.text);
        is_nullable = is_nullable && item.kind != JSON_NULL;
    }
    if (is_nullable)
        buf_printf(out, "%snull", out->len > start ? "," : "");
    buf_add_char(out, ']');
}

static void member_to_json(struct buf *out, size_t start, size_t i, struct json_value value,
                           bool is_nullable, unsigned depth)
{
    const char *name = members[i].name;
    enum form form = members[i].form;
    struct str number = gemini_number(value);
    bool is_word = form == FORM_FORMAT && str_eq(json_string_raw(value), STR("enum"));
    if (form == FORM_TYPE) {
        type_to_json(out, start, value, is_nullable);
        return;
    }
    if (form == FORM_LEFT_OUT || is_word)
        return;
    if (form == FORM_EXAMPLE) {
        add_key(out, start, "examples");
        buf_add_char(out, '[');
        buf_add_str(out, value.text);
        buf_add_char(out, ']');
        return;
    }
    add_key(out, start, str_eq(str_c(name), STR("defs")) ? "$defs" : name);
    if (form == FORM_SCHEMA)
        to_json(out, value, depth + 1);
    else if (form == FORM_LIST || form == FORM_ANY_OF)
        list_to_json(out, value, is_nullable && form == FORM_ANY_OF, depth + 1);
    else if (form == FORM_MAP)
        map_to_json(out, value, depth + 1);
    else if (form == FORM_ENUM)
        enum_to_json(out, value, is_nullable);
    else
        buf_add_str(out, form == FORM_COUNT && number.len > 0 ? number : value.text);
}

static void to_json(struct buf *out, struct json_value schema, unsigned depth)
{
    struct json_cursor cursor;
    struct json_value value;
    struct str key;
    if (schema.kind != JSON_OBJECT || depth > DEPTH_MAX) {
        buf_add_str(out, schema.text);
        return;
    }
    bool is_nullable = gemini_find(schema.text, "nullable", &value) && value.kind == JSON_TRUE;
    buf_add_char(out, '{');
    size_t start = out->len;
    json_cursor_init(&cursor, schema.text);
    while (json_iter_object(&cursor, &key, &value) == 1) {
        size_t i = 0;
        while (i < ARRAY_LEN(members) && !gemini_is(key, members[i].name))
            i++;
        if (i < ARRAY_LEN(members) && value.kind == JSON_NULL && members[i].form != FORM_RAW)
            continue;
        if (i < ARRAY_LEN(members)) {
            member_to_json(out, start, i, value, is_nullable, depth);
        } else {
            add_raw_key(out, start, key);
            buf_add_str(out, value.text);
        }
    }
    buf_add_char(out, '}');
}

void gemini_schema_to_json(struct buf *out, struct str schema)
{
    to_json(out, (struct json_value){JSON_OBJECT, schema}, 0);
}

/* --- from JSON Schema --- */

struct subset {
    struct buf *out;
    bool has_lost;
    unsigned depth;
};

static void from_json(struct subset *s, struct json_value schema);

static bool is_word(struct json_value value, struct str word)
{
    return value.kind == JSON_STRING && json_string_eq(json_string_raw(value), word);
}

/* {"type":"null"} */
static bool is_null_schema(struct json_value schema)
{
    struct json_value type;
    return schema.kind == JSON_OBJECT && json_find(schema.text, "type", &type) &&
           is_word(type, STR("null"));
}

/* Types that are not "null", and whether that is among them. */
static unsigned count_types(struct json_value type, struct str *first, bool *has_null)
{
    struct gemini_list list;
    struct json_value item;
    unsigned count = 0;
    gemini_list_init(&list, type);
    while (gemini_list_next(&list, &item)) {
        if (is_word(item, STR("null"))) {
            *has_null = true;
        } else if (item.kind == JSON_STRING) {
            if (count++ == 0)
                *first = json_string_raw(item);
        }
    }
    return count;
}

static void write_types(struct subset *s, size_t start, struct json_value type, bool has_any_of,
                        bool *is_nullable)
{
    struct str first = STR_EMPTY;
    bool has_null = false;
    unsigned count = count_types(type, &first, &has_null);
    struct gemini_list list;
    struct json_value item;
    if (count <= 1) {
        add_key(s->out, start, "type");
        add_upper(s->out, count == 1 ? first : STR("null"));
        *is_nullable = *is_nullable || (count == 1 && has_null);
        return;
    }
    *is_nullable = *is_nullable || has_null;
    if (has_any_of) {
        s->has_lost = true;
        return;
    }
    add_key(s->out, start, "anyOf");
    buf_add_char(s->out, '[');
    size_t begin = s->out->len;
    gemini_list_init(&list, type);
    while (gemini_list_next(&list, &item)) {
        if (item.kind != JSON_STRING || is_word(item, STR("null")))
            continue;
        buf_printf(s->out, "%s{\"type\":", s->out->len > begin ? "," : "");
        add_upper(s->out, json_string_raw(item));
        if (is_word(item, STR("array")))
            BUF_LIT(s->out, ",\"items\":{}");
        buf_add_char(s->out, '}');
    }
    buf_add_char(s->out, ']');
}

static void write_any_of(struct subset *s, size_t start, struct json_value value, bool *is_nullable)
{
    struct json_cursor cursor;
    struct json_value item;
    size_t before = s->out->len;
    add_key(s->out, start, "anyOf");
    buf_add_char(s->out, '[');
    size_t begin = s->out->len;
    json_cursor_init(&cursor, value.text);
    while (value.kind == JSON_ARRAY && json_iter_array(&cursor, &item) == 1) {
        if (is_null_schema(item)) {
            *is_nullable = true;
            continue;
        }
        if (s->out->len > begin)
            buf_add_char(s->out, ',');
        from_json(s, item);
    }
    if (s->out->len == begin)
        s->out->len = buf_ok(s->out) ? before : s->out->len;
    else
        buf_add_char(s->out, ']');
}

/* Its values are strings. */
static void write_enum(struct subset *s, size_t start, struct json_value value, bool *is_nullable)
{
    struct gemini_list list;
    struct json_value item;
    size_t before = s->out->len;
    add_key(s->out, start, "enum");
    buf_add_char(s->out, '[');
    size_t begin = s->out->len;
    bool is_all = true;
    gemini_list_init(&list, value);
    while (gemini_list_next(&list, &item)) {
        if (item.kind == JSON_NULL) {
            *is_nullable = true;
            continue;
        }
        is_all = is_all && item.kind == JSON_STRING;
        if (s->out->len > begin)
            buf_add_char(s->out, ',');
        buf_add_str(s->out, item.text);
    }
    bool is_kept = is_all && s->out->len > begin;
    buf_add_char(s->out, ']');
    if (!is_kept && buf_ok(s->out))
        s->out->len = before;
    s->has_lost = s->has_lost || !is_all;
}

static void write_map(struct subset *s, size_t start, struct json_value value)
{
    struct json_cursor cursor;
    struct json_value item;
    struct str key;
    if (value.kind != JSON_OBJECT)
        return;
    add_key(s->out, start, "properties");
    buf_add_char(s->out, '{');
    size_t begin = s->out->len;
    json_cursor_init(&cursor, value.text);
    while (json_iter_object(&cursor, &key, &item) == 1) {
        add_raw_key(s->out, begin, key);
        from_json(s, item);
    }
    buf_add_char(s->out, '}');
}

static bool takes_format(struct json_value value)
{
    static const char *const known[] = {"date-time", "enum", "float", "double", "int32", "int64"};
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (is_word(value, str_c(known[i])))
            return true;
    }
    return false;
}

/* Those that need no look at their value. False when it is none of them. */
static bool write_plain(struct subset *s, size_t start, struct str key, struct json_value value)
{
    static const char *const kept[] = {
        "description",   "title",    "default",  "pattern",          "required",  "minimum",
        "maximum",       "minItems", "maxItems", "minLength",        "maxLength", "minProperties",
        "maxProperties", "example",  "nullable", "propertyOrdering", NULL};
    /* Words about the schema itself; definitions are lost where they are referred to. */
    static const char *const silent[] = {"$schema", "$id",      "$comment",    "$anchor",
                                         "$defs",   "examples", "definitions", "deprecated",
                                         "strict",  "readOnly", "writeOnly",   NULL};
    for (size_t i = 0; silent[i] != NULL; i++) {
        if (json_string_eq(key, str_c(silent[i])))
            return true;
    }
    for (size_t i = 0; kept[i] != NULL; i++) {
        if (!json_string_eq(key, str_c(kept[i])))
            continue;
        add_raw_key(s->out, start, key);
        buf_add_str(s->out, value.text);
        return true;
    }
    return false;
}

/* What was seen in an object that decides what else is written. */
struct seen {
    bool is_nullable, has_nullable, has_any_of, has_items, is_array;
};

static void write_member(struct subset *s, size_t start, struct str key, struct json_value value,
                         struct seen *seen)
{
    if (json_string_eq(key, STR("type"))) {
        seen->is_array = is_word(value, STR("array"));
        write_types(s, start, value, seen->has_any_of, &seen->is_nullable);
    } else if (json_string_eq(key, STR("properties"))) {
        write_map(s, start, value);
    } else if (json_string_eq(key, STR("items")) && value.kind != JSON_ARRAY) {
        seen->has_items = true;
        add_key(s->out, start, "items");
        from_json(s, value);
    } else if (json_string_eq(key, STR("anyOf")) || json_string_eq(key, STR("oneOf"))) {
        write_any_of(s, start, value, &seen->is_nullable);
    } else if (json_string_eq(key, STR("enum")) || json_string_eq(key, STR("const"))) {
        write_enum(s, start, value, &seen->is_nullable);
    } else if (json_string_eq(key, STR("format")) && takes_format(value)) {
        add_key(s->out, start, "format");
        buf_add_str(s->out, value.text);
    } else if (json_string_eq(key, STR("additionalProperties"))) {
        /* Nothing but what is named is what the models give anyway. */
        s->has_lost = s->has_lost || value.kind == JSON_OBJECT;
    } else if (!write_plain(s, start, key, value)) {
        s->has_lost = true;
    }
}

static void from_json(struct subset *s, struct json_value schema)
{
    struct json_cursor cursor;
    struct json_value value;
    struct str key;
    struct seen seen = {0};
    if (schema.kind != JSON_OBJECT || s->depth >= DEPTH_MAX) {
        s->has_lost = s->has_lost || schema.kind != JSON_TRUE;
        BUF_LIT(s->out, "{}");
        return;
    }
    s->depth++;
    seen.has_any_of =
        json_find(schema.text, "anyOf", &value) || json_find(schema.text, "oneOf", &value);
    seen.has_nullable = json_find(schema.text, "nullable", &value);
    buf_add_char(s->out, '{');
    size_t start = s->out->len;
    json_cursor_init(&cursor, schema.text);
    while (json_iter_object(&cursor, &key, &value) == 1)
        write_member(s, start, key, value, &seen);
    if (seen.is_array && !seen.has_items) {
        /* An array without it is refused. */
        add_key(s->out, start, "items");
        BUF_LIT(s->out, "{}");
    }
    if (seen.is_nullable && !seen.has_nullable) {
        add_key(s->out, start, "nullable");
        BUF_LIT(s->out, "true");
    }
    buf_add_char(s->out, '}');
    s->depth--;
}

bool gemini_schema_from_json(struct buf *out, struct str schema)
{
    struct subset s = {.out = out};
    from_json(&s, (struct json_value){JSON_OBJECT, schema});
    return s.has_lost;
}
