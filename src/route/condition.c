#include "route/condition.h"

#include "route/condition_private.h"

/* What a field holds for this request. Text may still be written with the escapes of JSON. */
struct field_value {
    bool is_there;
    bool is_compound; /* an object or an array: it exists, and equals nothing */
    struct str text;
    bool is_escaped;
    bool has_number;
    double number;
};

static struct field_value from_text(struct str text)
{
    return (struct field_value){.is_there = text.len > 0, .text = text};
}

static struct field_value from_json(struct json_value value)
{
    switch (value.kind) {
    case JSON_NONE:
    case JSON_NULL:
        return (struct field_value){.is_there = false};
    case JSON_OBJECT:
    case JSON_ARRAY:
        return (struct field_value){.is_there = true, .is_compound = true};
    case JSON_STRING: {
        struct field_value field = from_text(json_string_raw(value));
        field.is_escaped = !json_string_is_plain(field.text);
        return field;
    }
    default:
        return from_text(value.text);
    }
}

static struct json_value find_member(struct str object, struct str name)
{
    struct json_cursor cursor;
    json_cursor_init(&cursor, object);
    struct str key;
    struct json_value value;
    while (json_iter_object(&cursor, &key, &value) == 1) {
        if (json_string_eq(key, name))
            return value;
    }
    return (struct json_value){.kind = JSON_NONE};
}

/* A member by its whole name, dots and all; else the name's dots lead into objects. */
static struct json_value find_metadata(struct str object, struct str name)
{
    while (object.len > 0) {
        struct json_value value = find_member(object, name);
        struct str head;
        if (value.kind != JSON_NONE || !str_cut(&name, '.', &head))
            return value;
        value = find_member(object, head);
        if (value.kind != JSON_OBJECT)
            break;
        object = value.text;
    }
    return (struct json_value){.kind = JSON_NONE};
}

static struct field_value read_field(const struct condition *c, const struct route_facts *facts)
{
    switch (c->field) {
    case FIELD_MODEL:
        return from_text(facts->model);
    case FIELD_USER:
        return from_text(facts->user);
    case FIELD_SESSION:
        return from_text(facts->session);
    case FIELD_STREAM:
        return from_text(facts->is_stream ? STR("true") : STR("false"));
    case FIELD_INPUT_TOKENS:
        return (struct field_value){.is_there = facts->input_tokens >= 0,
                                    .has_number = true,
                                    .number = (double)facts->input_tokens};
    case FIELD_KEY_NAME:
        return from_text(facts->key_name);
    case FIELD_KEY_TEAM:
        return from_text(facts->key_team);
    case FIELD_HEADERS:
        return from_text(facts->headers == NULL ? STR_EMPTY
                                                : http_headers_get(facts->headers, c->name));
    case FIELD_METADATA:
        return from_json(find_metadata(facts->metadata, c->name));
    }
    return (struct field_value){.is_there = false};
}

/* The text without escapes; false where there is none that could be compared. */
static bool plain_text(struct field_value *value, struct arena *arena)
{
    if (value->is_compound || value->has_number)
        return false;
    if (!value->is_escaped)
        return true;
    if (json_unescape(arena, value->text, &value->text) != 0)
        return false;
    value->is_escaped = false;
    return true;
}

static bool number_of(const struct field_value *value, double *number)
{
    if (value->has_number) {
        *number = value->number;
        return true;
    }
    return !value->is_compound && str_to_double(value->text, number);
}

static bool equals(const struct field_value *value, const struct condition_operand *operand)
{
    if (value->is_compound)
        return false;
    if (operand->is_number || value->has_number) {
        double wanted = operand->number, number;
        if (!operand->is_number && !str_to_double(operand->text, &wanted))
            return false;
        return number_of(value, &number) && number == wanted;
    }
    if (value->is_escaped)
        return json_string_eq(value->text, operand->text);
    return str_eq(value->text, operand->text);
}

static bool equals_any(const struct condition *c, const struct field_value *value)
{
    for (unsigned i = 0; i < c->operand_count; i++) {
        if (equals(value, &c->operands[i]))
            return true;
    }
    return false;
}

static bool is_ordered(enum condition_op op, int sign)
{
    switch (op) {
    case CONDITION_GT:
        return sign > 0;
    case CONDITION_GTE:
        return sign >= 0;
    case CONDITION_LT:
        return sign < 0;
    default:
        return sign <= 0;
    }
}

static bool compares(const struct condition *c, struct field_value *value, struct arena *arena)
{
    const struct condition_operand *operand = &c->operands[0];
    if (operand->is_number || value->has_number) {
        double wanted = operand->number, number;
        if (!operand->is_number && !str_to_double(operand->text, &wanted))
            return false;
        return number_of(value, &number) &&
               is_ordered(c->op, number > wanted ? 1 : (number < wanted ? -1 : 0));
    }
    return plain_text(value, arena) && is_ordered(c->op, str_cmp(value->text, operand->text));
}

static bool matches(const struct condition *c, struct field_value *value, struct arena *arena)
{
    if (!plain_text(value, arena) || value->text.len > CONDITION_SUBJECT_MAX)
        return false;
    const char *subject = arena_cstr(arena, value->text);
    /* Its length is given, so that what stands behind a NUL in it is not hidden from ^ and $. */
    regmatch_t span = {.rm_so = 0, .rm_eo = (regoff_t)value->text.len};
    return subject != NULL && regexec(c->regex, subject, 1, &span, REG_STARTEND) == 0;
}

static bool field_holds(const struct condition *c, const struct route_facts *facts,
                        struct arena *arena)
{
    struct field_value value = read_field(c, facts);
    if (c->op == CONDITION_EXISTS)
        return value.is_there == c->wanted;
    if (c->op == CONDITION_NE || c->op == CONDITION_NIN)
        return !value.is_there || !equals_any(c, &value);
    if (!value.is_there)
        return false;
    if (c->op == CONDITION_EQ || c->op == CONDITION_IN)
        return equals_any(c, &value);
    if (c->op == CONDITION_REGEX)
        return matches(c, &value, arena);
    return compares(c, &value, arena);
}

/* Recursion is bounded by CONDITION_DEPTH_MAX. */
bool condition_holds(const struct condition *condition, const struct route_facts *facts,
                     struct arena *arena)
{
    if (condition == NULL)
        return true;
    const struct condition *below = condition->first;
    switch (condition->op) {
    case CONDITION_AND:
        while (below != NULL && condition_holds(below, facts, arena))
            below = below->next;
        return below == NULL;
    case CONDITION_OR:
        while (below != NULL && !condition_holds(below, facts, arena))
            below = below->next;
        return below != NULL;
    case CONDITION_NOT:
        return !condition_holds(below, facts, arena);
    default:
        return field_holds(condition, facts, arena);
    }
}
