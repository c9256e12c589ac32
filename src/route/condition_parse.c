#include "base/err.h"
#include "route/condition.h"
#include "route/condition_private.h"

enum operand_kind { OPERAND_ONE, OPERAND_LIST, OPERAND_BOOL, OPERAND_PATTERN, OPERAND_OPERATORS };

static const struct operator_row {
    struct str name;
    enum condition_op op;
    enum operand_kind operand;
} operators[] = {
    {STR_INIT("$eq"), CONDITION_EQ, OPERAND_ONE},
    {STR_INIT("$ne"), CONDITION_NE, OPERAND_ONE},
    {STR_INIT("$in"), CONDITION_IN, OPERAND_LIST},
    {STR_INIT("$nin"), CONDITION_NIN, OPERAND_LIST},
    {STR_INIT("$regex"), CONDITION_REGEX, OPERAND_PATTERN},
    {STR_INIT("$gt"), CONDITION_GT, OPERAND_ONE},
    {STR_INIT("$lt"), CONDITION_LT, OPERAND_ONE},
    {STR_INIT("$gte"), CONDITION_GTE, OPERAND_ONE},
    {STR_INIT("$lte"), CONDITION_LTE, OPERAND_ONE},
    {STR_INIT("$exists"), CONDITION_EXISTS, OPERAND_BOOL},
    {STR_INIT("$not"), CONDITION_NOT, OPERAND_OPERATORS},
};
#define OPERATORS "$eq $ne $in $nin $regex $gt $lt $gte $lte $exists $not"

static const struct field_row {
    struct str name; /* with a dot at its end: what follows is a name of the client's */
    enum condition_field field;
} fields[] = {
    {STR_INIT("model"), FIELD_MODEL},
    {STR_INIT("user"), FIELD_USER},
    {STR_INIT("session"), FIELD_SESSION},
    {STR_INIT("stream"), FIELD_STREAM},
    {STR_INIT("input_tokens"), FIELD_INPUT_TOKENS},
    {STR_INIT("key.name"), FIELD_KEY_NAME},
    {STR_INIT("key.team"), FIELD_KEY_TEAM},
    {STR_INIT("headers."), FIELD_HEADERS},
    {STR_INIT("metadata."), FIELD_METADATA},
};
#define FIELDS \
    "model, user, session, stream, input_tokens, key.name, key.team, headers.NAME, metadata.NAME"

struct parser {
    struct arena *arena;
    unsigned depth;
};

static struct condition *parse_object(struct parser *parser, struct str json);
static struct condition *parse_operators(struct parser *parser, const struct condition *field,
                                         struct str name, struct str json);

static void invalid(const char *what, struct str about, const char *more)
{
    err_set(ERR_INVALID, FAULT_CLIENT, "%s \"%.*s\"%s", what, (int)MIN(about.len, (size_t)60),
            about.ptr, more);
}

static struct condition *no_memory(void)
{
    err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for a condition");
    return NULL;
}

static struct condition *new_condition(struct parser *parser, enum condition_op op)
{
    struct condition *c = ARENA_NEW(parser->arena, struct condition);
    if (c == NULL)
        return no_memory();
    c->op = op;
    return c;
}

static bool read_key(struct parser *parser, struct str raw, struct str *key)
{
    if (json_unescape(parser->arena, raw, key) == 0)
        return true;
    invalid("a wrong escape in the name", raw, "");
    return false;
}

/* --- operands --- */

static bool read_operand(struct parser *parser, struct str op, struct json_value value,
                         struct condition_operand *operand)
{
    *operand = (struct condition_operand){.text = value.text};
    switch (value.kind) {
    case JSON_STRING:
        if (json_unescape(parser->arena, json_string_raw(value), &operand->text) == 0)
            return true;
        invalid("a wrong escape in", value.text, "");
        return false;
    case JSON_NUMBER:
        operand->is_number = true;
        return json_number_double(value, &operand->number);
    case JSON_TRUE:
    case JSON_FALSE:
        return true;
    case JSON_NULL:
        invalid("nothing equals null: in place of", op, " write {\"$exists\": false}");
        return false;
    case JSON_ARRAY:
        invalid("a list cannot stand behind", op, "; use $in or $nin");
        return false;
    default:
        invalid("expected text, a number, true or false behind", op, "");
        return false;
    }
}

