#include "dialect/openai_chat/codec.h"
#include "dialect/signature.h"

/*
 * Messages. Members that have no place in the neutral form go to the `rest` of the first block
 * (they are the message's, since a part keeps its own in `raw`), or into an opaque block.
 */

enum {
    M_ROLE,
    M_CONTENT,
    M_NAME,
    M_TOOL_CALLS,
    M_TOOL_CALL_ID,
    M_FUNCTION_CALL,
    M_REFUSAL,
    M_REASONING_CONTENT,
    M_REASONING,
    M_REASONING_DETAILS,
    M_CACHE_CONTROL,
    M_COUNT
};
static const char *const member_names[M_COUNT + 1] = {
    [M_ROLE] = "role",
    [M_CONTENT] = "content",
    [M_NAME] = "name",
    [M_TOOL_CALLS] = "tool_calls",
    [M_TOOL_CALL_ID] = "tool_call_id",
    [M_FUNCTION_CALL] = "function_call",
    [M_REFUSAL] = "refusal",
    [M_REASONING_CONTENT] = "reasoning_content",
    [M_REASONING] = "reasoning",
    [M_REASONING_DETAILS] = "reasoning_details",
    [M_CACHE_CONTROL] = "cache_control",
};

static int read_content(struct chat_reading *r, struct json_value value, struct llm_block **blocks)
{
    struct json_cursor cursor;
    struct json_value part;
    int result = 0, more;
    if (value.kind == JSON_NONE)
        return 0;
    if (value.kind == JSON_STRING) {
        struct llm_block *block = llm_block_add(r->arena, blocks, BLOCK_TEXT);
        if (block == NULL)
            return chat_no_memory();
        block->text = text_of(value);
        return 0;
    }
    if (value.kind != JSON_ARRAY)
        return chat_refuse(r, "content", "must be a string or an array of parts");
    r->parts = "content";
    r->part = 0;
    json_cursor_init(&cursor, value.text);
    while (result == 0 && (more = json_iter_array(&cursor, &part)) == 1) {
        result = chat_read_part(r, part, blocks);
        blocks = llm_blocks_end(blocks);
        r->part++;
    }
    r->parts = NULL;
    return result;
}

/* --- reasoning --- */

static struct str member_of(struct str object, const char *name)
{
    struct json_value value;
    return json_find(object, name, &value) ? json_string_raw(value) : STR_EMPTY;
}

static int read_detail(struct chat_reading *r, struct json_value value, struct llm_block **blocks)
{
    enum signature_place place;
    if (value.kind != JSON_OBJECT)
        return chat_refuse(r, "", "must be an object");
    struct llm_block *block = llm_block_add(r->arena, blocks, BLOCK_THINKING);
    if (block == NULL)
        return chat_no_memory();
    struct str type = member_of(value.text, "type");
    bool is_encrypted = str_eq(type, STR("reasoning.encrypted"));
    bool is_summary = str_eq(type, STR("reasoning.summary"));
    struct text words = {member_of(value.text, is_summary ? "summary" : "text"), true};
    struct text data = {member_of(value.text, is_encrypted ? "data" : "signature"), true};
    block->text = is_encrypted ? TEXT_NONE : words;
    if (text_is_empty(data)) {
        block->raw = value.text;
        block->maker = DIALECT_OPENAI_CHAT;
        return 0;
    }
    block->signature = signature_unmark(r->arena, data, DIALECT_OPENAI_CHAT, &place);
    block->is_for_call = place == SIGNATURE_OF_CALL;
    block->is_redacted = is_encrypted && !block->is_for_call;
    if (block->signature.maker != DIALECT_OPENAI_CHAT)
        return block->signature.data.s.ptr == NULL ? chat_no_memory() : 0;
    block->raw = value.text;
    block->maker = DIALECT_OPENAI_CHAT;
    block->signature.data =
        chat_signature_pack(r->arena,
                            is_encrypted ? STR("encrypted")
                            : is_summary ? STR("summary")
                                         : STR("text"),
                            (struct text){member_of(value.text, "format"), true},
                            (struct text){member_of(value.text, "id"), true}, data);
    return block->signature.data.s.ptr == NULL ? chat_no_memory() : 0;
}

