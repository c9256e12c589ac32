#include "dialect/bedrock/request.h"

/*
 * additionalModelRequestFields is the model's own: what a member means depends on who made the
 * model, and a member of an unexpected kind is no mistake that could be told here. Each is kept as
 * it stands, as an extra; where its meaning is known it counts as taken.
 */

typedef bool field_fn(struct bedrock_reader *reader, struct json_value value);

/* Members of an object that are none of `known` (ends with NULL) are extras of their own. */
static bool keep_others(struct bedrock_reader *reader, struct json_value object, const char *name,
                        const char *const *known)
{
    struct json_cursor cursor;
    struct str key;
    struct json_value value;
    json_cursor_init(&cursor, object.text);
    while (json_iter_object(&cursor, &key, &value) == 1) {
        const char *const *k = known;
        while (*k != NULL && !json_string_eq(key, str_c(*k)))
            k++;
        struct str parts[] = {str_c(name), STR("."), key};
        if (*k == NULL && value.kind != JSON_NULL) {
            struct str path = arena_concat(reader->arena, parts, ARRAY_LEN(parts));
            if (path.ptr == NULL || bedrock_keep_extra(reader, path, value, false) < 0)
                return false;
        }
    }
    return true;
}

/* Claude: {"type": "enabled", "budget_tokens": 1024}, also as reasoning_config. */
static bool read_thinking_as(struct bedrock_reader *reader, struct json_value value,
                             const char *name)
{
    static const char *const known[] = {"type", "budget_tokens", NULL};
    struct llm_reasoning *reasoning = &reader->request->reasoning;
    struct json_value type, budget;
    if (value.kind != JSON_OBJECT || !json_find(value.text, "type", &type))
        return false;
    struct str word = json_string_raw(type);
    if (json_string_eq(word, STR("disabled")))
        reasoning->mode = REASONING_OFF;
    else if (json_string_eq(word, STR("enabled")))
        reasoning->mode = REASONING_ON;
    else if (json_string_eq(word, STR("adaptive")))
        reasoning->mode = REASONING_ADAPTIVE;
    else
        return false;
    if (json_find(value.text, "budget_tokens", &budget) && budget.kind == JSON_NUMBER)
        reasoning->budget = budget.text;
    return keep_others(reader, value, name, known);
}

static bool read_thinking(struct bedrock_reader *reader, struct json_value value)
{
    return read_thinking_as(reader, value, "thinking");
}

static bool read_reasoning_config(struct bedrock_reader *reader, struct json_value value)
{
    return read_thinking_as(reader, value, "reasoning_config");
}

/* Claude: {"effort": "high"}. */
static bool read_output_config(struct bedrock_reader *reader, struct json_value value)
{
    static const char *const known[] = {"effort", NULL};
    struct json_value effort;
    if (value.kind != JSON_OBJECT || !json_find(value.text, "effort", &effort) ||
        effort.kind != JSON_STRING)
        return false;
    reader->request->reasoning.effort = text_of(effort);
    return keep_others(reader, value, "output_config", known);
}

/* Nova: {"type": "enabled", "maxReasoningEffort": "low"}. */
static bool read_nova_reasoning(struct bedrock_reader *reader, struct json_value value)
{
    static const char *const known[] = {"type", "maxReasoningEffort", NULL};
    struct llm_reasoning *reasoning = &reader->request->reasoning;
    struct json_value type, effort;
    if (value.kind != JSON_OBJECT || !json_find(value.text, "type", &type))
        return false;
    bool is_on = json_string_eq(json_string_raw(type), STR("enabled"));
    reasoning->mode = is_on ? REASONING_ON : REASONING_OFF;
    if (json_find(value.text, "maxReasoningEffort", &effort) && effort.kind == JSON_STRING)
        reasoning->effort = text_of(effort);
    return keep_others(reader, value, "reasoningConfig", known);
}

/* gpt-oss: "low". */
static bool read_reasoning_effort(struct bedrock_reader *reader, struct json_value value)
{
    if (value.kind != JSON_STRING)
        return false;
    reader->request->reasoning.mode = REASONING_ON;
    reader->request->reasoning.effort = text_of(value);
    return true;
}

static bool read_top_k(struct bedrock_reader *reader, struct json_value value)
{
    if (value.kind != JSON_NUMBER)
        return false;
    reader->request->top_k = value.text;
    return true;
}

/* Nova: {"topK": 20}. */
static bool read_nova_inference(struct bedrock_reader *reader, struct json_value value)
{
    static const char *const known[] = {"topK", NULL};
    struct json_value top_k;
    if (value.kind != JSON_OBJECT || !json_find(value.text, "topK", &top_k) ||
        top_k.kind != JSON_NUMBER)
        return false;
    reader->request->top_k = top_k.text;
    return keep_others(reader, value, "inferenceConfig", known);
}

static const struct {
    const char *name;
    field_fn *read;
} fields[] = {
    {"thinking", read_thinking},
    {"reasoning_config", read_reasoning_config},
    {"output_config", read_output_config},
    {"reasoningConfig", read_nova_reasoning},
    {"reasoning_effort", read_reasoning_effort},
    {"top_k", read_top_k},
    {"inferenceConfig", read_nova_inference},
};

static int read_field(struct bedrock_reader *reader, struct str key, struct json_value value)
{
    bool is_taken = false;
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        if (json_string_eq(key, str_c(fields[i].name)))
            is_taken = fields[i].read(reader, value);
    }
    return bedrock_keep_extra(reader, key, value, is_taken);
}

int bedrock_read_fields(struct bedrock_reader *reader, struct json_value value, void *into)
{
    struct json_cursor cursor;
    struct str key;
    struct json_value member;
    int r;
    (void)into;
    if (value.kind != JSON_OBJECT)
        return bedrock_keep_extra(reader, STR_EMPTY, value, false);
    json_cursor_init(&cursor, value.text);
    while ((r = json_iter_object(&cursor, &key, &member)) == 1) {
        r = member.kind == JSON_NULL ? 0 : read_field(reader, key, member);
        if (r < 0)
            return r;
    }
    return r;
}
