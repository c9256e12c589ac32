#include "provider/sim_answer.h"

enum {
    SCHEMA_BYTES_MAX = 256 * 1024,
    INSTANCE_BYTES_MAX = 64 * 1024,
    DEPTH_MAX = 12,
    NODES_MAX = 1000,
    REFS_MAX = 64,
    MEMBERS_MAX = 200, /* of one object, and names in its list of required ones */
    ITEMS_MAX = 16,
};

struct writer {
    struct buf *out;
    struct str root;
    unsigned depth;
    unsigned nodes;
    unsigned refs;
};

static void write_instance(struct writer *w, struct str schema, struct str name);

/* Strings that look like what a parameter of that name is for. */
static const struct {
    const char *part; /* of the name, lower case */
    struct str value;
} by_name[] = {
    {"city", STR_INIT("\"Paris\"")},
    {"location", STR_INIT("\"Paris\"")},
    {"place", STR_INIT("\"Paris\"")},
    {"country", STR_INIT("\"France\"")},
    {"timezone", STR_INIT("\"UTC\"")},
    {"date", STR_INIT("\"2026-01-01\"")},
    {"time", STR_INIT("\"12:00:00\"")},
    {"email", STR_INIT("\"user@example.com\"")},
    {"url", STR_INIT("\"https://example.com\"")},
    {"uri", STR_INIT("\"https://example.com\"")},
    {"path", STR_INIT("\"/tmp/example.txt\"")},
    {"file", STR_INIT("\"example.txt\"")},
    {"language", STR_INIT("\"en\"")},
    {"currency", STR_INIT("\"EUR\"")},
    {"query", STR_INIT("\"an example\"")},
    {"name", STR_INIT("\"Ada\"")},
    {"id", STR_INIT("\"1\"")},
};

static const struct {
    struct str format;
    struct str value;
} by_format[] = {
    {STR_INIT("date"), STR_INIT("\"2026-01-01\"")},
    {STR_INIT("date-time"), STR_INIT("\"2026-01-01T12:00:00Z\"")},
    {STR_INIT("time"), STR_INIT("\"12:00:00Z\"")},
    {STR_INIT("duration"), STR_INIT("\"PT1H\"")},
    {STR_INIT("email"), STR_INIT("\"user@example.com\"")},
    {STR_INIT("hostname"), STR_INIT("\"example.com\"")},
    {STR_INIT("ipv4"), STR_INIT("\"192.0.2.1\"")},
    {STR_INIT("ipv6"), STR_INIT("\"2001:db8::1\"")},
    {STR_INIT("uri"), STR_INIT("\"https://example.com\"")},
    {STR_INIT("uuid"), STR_INIT("\"00000000-0000-4000-8000-000000000000\"")},
};

/* A member of the schema object; JSON_NONE when it is not there. */
static struct json_value member(struct str object, struct str name)
{
    struct json_cursor cursor;
    struct json_value value;
    struct str key;
    json_cursor_init(&cursor, object);
    while (json_iter_object(&cursor, &key, &value) == 1) {
        if (json_string_eq(key, name))
            return value;
    }
    return (struct json_value){.kind = JSON_NONE};
}

static struct json_value first_item(struct json_value array)
{
    struct json_cursor cursor;
    struct json_value value;
    if (array.kind == JSON_ARRAY) {
        json_cursor_init(&cursor, array.text);
        if (json_iter_array(&cursor, &value) == 1)
            return value;
    }
    return (struct json_value){.kind = JSON_NONE};
}

/* "#/$defs/Place" in the schema as a whole; JSON_NONE when it leads nowhere. */
static struct json_value resolve(struct writer *w, struct str reference)
{
    struct json_value value = {.kind = JSON_OBJECT, .text = w->root};
    struct str rest = reference, step;
    str_cut(&rest, '#', &step);
    if (step.len > 0 || ++w->refs > REFS_MAX)
        return (struct json_value){.kind = JSON_NONE};
    rest = str_skip(rest, str_starts(rest, STR("/")) ? 1 : 0);
    while (rest.len > 0 && value.kind == JSON_OBJECT) {
        str_cut(&rest, '/', &step);
        value = member(value.text, step);
    }
    return value;
}

/* The type, or the first one of several that is not null. */
static struct str type_of(struct str schema)
{
    struct json_value type = member(schema, STR("type")), item;
    if (type.kind == JSON_STRING)
        return json_string_raw(type);
    struct json_cursor cursor;
    json_cursor_init(&cursor, type.kind == JSON_ARRAY ? type.text : STR("[]"));
    while (json_iter_array(&cursor, &item) == 1) {
        if (!json_string_eq(json_string_raw(item), STR("null")))
            return json_string_raw(item);
    }
    if (member(schema, STR("properties")).kind == JSON_OBJECT)
        return STR("object");
    return member(schema, STR("items")).kind == JSON_OBJECT ? STR("array") : STR_EMPTY;
}

static void write_string(struct writer *w, struct str schema, struct str name)
{
    struct str value = STR("\"example\"");
    struct str format = json_string_raw(member(schema, STR("format")));
    bool is_known = false;
    for (size_t i = 0; i < ARRAY_LEN(by_format) && !is_known; i++) {
        is_known = str_eq(format, by_format[i].format);
        if (is_known)
            value = by_format[i].value;
    }
    for (size_t i = 0; i < ARRAY_LEN(by_name) && !is_known; i++) {
        is_known = str_ifind(name, str_c(by_name[i].part)) >= 0;
        if (is_known)
            value = by_name[i].value;
    }
    int64_t least = 0, most = INSTANCE_BYTES_MAX;
    json_number_i64(member(schema, STR("minLength")), &least);
    json_number_i64(member(schema, STR("maxLength")), &most);
    size_t len = MIN(value.len - 2, (size_t)MAX(most, 0));
    buf_add(w->out, value.ptr, len + 1);
    for (; (int64_t)len < MIN(least, most) && buf_ok(w->out); len++)
        buf_add_char(w->out, 'x');
    buf_add_char(w->out, '"');
}