static bool has_thinking_text(const struct llm_block *block)
{
    while (block != NULL && (block->kind != BLOCK_THINKING || text_is_empty(block->text)))
        block = block->next;
    return block != NULL;
}

static int read_reasoning(struct chat_reading *r, const struct json_value *v,
                          struct llm_block **blocks, struct str *rest)
{
    struct json_cursor cursor;
    struct json_value item;
    int result = 0;
    if (v[M_REASONING_DETAILS].kind == JSON_ARRAY) {
        r->parts = "reasoning_details";
        r->part = 0;
        json_cursor_init(&cursor, v[M_REASONING_DETAILS].text);
        struct llm_block **end = blocks;
        while (result == 0 && json_iter_array(&cursor, &item) == 1) {
            result = read_detail(r, item, end);
            end = llm_blocks_end(end);
            r->part++;
        }
        r->parts = NULL;
    } else if (v[M_REASONING_DETAILS].kind != JSON_NONE) {
        return chat_refuse(r, "reasoning_details", "must be an array");
    }
    bool has_text = has_thinking_text(*blocks);
    for (unsigned i = M_REASONING_CONTENT; result == 0 && i <= M_REASONING; i++) {
        struct text text;
        result = chat_read_text(r, member_names[i], v[i], &text);
        if (result < 0 || !text_is_some(text))
            continue;
        if (has_text) { /* the same once more */
            struct str parts[] = {*rest, rest->len > 0 ? STR(",\"") : STR("\""),
                                  str_c(member_names[i]), STR("\":"), v[i].text};
            *rest = arena_concat(r->arena, parts, ARRAY_LEN(parts));
            continue;
        }
        struct llm_block *block = llm_block_add(r->arena, blocks, BLOCK_THINKING);
        if (block == NULL)
            return chat_no_memory();
        block->text = text;
        block->name = text_plain(str_c(member_names[i]));
        has_text = true;
    }
    return result;
}

/* --- calls --- */

static int read_arguments(struct chat_reading *r, struct json_value value, struct text *arguments)
{
    if (value.kind == JSON_OBJECT) /* Ollama */
        *arguments = text_plain(value.text);
    else
        return chat_read_text(r, "function.arguments", value, arguments);
    return 0;
}

static int read_custom_call(struct chat_reading *r, struct json_value value,
                            struct llm_block *block)
{
    struct json_value name, input = {JSON_NONE, STR_EMPTY};
    if (!json_find(value.text, "custom.name", &name) || name.kind != JSON_STRING)
        return chat_refuse(r, "custom.name", "must be a string");
    (void)json_find(value.text, "custom.input", &input);
    struct str parts[] = {STR("{\"input\":"), input.kind == JSON_STRING ? input.text : STR("\"\""),
                          STR("}")};
    block->name = text_of(name);
    block->arguments = text_plain(arena_concat(r->arena, parts, ARRAY_LEN(parts)));
    block->raw = value.text;
    block->maker = DIALECT_OPENAI_CHAT;
    return block->arguments.s.ptr == NULL ? chat_no_memory() : 0;
}

static int read_call(struct chat_reading *r, struct json_value value, struct llm_block **blocks)
{
    static const char *const names[] = {"id", "type", "function", "custom", NULL};
    struct json_value v[CHAT_MEMBERS_MAX], name, arguments = {JSON_NONE, STR_EMPTY};
    struct str rest = STR_EMPTY;
    if (value.kind != JSON_OBJECT)
        return chat_refuse(r, "", "must be an object");
    int result = chat_collect(r, value.text, names, v, &rest);
    struct llm_block *block = llm_block_add(r->arena, blocks, BLOCK_TOOL_CALL);
    if (block == NULL)
        return chat_no_memory();
    if (result == 0)
        result = chat_read_text(r, "id", v[0], &block->id);
    if (result < 0)
        return result;
    if (v[3].kind == JSON_OBJECT)
        return read_custom_call(r, value, block);
    if (v[2].kind != JSON_OBJECT)
        return chat_refuse(r, "function", "must be an object");
    if (!json_find(v[2].text, "name", &name) || name.kind != JSON_STRING)
        return chat_refuse(r, "function.name", "must be a string");
    block->name = text_of(name);
    block->rest = rest;
    block->maker = DIALECT_OPENAI_CHAT;
    (void)json_find(v[2].text, "arguments", &arguments);
    return read_arguments(r, arguments, &block->arguments);
}