static bool read_list(struct parser *parser, struct str op, struct json_value value,
                      struct condition *c)
{
    struct json_cursor cursor;
    struct json_value item;
    unsigned count = 0;
    if (value.kind == JSON_ARRAY) {
        json_cursor_init(&cursor, value.text);
        while (json_iter_array(&cursor, &item) == 1)
            count++;
    }
    if (count == 0) {
        invalid("expected a list with something in it behind", op, "");
        return false;
    }
    c->operands = arena_calloc(parser->arena, count * sizeof(*c->operands));
    if (c->operands == NULL)
        return no_memory() != NULL;
    json_cursor_init(&cursor, value.text);
    while (json_iter_array(&cursor, &item) == 1) {
        if (!read_operand(parser, op, item, &c->operands[c->operand_count]))
            return false;
        c->operand_count++;
    }
    return true;
}

static void free_regex(void *regex)
{
    regfree(regex);
}

static bool has_back_reference(struct str pattern)
{
    for (size_t i = 0; i + 1 < pattern.len; i++) {
        if (pattern.ptr[i] != '\\')
            continue;
        i++;
        if (pattern.ptr[i] >= '1' && pattern.ptr[i] <= '9')
            return true;
    }
    return false;
}

static bool read_pattern(struct parser *parser, struct str op, struct json_value value,
                         struct condition *c)
{
    struct str pattern;
    if (value.kind != JSON_STRING ||
        json_unescape(parser->arena, json_string_raw(value), &pattern) != 0) {
        invalid("expected a pattern as text behind", op, "");
        return false;
    }
    if (pattern.len == 0 || pattern.len > CONDITION_PATTERN_MAX ||
        memchr(pattern.ptr, '\0', pattern.len) != NULL) {
        invalid("a pattern has 1 to 512 bytes and no NUL:", pattern, "");
        return false;
    }
    if (has_back_reference(pattern)) {
        invalid("back references are not taken in the pattern", pattern, "");
        return false;
    }
    const char *text = arena_cstr(parser->arena, pattern);
    c->regex = ARENA_NEW(parser->arena, regex_t);
    if (text == NULL || c->regex == NULL)
        return no_memory() != NULL;
    int error = regcomp(c->regex, text, REG_EXTENDED | REG_NOSUB);
    if (error != 0) {
        char why[120] = ": ";
        regerror(error, c->regex, why + 2, sizeof(why) - 2);
        invalid("not a POSIX extended regular expression:", pattern, why);
        return false;
    }
    if (!arena_defer(parser->arena, free_regex, c->regex)) {
        regfree(c->regex);
        return no_memory() != NULL;
    }
    return true;
}

/* --- conditions --- */

/* `field` is a condition that says which field. */
static struct condition *parse_operator(struct parser *parser, const struct condition *field,
                                        struct str op, struct json_value value)
{
    const struct operator_row *row = NULL;
    for (size_t i = 0; i < ARRAY_LEN(operators); i++) {
        if (str_eq(operators[i].name, op))
            row = &operators[i];
    }
    if (row == NULL) {
        invalid("there is no operator", op, "; expected one of " OPERATORS);
        return NULL;
    }
    struct condition *c = new_condition(parser, row->op);
    if (c == NULL)
        return NULL;
    c->field = field->field;
    c->name = field->name;
    switch (row->operand) {
    case OPERAND_ONE:
        c->operands = ARENA_NEW(parser->arena, struct condition_operand);
        c->operand_count = 1;
        if (c->operands == NULL)
            return no_memory();
        return read_operand(parser, op, value, c->operands) ? c : NULL;
    case OPERAND_LIST:
        return read_list(parser, op, value, c) ? c : NULL;
    case OPERAND_PATTERN:
        return read_pattern(parser, op, value, c) ? c : NULL;
    case OPERAND_BOOL:
        c->wanted = value.kind == JSON_TRUE;
        if (c->wanted || value.kind == JSON_FALSE)
            return c;
        invalid("expected true or false behind", op, "");
        return NULL;
    case OPERAND_OPERATORS:
        if (value.kind == JSON_OBJECT)
            c->first = parse_operators(parser, field, op, value.text);
        else
            invalid("expected operators in an object behind", op, "");
        return c->first != NULL ? c : NULL;
    }
    return NULL;
}

static bool go_down(struct parser *parser)
{
    if (parser->depth++ < CONDITION_DEPTH_MAX)
        return true;
    err_set(ERR_INVALID, FAULT_CLIENT, "conditions are nested more than %d deep",
            CONDITION_DEPTH_MAX);
    return false;
}