static void write_number(struct writer *w, struct str schema, bool is_whole)
{
    int64_t value = 1, bound;
    double real = 1.5, real_bound;
    bool has_bound = true;
    if (json_number_i64(member(schema, STR("minimum")), &bound))
        value = bound;
    else if (json_number_i64(member(schema, STR("exclusiveMinimum")), &bound) && bound < INT64_MAX)
        value = bound + 1;
    else if (json_number_i64(member(schema, STR("maximum")), &bound))
        value = MIN(value, bound);
    else
        has_bound = false;
    if (is_whole || has_bound)
        buf_add_i64(w->out, value);
    else if (json_number_double(member(schema, STR("minimum")), &real_bound))
        buf_add_str(w->out, member(schema, STR("minimum")).text);
    else
        buf_printf(w->out, "%.1f", real);
}

static void write_array(struct writer *w, struct str schema, struct str name)
{
    struct json_value items = member(schema, STR("items"));
    int64_t count = 1;
    json_number_i64(member(schema, STR("minItems")), &count);
    count = items.kind == JSON_OBJECT ? MIN(MAX(count, 1), ITEMS_MAX) : 0;
    buf_add_char(w->out, '[');
    for (int64_t i = 0; i < count; i++) {
        if (i > 0)
            BUF_LIT(w->out, ", ");
        write_instance(w, items.text, name);
    }
    buf_add_char(w->out, ']');
}

/* Without a list of required members all are written. */
static bool is_required(struct json_value required, struct str key)
{
    struct json_cursor cursor;
    struct json_value item;
    unsigned count = 0;
    if (required.kind != JSON_ARRAY)
        return true;
    json_cursor_init(&cursor, required.text);
    while (count++ < MEMBERS_MAX && json_iter_array(&cursor, &item) == 1) {
        if (str_eq(json_string_raw(item), key))
            return true;
    }
    return false;
}

static void write_object(struct writer *w, struct str schema)
{
    struct json_value required = member(schema, STR("required"));
    struct json_value properties = member(schema, STR("properties")), value;
    struct json_cursor cursor;
    struct str key;
    unsigned count = 0, seen = 0;
    json_cursor_init(&cursor, properties.kind == JSON_OBJECT ? properties.text : STR("{}"));
    buf_add_char(w->out, '{');
    while (seen++ < MEMBERS_MAX && json_iter_object(&cursor, &key, &value) == 1) {
        if (!is_required(required, key))
            continue;
        buf_add_str(w->out, count++ > 0 ? STR(", \"") : STR("\""));
        buf_add_str(w->out, key); /* as it stands in the schema, escapes included */
        BUF_LIT(w->out, "\": ");
        write_instance(w, value.text, key);
    }
    buf_add_char(w->out, '}');
}

static void write_typed(struct writer *w, struct str schema, struct str name)
{
    struct str type = type_of(schema);
    if (str_eq(type, STR("object")))
        write_object(w, schema);
    else if (str_eq(type, STR("array")))
        write_array(w, schema, name);
    else if (str_eq(type, STR("string")))
        write_string(w, schema, name);
    else if (str_eq(type, STR("integer")) || str_eq(type, STR("number")))
        write_number(w, schema, type.ptr[0] == 'i');
    else if (str_eq(type, STR("boolean")))
        BUF_LIT(w->out, "true");
    else
        buf_add_str(w->out, w->depth > 1 ? STR("null") : STR("{}"));
}

/* The schema that stands for this one: behind a reference, or the first of several. */
static bool follow(struct writer *w, struct str *schema)
{
    static const char *const choices[] = {"anyOf", "oneOf", "allOf"};
    struct json_value reference = member(*schema, STR("$ref")), value;
    if (reference.kind == JSON_STRING) {
        value = resolve(w, json_string_raw(reference));
        *schema = value.kind == JSON_OBJECT ? value.text : STR("{}");
        return true;
    }
    for (size_t i = 0; i < ARRAY_LEN(choices); i++) {
        value = first_item(member(*schema, str_c(choices[i])));
        if (value.kind == JSON_OBJECT) {
            *schema = value.text;
            return true;
        }
    }
    return false;
}

/* Recurses into members and items, at most DEPTH_MAX deep. */
static void write_instance(struct writer *w, struct str schema, struct str name)
{
    if (++w->nodes > NODES_MAX || w->depth >= DEPTH_MAX || !buf_ok(w->out)) {
        BUF_LIT(w->out, "null");
        return;
    }
    w->depth++;
    for (unsigned hops = 0; hops < DEPTH_MAX && follow(w, &schema); hops++)
        ;
    struct json_value given = member(schema, STR("const"));
    if (given.kind == JSON_NONE)
        given = first_item(member(schema, STR("enum")));
    if (given.kind == JSON_NONE)
        given = member(schema, STR("default"));
    if (given.kind == JSON_NONE)
        write_typed(w, schema, name);
    else
        buf_add_str(w->out, given.text);
    w->depth--;
}

void sim_schema_instance(struct buf *out, struct str schema)
{
    struct buf instance = {.limit = INSTANCE_BYTES_MAX};
    struct writer w = {.out = &instance, .root = schema};
    if (schema.len <= SCHEMA_BYTES_MAX)
        write_instance(&w, schema, STR(""));
    if (buf_ok(&instance) && instance.len > 0)
        buf_add_str(out, buf_str(&instance));
    else
        BUF_LIT(out, "{}");
    buf_fini(&instance);
}