static int read_calls(struct chat_reading *r, struct json_value value, struct llm_block **blocks)
{
    struct json_cursor cursor;
    struct json_value item;
    int result = 0;
    if (value.kind == JSON_NONE)
        return 0;
    if (value.kind != JSON_ARRAY)
        return chat_refuse(r, "tool_calls", "must be an array");
    r->parts = "tool_calls";
    r->part = 0;
    json_cursor_init(&cursor, value.text);
    while (result == 0 && json_iter_array(&cursor, &item) == 1) {
        result = read_call(r, item, blocks);
        blocks = llm_blocks_end(blocks);
        r->part++;
    }
    r->parts = NULL;
    return result;
}

/* The old form has no ids: they are counted. */
static int read_legacy_call(struct chat_reading *r, struct json_value value,
                            struct llm_block **blocks)
{
    struct json_value name, arguments = {JSON_NONE, STR_EMPTY};
    if (value.kind == JSON_NONE)
        return 0;
    if (value.kind != JSON_OBJECT || !json_find(value.text, "name", &name) ||
        name.kind != JSON_STRING)
        return chat_refuse(r, "function_call.name", "must be a string");
    struct llm_block *block = llm_block_add(r->arena, blocks, BLOCK_TOOL_CALL);
    if (block == NULL)
        return chat_no_memory();
    block->id = text_plain(arena_printf(r->arena, "call_%u", ++r->legacy_calls));
    block->name = text_of(name);
    block->raw = value.text;
    block->maker = DIALECT_OPENAI_CHAT;
    (void)json_find(value.text, "arguments", &arguments);
    int result = read_arguments(r, arguments, &block->arguments);
    return result == 0 && block->id.s.ptr == NULL ? chat_no_memory() : result;
}

/* --- messages --- */

static int read_result(struct chat_reading *r, const struct json_value *v,
                       struct llm_message *message, bool is_legacy)
{
    struct llm_block *block = llm_block_add(r->arena, &message->blocks, BLOCK_TOOL_RESULT);
    if (block == NULL)
        return chat_no_memory();
    block->name = text_of(v[M_NAME]);
    if (is_legacy) {
        block->raw = STR("function");
        block->maker = DIALECT_OPENAI_CHAT;
        block->id = text_plain(arena_printf(r->arena, "call_%u", r->legacy_calls));
    } else {
        if (v[M_TOOL_CALL_ID].kind != JSON_STRING)
            return chat_refuse(r, "tool_call_id", "must be a string");
        block->id = text_of(v[M_TOOL_CALL_ID]);
    }
    message->name = TEXT_NONE;
    return read_content(r, v[M_CONTENT], &block->blocks);
}

static int keep_rest(struct chat_reading *r, struct llm_message *message, struct str rest)
{
    struct llm_block *first = message->blocks;
    if (rest.len == 0)
        return 0;
    if (first != NULL && first->rest.len == 0 && first->kind != BLOCK_TOOL_CALL) {
        first->rest = rest;
        first->maker = DIALECT_OPENAI_CHAT;
        return 0;
    }
    struct llm_block *block = llm_block_add(r->arena, &message->blocks, BLOCK_OPAQUE);
    if (block == NULL)
        return chat_no_memory();
    struct str parts[] = {STR("{"), rest, STR("}")};
    block->raw = arena_concat(r->arena, parts, ARRAY_LEN(parts));
    block->rest = rest; /* of the message, as with all other blocks */
    block->maker = DIALECT_OPENAI_CHAT;
    return block->raw.ptr == NULL ? chat_no_memory() : 0;
}