/* {"$gt": 1, "$lt": 5}: all must hold. */
static struct condition *parse_operators(struct parser *parser, const struct condition *field,
                                         struct str name, struct str json)
{
    struct condition *all = go_down(parser) ? new_condition(parser, CONDITION_AND) : NULL;
    if (all == NULL)
        return NULL;
    struct condition **end = &all->first;
    struct json_cursor cursor;
    struct str raw, op;
    struct json_value value;
    json_cursor_init(&cursor, json);
    while (json_iter_object(&cursor, &raw, &value) == 1) {
        if (!read_key(parser, raw, &op))
            return NULL;
        *end = parse_operator(parser, field, op, value);
        if (*end == NULL)
            return NULL;
        end = &(*end)->next;
    }
    parser->depth--;
    if (all->first == NULL) {
        invalid("no operator behind", name, "; expected one of " OPERATORS);
        return NULL;
    }
    return all;
}

static bool read_field_name(struct str name, struct condition *field)
{
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        struct str row = fields[i].name;
        bool is_open = row.ptr[row.len - 1] == '.';
        if (is_open ? str_starts(name, row) && name.len > row.len : str_eq(name, row)) {
            field->field = fields[i].field;
            field->name = str_skip(name, row.len);
            return true;
        }
    }
    invalid("there is no field", name, "; expected one of " FIELDS);
    return false;
}

static struct condition *parse_field(struct parser *parser, struct str name,
                                     struct json_value value)
{
    struct condition field = {.op = CONDITION_EQ};
    if (!read_field_name(name, &field))
        return NULL;
    if (value.kind == JSON_OBJECT)
        return parse_operators(parser, &field, name, value.text);
    struct condition *c = new_condition(parser, CONDITION_EQ);
    if (c == NULL)
        return NULL;
    c->field = field.field;
    c->name = field.name;
    c->operand_count = 1;
    c->operands = ARENA_NEW(parser->arena, struct condition_operand);
    if (c->operands == NULL)
        return no_memory();
    return read_operand(parser, name, value, c->operands) ? c : NULL;
}

/* "$and": [...] and "$or": [...]. */
static struct condition *parse_group(struct parser *parser, enum condition_op op, struct str name,
                                     struct json_value value)
{
    struct condition *group = new_condition(parser, op);
    if (group == NULL)
        return NULL;
    struct condition **end = &group->first;
    struct json_cursor cursor;
    struct json_value item;
    if (value.kind == JSON_ARRAY) {
        json_cursor_init(&cursor, value.text);
        while (json_iter_array(&cursor, &item) == 1) {
            *end = parse_object(parser, item.text);
            if (*end == NULL)
                return NULL;
            end = &(*end)->next;
        }
    }
    if (group->first == NULL) {
        invalid("expected a list of conditions behind", name, "");
        return NULL;
    }
    return group;
}

static struct condition *parse_member(struct parser *parser, struct str name,
                                      struct json_value value)
{
    if (str_eq(name, STR("$and")))
        return parse_group(parser, CONDITION_AND, name, value);
    if (str_eq(name, STR("$or")))
        return parse_group(parser, CONDITION_OR, name, value);
    if (str_eq(name, STR("$not"))) {
        struct condition *c = new_condition(parser, CONDITION_NOT);
        if (c == NULL)
            return NULL;
        c->first = parse_object(parser, value.text);
        return c->first != NULL ? c : NULL;
    }
    if (name.len > 0 && name.ptr[0] == '$') {
        invalid("there is no", name, "; expected a field, $and, $or or $not");
        return NULL;
    }
    return parse_field(parser, name, value);
}

/* {"model": "x", "$or": [...]}: all must hold. */
static struct condition *parse_object(struct parser *parser, struct str json)
{
    struct condition *all = go_down(parser) ? new_condition(parser, CONDITION_AND) : NULL;
    if (all == NULL)
        return NULL;
    struct condition **end = &all->first;
    struct json_cursor cursor;
    struct str raw, name;
    struct json_value value;
    json_cursor_init(&cursor, json);
    int r;
    while ((r = json_iter_object(&cursor, &raw, &value)) == 1) {
        if (!read_key(parser, raw, &name))
            return NULL;
        *end = parse_member(parser, name, value);
        if (*end == NULL)
            return NULL;
        end = &(*end)->next;
    }
    parser->depth--;
    if (r < 0 || all->first == NULL) {
        invalid(r < 0 ? "expected an object of fields instead of" : "a condition says nothing:",
                str_trim(json), "");
        return NULL;
    }
    return all;
}

const struct condition *condition_parse(struct arena *arena, struct str json)
{
    struct parser parser = {.arena = arena};
    struct str copy = arena_dup(arena, json);
    if (copy.ptr == NULL)
        return no_memory();
    return parse_object(&parser, copy);
}