/* A hint on the message is one on its last block. */
static int keep_cache(struct chat_reading *r, struct llm_message *message,
                      struct json_value control, struct str *rest)
{
    struct json_value ttl;
    struct llm_block *last = message->blocks;
    if (control.kind == JSON_NONE)
        return 0;
    while (last != NULL && last->next != NULL)
        last = last->next;
    if (last != NULL) {
        bool is_hour = control.kind == JSON_OBJECT && json_find(control.text, "ttl", &ttl) &&
                       str_eq(json_string_raw(ttl), STR("1h"));
        last->cache = is_hour ? CACHE_1H : CACHE_5M;
    }
    struct str parts[] = {*rest, rest->len > 0 ? STR(",") : STR_EMPTY, STR("\"cache_control\":"),
                          control.text};
    *rest = arena_concat(r->arena, parts, ARRAY_LEN(parts));
    return rest->ptr == NULL ? chat_no_memory() : 0;
}

static int read_blocks(struct chat_reading *r, const struct json_value *v,
                       struct llm_message *message, struct str *rest)
{
    struct text refusal;
    int result = chat_read_text(r, "name", v[M_NAME], &message->name);
    if (result == 0)
        result = read_reasoning(r, v, &message->blocks, rest);
    if (result == 0)
        result = read_content(r, v[M_CONTENT], &message->blocks);
    if (result == 0)
        result = chat_read_text(r, "refusal", v[M_REFUSAL], &refusal);
    if (result == 0 && text_is_some(refusal)) {
        struct llm_block *block = llm_block_add(r->arena, &message->blocks, BLOCK_REFUSAL);
        if (block == NULL)
            return chat_no_memory();
        block->text = refusal;
    }
    if (result == 0)
        result = read_calls(r, v[M_TOOL_CALLS], &message->blocks);
    if (result == 0)
        result = read_legacy_call(r, v[M_FUNCTION_CALL], &message->blocks);
    return result;
}

static const struct {
    const char *name;
    enum llm_role role;
} roles[] = {
    {"user", ROLE_USER},           {"assistant", ROLE_ASSISTANT}, {"system", ROLE_SYSTEM},
    {"developer", ROLE_DEVELOPER}, {"tool", ROLE_TOOL},           {"function", ROLE_TOOL},
};

static int read_message(struct chat_reading *r, struct json_value value)
{
    struct json_value v[CHAT_MEMBERS_MAX];
    struct str rest = STR_EMPTY;
    size_t i = 0;
    if (value.kind != JSON_OBJECT)
        return chat_refuse(r, "", "must be an object");
    int result = chat_collect(r, value.text, member_names, v, &rest);
    if (result < 0)
        return result;
    while (i < ARRAY_LEN(roles) &&
           !json_string_eq(json_string_raw(v[M_ROLE]), str_c(roles[i].name)))
        i++;
    if (i == ARRAY_LEN(roles))
        return chat_refuse(r, "role",
                           "must be one of user, assistant, system, developer, tool, function");
    struct llm_message *message = llm_message_add(r->arena, r->request, roles[i].role);
    if (message == NULL)
        return chat_no_memory();
    result = roles[i].role == ROLE_TOOL
                 ? read_result(r, v, message, str_eq(str_c(roles[i].name), STR("function")))
                 : read_blocks(r, v, message, &rest);
    if (result == 0)
        result = keep_cache(r, message, v[M_CACHE_CONTROL], &rest);
    return result == 0 ? keep_rest(r, message, rest) : result;
}

int chat_read_messages(struct chat_reading *r, struct json_value value)
{
    struct json_cursor cursor;
    struct json_value item;
    int result = 0, more = 0;
    if (value.kind != JSON_ARRAY)
        return chat_refuse(r, "messages", "must be an array");
    r->list = "messages";
    r->index = 0;
    json_cursor_init(&cursor, value.text);
    while (result == 0 && (more = json_iter_array(&cursor, &item)) == 1) {
        result = read_message(r, item);
        r->index++;
    }
    if (result == 0 && more < 0)
        result = chat_refuse(r, "", "is not valid JSON, or is nested too deeply");
    r->list = NULL;
    return result;
}
