#include "base/err.h"
#include "dialect/cohere/codec.h"

/* Reads a request of POST /v2/chat. Errors name the member: "'messages[2].content' must be ...". */

struct reading {
    struct arena *arena;
    struct llm_request *request;
    struct json_value documents, strict_tools;
    bool wants_citations;
};

/* What is there must be of this kind. */
static bool is_or_none(struct json_value value, enum json_kind kind)
{
    return value.kind == JSON_NONE || value.kind == kind;
}

static bool is_bool_or_none(struct json_value value)
{
    return value.kind == JSON_NONE || value.kind == JSON_TRUE || value.kind == JSON_FALSE;
}

/* --- blocks ---------------------------------------------------------------------------------- */

static int add_text(struct reading *r, struct llm_block **list, enum llm_block_kind kind,
                    struct text text, struct text mark)
{
    struct llm_block *block = llm_block_add(r->arena, list, kind);
    if (block == NULL)
        return cohere_no_memory();
    block->text = text;
    block->name = mark;
    return 0;
}

static int add_opaque(struct reading *r, struct llm_block **list, struct str raw, struct text mark)
{
    struct llm_block *block = llm_block_add(r->arena, list, BLOCK_OPAQUE);
    if (block == NULL)
        return cohere_no_memory();
    block->raw = raw;
    block->maker = DIALECT_COHERE;
    block->name = mark;
    return 0;
}

/* data:TYPE;base64,DATA is split, everything else is a URL. */
static int read_image_url(struct reading *r, struct text url, struct llm_media *media)
{
    struct str marker = STR(";base64,");
    struct str plain = url.s;
    if (str_index(url.s, '\\') >= 0 && text_get(r->arena, url, &plain) == -ERR_NOMEM)
        return cohere_no_memory();
    ptrdiff_t at = str_istarts(plain, STR("data:")) ? str_find(plain, marker) : -1;
    if (at < 0) {
        media->url = url;
        return 0;
    }
    media->type = text_plain(str_skip(str_head(plain, (size_t)at), 5));
    media->data = text_plain(str_skip(plain, (size_t)at + marker.len));
    return 0;
}

static int read_image(struct reading *r, struct llm_block **list, struct json_value value,
                      const char *place)
{
    static const char *const names[] = {"url", "detail", NULL};
    struct json_value values[2] = {{JSON_NONE, STR_EMPTY}, {JSON_NONE, STR_EMPTY}};
    if (value.kind == JSON_STRING)
        values[0] = value;
    else if (value.kind != JSON_OBJECT || !cohere_collect(value.text, names, values))
        return cohere_refuse("must be an object with a url", "%s.image_url", place);
    if (values[0].kind != JSON_STRING)
        return cohere_refuse("must be a string", "%s.image_url.url", place);
    if (!is_or_none(values[1], JSON_STRING))
        return cohere_refuse("must be a string", "%s.image_url.detail", place);
    struct llm_block *block = llm_block_add(r->arena, list, BLOCK_IMAGE);
    if (block == NULL)
        return cohere_no_memory();
    block->media.detail = text_of(values[1]);
    return read_image_url(r, text_of(values[0]), &block->media);
}

/* What a document says: its text where it has one, else all of its data as JSON. */
static struct text document_text(struct json_value data)
{
    static const char *const names[] = {"text", "snippet", "content", NULL};
    struct json_value values[3];
    if (data.kind == JSON_STRING)
        return text_of(data);
    if (data.kind == JSON_OBJECT && cohere_collect(data.text, names, values)) {
        for (size_t i = 0; i < ARRAY_LEN(values); i++) {
            if (values[i].kind == JSON_STRING)
                return text_of(values[i]);
        }
    }
    return text_plain(data.text);
}

/* A document: text, or {"id", "data"}. `raw` is what is written back. */
static int add_document(struct reading *r, struct llm_block **list, struct json_value value,
                        struct str raw, const char *place)
{
    static const char *const names[] = {"id", "data", NULL};
    static const char *const titles[] = {"title", NULL};
    struct json_value values[2] = {{JSON_NONE, STR_EMPTY}, value}, title = {JSON_NONE, STR_EMPTY};
    if (value.kind == JSON_OBJECT && !cohere_collect(value.text, names, values))
        return cohere_refuse("is not valid JSON", "%s", place);
    if (value.kind != JSON_OBJECT && value.kind != JSON_STRING)
        return cohere_refuse("must be a string or an object with data", "%s", place);
    if (values[1].kind == JSON_NONE)
        return cohere_refuse("is missing: it holds the document", "%s.data", place);
    if (!is_or_none(values[0], JSON_STRING))
        return cohere_refuse("must be a string", "%s.id", place);
    struct llm_block *block = llm_block_add(r->arena, list, BLOCK_DOCUMENT);
    if (block == NULL)
        return cohere_no_memory();
    block->text = document_text(values[1]);
    block->id = text_of(values[0]);
    if (values[1].kind == JSON_OBJECT && cohere_collect(values[1].text, titles, &title))
        block->media.name = text_of(title);
    block->media.type = TEXT_LIT("text/plain");
    block->wants_citations = true;
    block->raw = raw;
    block->maker = DIALECT_COHERE;
    return 0;
}

/* One part of a content array. */
static int read_part(struct reading *r, struct llm_block **list, struct str part, const char *place)
{
    static const char *const names[] = {"type", "text", "thinking", "image_url", "document", NULL};
    enum { TYPE, TEXT, THINKING, IMAGE, DOCUMENT, MEMBERS };
    struct json_value values[MEMBERS];
    if (!cohere_collect(part, names, values))
        return cohere_refuse("must be an object with a type", "%s", place);
    if (values[TYPE].kind != JSON_STRING)
        return cohere_refuse("must be a string", "%s.type", place);
    struct str type = json_string_raw(values[TYPE]);
    if (json_string_eq(type, STR("text"))) {
        if (values[TEXT].kind != JSON_STRING)
            return cohere_refuse("must be a string", "%s.text", place);
        return add_text(r, list, BLOCK_TEXT, text_of(values[TEXT]), COHERE_PART);
    }
    if (json_string_eq(type, STR("thinking"))) {
        if (values[THINKING].kind != JSON_STRING)
            return cohere_refuse("must be a string", "%s.thinking", place);
        return add_text(r, list, BLOCK_THINKING, text_of(values[THINKING]), TEXT_NONE);
    }
    if (json_string_eq(type, STR("image_url")))
        return read_image(r, list, values[IMAGE], place);
    if (json_string_eq(type, STR("document"))) {
        char inner[64];
        snprintf(inner, sizeof(inner), "%s.document", place);
        return add_document(r, list, values[DOCUMENT], part, inner);
    }
    return add_opaque(r, list, part, TEXT_NONE);
}

static int read_content(struct reading *r, struct llm_block **list, struct json_value content,
                        unsigned index)
{
    struct json_cursor cursor;
    struct json_value part;
    char place[48];
    if (content.kind == JSON_NONE)
        return 0;
    if (content.kind == JSON_STRING)
        return add_text(r, list, BLOCK_TEXT, text_of(content), TEXT_NONE);
    if (content.kind != JSON_ARRAY)
        return cohere_refuse("must be a string or a list of parts", "messages[%u].content", index);
    json_cursor_init(&cursor, content.text);
    for (unsigned i = 0; json_iter_array(&cursor, &part) == 1; i++) {
        snprintf(place, sizeof(place), "messages[%u].content[%u]", index, i);
        int rc = part.kind == JSON_OBJECT
                     ? read_part(r, list, part.text, place)
                     : cohere_refuse("must be an object with a type", "%s", place);
        if (rc < 0)
            return rc;
        list = llm_blocks_end(list);
    }
    return cursor.error < 0 ? cohere_refuse("is nested too deeply", "messages[%u].content", index)
                            : 0;
}

/* --- messages -------------------------------------------------------------------------------- */

enum {
    MESSAGE_ROLE,
    MESSAGE_CONTENT,
    MESSAGE_TOOL_CALLS,
    MESSAGE_TOOL_PLAN,
    MESSAGE_TOOL_CALL_ID,
    MESSAGE_CITATIONS,
    MESSAGE_MEMBERS
};

static int read_call(struct reading *r, struct llm_block **list, struct json_value call,
                     unsigned index, unsigned nth)
{
    static const char *const names[] = {"id", "type", "function", NULL};
    static const char *const fields[] = {"name", "arguments", NULL};
    struct json_value values[3], function[2];
    if (call.kind != JSON_OBJECT || !cohere_collect(call.text, names, values))
        return cohere_refuse("must be an object", "messages[%u].tool_calls[%u]", index, nth);
    if (values[1].kind == JSON_STRING &&
        !json_string_eq(json_string_raw(values[1]), STR("function")))
        return add_opaque(r, list, call.text, COHERE_TOOL_CALLS);
    if (!is_or_none(values[0], JSON_STRING))
        return cohere_refuse("must be a string", "messages[%u].tool_calls[%u].id", index, nth);
    if (values[2].kind != JSON_OBJECT || !cohere_collect(values[2].text, fields, function))
        return cohere_refuse("must be an object", "messages[%u].tool_calls[%u].function", index,
                             nth);
    if (function[0].kind != JSON_STRING || !is_or_none(function[1], JSON_STRING))
        return cohere_refuse("must hold a name and arguments, both strings",
                             "messages[%u].tool_calls[%u].function", index, nth);
    struct llm_block *block = llm_block_add(r->arena, list, BLOCK_TOOL_CALL);
    if (block == NULL)
        return cohere_no_memory();
    block->id = text_of(values[0]);
    block->name = text_of(function[0]);
    block->arguments = text_of(function[1]);
    return 0;
}

static int read_calls(struct reading *r, struct llm_message *message, struct json_value calls,
                      unsigned index)
{
    struct json_cursor cursor;
    struct json_value call;
    struct llm_block **end = llm_blocks_end(&message->blocks);
    int rc = 0;
    if (!is_or_none(calls, JSON_ARRAY))
        return cohere_refuse("must be a list", "messages[%u].tool_calls", index);
    json_cursor_init(&cursor, calls.text);
    for (unsigned i = 0; calls.kind == JSON_ARRAY && rc == 0; i++) {
        if (json_iter_array(&cursor, &call) != 1)
            break;
        rc = read_call(r, end, call, index, i);
        end = llm_blocks_end(end);
    }
    return rc;
}

/* Those of an earlier answer go to its last text. */
static int read_citations(struct reading *r, struct llm_message *message,
                          struct json_value citations, unsigned index)
{
    struct json_cursor cursor;
    struct json_value value;
    struct llm_block *text = NULL;
    if (!is_or_none(citations, JSON_ARRAY))
        return cohere_refuse("must be a list", "messages[%u].citations", index);
    for (struct llm_block *b = message->blocks; b != NULL; b = b->next)
        text = b->kind == BLOCK_TEXT ? b : text;
    if (text == NULL || citations.kind != JSON_ARRAY)
        return 0;
    struct llm_citation **end = &text->citations;
    json_cursor_init(&cursor, citations.text);
    while (json_iter_array(&cursor, &value) == 1) {
        struct llm_citation *citation = ARENA_NEW(r->arena, struct llm_citation);
        if (citation == NULL)
            return cohere_no_memory();
        *citation = cohere_read_citation(value.text, NULL);
        *end = citation;
        end = &citation->next;
    }
    return 0;
}

static int read_assistant(struct reading *r, struct llm_message *message,
                          const struct json_value *values, unsigned index)
{
    int rc = 0;
    if (!is_or_none(values[MESSAGE_TOOL_PLAN], JSON_STRING))
        return cohere_refuse("must be a string", "messages[%u].tool_plan", index);
    if (values[MESSAGE_TOOL_PLAN].kind == JSON_STRING)
        rc = add_text(r, &message->blocks, BLOCK_THINKING, text_of(values[MESSAGE_TOOL_PLAN]),
                      COHERE_TOOL_PLAN);
    if (rc == 0)
        rc = read_content(r, &message->blocks, values[MESSAGE_CONTENT], index);
    if (rc == 0)
        rc = read_calls(r, message, values[MESSAGE_TOOL_CALLS], index);
    return rc < 0 ? rc : read_citations(r, message, values[MESSAGE_CITATIONS], index);
}

static int read_result(struct reading *r, struct llm_message *message,
                       const struct json_value *values, unsigned index)
{
    if (values[MESSAGE_TOOL_CALL_ID].kind != JSON_STRING)
        return cohere_refuse("must be the id of the call that is answered",
                             "messages[%u].tool_call_id", index);
    struct llm_block *block = llm_block_add(r->arena, &message->blocks, BLOCK_TOOL_RESULT);
    if (block == NULL)
        return cohere_no_memory();
    block->id = text_of(values[MESSAGE_TOOL_CALL_ID]);
    return read_content(r, &block->blocks, values[MESSAGE_CONTENT], index);
}

static int read_message(struct reading *r, struct json_value value, unsigned index)
{
    static const char *const names[] = {"role",         "content",   "tool_calls", "tool_plan",
                                        "tool_call_id", "citations", NULL};
    static const struct {
        struct str name;
        enum llm_role role;
    } roles[] = {{STR_INIT("user"), ROLE_USER},
                 {STR_INIT("assistant"), ROLE_ASSISTANT},
                 {STR_INIT("system"), ROLE_SYSTEM},
                 {STR_INIT("tool"), ROLE_TOOL}};
    struct json_value values[MESSAGE_MEMBERS];
    if (value.kind != JSON_OBJECT || !cohere_collect(value.text, names, values))
        return cohere_refuse("must be an object", "messages[%u]", index);
    size_t i = 0;
    struct str role = json_string_raw(values[MESSAGE_ROLE]);
    while (i < ARRAY_LEN(roles) && !json_string_eq(role, roles[i].name))
        i++;
    if (values[MESSAGE_ROLE].kind != JSON_STRING || i == ARRAY_LEN(roles))
        return cohere_refuse("must be one of user, assistant, system and tool", "messages[%u].role",
                             index);
    struct llm_message *message = llm_message_add(r->arena, r->request, roles[i].role);
    if (message == NULL)
        return cohere_no_memory();
    if (message->role == ROLE_ASSISTANT)
        return read_assistant(r, message, values, index);
    if (message->role == ROLE_TOOL)
        return read_result(r, message, values, index);
    return read_content(r, &message->blocks, values[MESSAGE_CONTENT], index);
}

static int read_messages(struct reading *r, struct json_value value)
{
    struct json_cursor cursor;
    struct json_value message;
    int more;
    if (value.kind != JSON_ARRAY)
        return cohere_refuse("must be a list of messages", "messages");
    json_cursor_init(&cursor, value.text);
    for (unsigned i = 0; (more = json_iter_array(&cursor, &message)) == 1; i++) {
        int rc = read_message(r, message, i);
        if (rc < 0)
            return rc;
    }
    return more < 0 ? cohere_refuse("is nested too deeply", "messages") : 0;
}

/* An extra; one that says nothing is not missed where it cannot be said. */
static int keep_member(struct reading *r, const char *name, struct json_value value, bool is_empty)
{
    const struct llm_extra *before = r->request->last_extra;
    if (!llm_extra_add(r->arena, r->request, STR_EMPTY, str_c(name), value))
        return cohere_no_memory();
    struct llm_extra *added = r->request->last_extra;
    if (added != NULL && added != before)
        added->is_taken = is_empty;
    return 0;
}

/* --- documents: in front of what the user said last ------------------------------------------- */

static int read_documents(struct reading *r)
{
    struct json_cursor cursor;
    struct json_value value;
    struct llm_message *last = NULL;
    struct llm_block *list = NULL, **end = &list;
    char place[32];
    for (struct llm_message *m = r->request->messages; m != NULL; m = m->next)
        last = m->role == ROLE_USER ? m : last;
    json_cursor_init(&cursor, r->documents.text);
    for (unsigned i = 0; json_iter_array(&cursor, &value) == 1; i++) {
        snprintf(place, sizeof(place), "documents[%u]", i);
        int rc = add_document(r, end, value, value.text, place);
        if (rc < 0)
            return rc;
        end = llm_blocks_end(end);
    }
    /* Nobody to put them to, or none: the member is kept as it is. */
    if (last == NULL || list == NULL)
        return keep_member(r, "documents", r->documents, list == NULL);
    for (struct llm_block *b = list; b != NULL; b = b->next)
        b->name = COHERE_DOCUMENTS;
    *end = last->blocks;
    last->blocks = list;
    return 0;
}

static int take_documents(struct reading *r, struct json_value value)
{
    if (value.kind != JSON_ARRAY)
        return cohere_refuse("must be a list of documents", "documents");
    r->documents = value;
    return 0;
}

/* Whether there are to be any is the documents' own wish; how they are made is said only here. */
static int read_citation_options(struct reading *r, struct json_value value)
{
    static const char *const names[] = {"mode", NULL};
    struct json_value mode;
    if (value.kind != JSON_OBJECT || !cohere_collect(value.text, names, &mode))
        return cohere_refuse("must be an object", "citation_options");
    struct str word = json_string_raw(mode);
    bool is_off = json_string_eq(word, STR("OFF")) || json_string_eq(word, STR("DISABLED"));
    r->wants_citations = !is_off;
    return keep_member(r, "citation_options", value,
                       is_off || json_string_eq(word, STR("ENABLED")));
}

/* --- tools ----------------------------------------------------------------------------------- */

static int read_tool(struct reading *r, struct json_value value, unsigned index)
{
    static const char *const names[] = {"type", "function", NULL};
    static const char *const fields[] = {"name", "description", "parameters", NULL};
    struct json_value values[2], function[3];
    if (value.kind != JSON_OBJECT || !cohere_collect(value.text, names, values))
        return cohere_refuse("must be an object", "tools[%u]", index);
    struct llm_tool *tool = llm_tool_add(r->arena, r->request);
    if (tool == NULL)
        return cohere_no_memory();
    if (values[0].kind == JSON_STRING &&
        !json_string_eq(json_string_raw(values[0]), STR("function"))) {
        tool->kind = TOOL_BUILTIN;
        tool->raw = value.text;
        tool->maker = DIALECT_COHERE;
        return 0;
    }
    if (values[1].kind != JSON_OBJECT || !cohere_collect(values[1].text, fields, function))
        return cohere_refuse("must be an object", "tools[%u].function", index);
    if (function[0].kind != JSON_STRING)
        return cohere_refuse("must be a string", "tools[%u].function.name", index);
    if (!is_or_none(function[1], JSON_STRING))
        return cohere_refuse("must be a string", "tools[%u].function.description", index);
    if (!is_or_none(function[2], JSON_OBJECT))
        return cohere_refuse("must be a JSON schema", "tools[%u].function.parameters", index);
    tool->name = text_of(function[0]);
    tool->description = text_of(function[1]);
    tool->schema = function[2].text;
    return 0;
}

static int read_tools(struct reading *r, struct json_value value)
{
    struct json_cursor cursor;
    struct json_value tool;
    int rc = 0;
    if (value.kind != JSON_ARRAY)
        return cohere_refuse("must be a list of tools", "tools");
    json_cursor_init(&cursor, value.text);
    for (unsigned i = 0; rc == 0 && json_iter_array(&cursor, &tool) == 1; i++)
        rc = read_tool(r, tool, i);
    return rc;
}

static int take_strict_tools(struct reading *r, struct json_value value)
{
    if (!is_bool_or_none(value))
        return cohere_refuse("must be true or false", "strict_tools");
    r->strict_tools = value;
    return 0;
}

/* One flag for all tools. */
static int spread_strict_tools(struct reading *r)
{
    enum tri strict = r->strict_tools.kind == JSON_TRUE ? TRI_YES : TRI_NO;
    bool has_any = false;
    for (struct llm_tool *tool = r->request->tools; tool != NULL; tool = tool->next) {
        if (tool->kind == TOOL_FUNCTION) {
            tool->strict = strict;
            has_any = true;
        }
    }
    if (has_any)
        return 0;
    return keep_member(r, "strict_tools", r->strict_tools, true);
}

static int read_tool_choice(struct reading *r, struct json_value value)
{
    struct str word = json_string_raw(value);
    if (value.kind == JSON_STRING && json_string_eq(word, STR("REQUIRED")))
        r->request->tool_choice = TOOL_CHOICE_REQUIRED;
    else if (value.kind == JSON_STRING && json_string_eq(word, STR("NONE")))
        r->request->tool_choice = TOOL_CHOICE_NONE;
    else
        return cohere_refuse("must be REQUIRED or NONE", "tool_choice");
    return 0;
}

/* --- the other members ----------------------------------------------------------------------- */

static int read_model(struct reading *r, struct json_value value)
{
    r->request->model = text_of(value);
    return value.kind == JSON_STRING ? 0 : cohere_refuse("must be a string", "model");
}

static int read_stream(struct reading *r, struct json_value value)
{
    r->request->is_stream = value.kind == JSON_TRUE;
    return is_bool_or_none(value) ? 0 : cohere_refuse("must be true or false", "stream");
}

static int read_logprobs(struct reading *r, struct json_value value)
{
    r->request->logprobs = value.kind == JSON_TRUE ? TRI_YES : TRI_NO;
    return is_bool_or_none(value) ? 0 : cohere_refuse("must be true or false", "logprobs");
}

static int read_stop(struct reading *r, struct json_value value)
{
    struct json_cursor cursor;
    struct json_value word;
    if (value.kind != JSON_ARRAY)
        return cohere_refuse("must be a list of strings", "stop_sequences");
    json_cursor_init(&cursor, value.text);
    struct llm_name **end = &r->request->stop;
    for (unsigned i = 0; json_iter_array(&cursor, &word) == 1; i++) {
        if (word.kind != JSON_STRING)
            return cohere_refuse("must be a string", "stop_sequences[%u]", i);
        if (!llm_name_add(r->arena, end, text_of(word)))
            return cohere_no_memory();
        end = &(*end)->next;
    }
    return 0;
}

static int read_format(struct reading *r, struct json_value value)
{
    static const char *const names[] = {"type", "json_schema", "schema", NULL};
    struct llm_response_format *format = &r->request->format;
    struct json_value values[3];
    if (value.kind != JSON_OBJECT || !cohere_collect(value.text, names, values))
        return cohere_refuse("must be an object with a type", "response_format");
    struct json_value schema = values[1].kind != JSON_NONE ? values[1] : values[2];
    struct str type = json_string_raw(values[0]);
    if (!is_or_none(schema, JSON_OBJECT))
        return cohere_refuse("must be a JSON schema", "response_format.json_schema");
    if (json_string_eq(type, STR("text")))
        format->kind = FORMAT_TEXT;
    else if (json_string_eq(type, STR("json_object")))
        format->kind = schema.kind == JSON_OBJECT ? FORMAT_JSON_SCHEMA : FORMAT_JSON_OBJECT;
    else
        return cohere_refuse("must be text or json_object", "response_format.type");
    format->schema = schema.text;
    return 0;
}

static int read_thinking(struct reading *r, struct json_value value)
{
    static const char *const names[] = {"type", "token_budget", NULL};
    struct json_value values[2];
    if (value.kind != JSON_OBJECT || !cohere_collect(value.text, names, values))
        return cohere_refuse("must be an object with a type", "thinking");
    struct str type = json_string_raw(values[0]);
    if (json_string_eq(type, STR("enabled")))
        r->request->reasoning.mode = REASONING_ON;
    else if (json_string_eq(type, STR("disabled")))
        r->request->reasoning.mode = REASONING_OFF;
    else
        return cohere_refuse("must be enabled or disabled", "thinking.type");
    if (!is_or_none(values[1], JSON_NUMBER))
        return cohere_refuse("must be a number", "thinking.token_budget");
    r->request->reasoning.budget = values[1].text;
    return 0;
}

/* --- the whole ------------------------------------------------------------------------------- */

static const struct {
    struct str name;
    int (*read)(struct reading *r, struct json_value value);
} members[] = {
    {STR_INIT("model"), read_model},
    {STR_INIT("messages"), read_messages},
    {STR_INIT("stream"), read_stream},
    {STR_INIT("documents"), take_documents},
    {STR_INIT("citation_options"), read_citation_options},
    {STR_INIT("tools"), read_tools},
    {STR_INIT("strict_tools"), take_strict_tools},
    {STR_INIT("tool_choice"), read_tool_choice},
    {STR_INIT("response_format"), read_format},
    {STR_INIT("thinking"), read_thinking},
    {STR_INIT("stop_sequences"), read_stop},
    {STR_INIT("logprobs"), read_logprobs},
};

static const struct {
    struct str name;
    size_t offset;
} numbers[] = {
    {STR_INIT("max_tokens"), offsetof(struct llm_request, max_tokens)},
    {STR_INIT("temperature"), offsetof(struct llm_request, temperature)},
    {STR_INIT("p"), offsetof(struct llm_request, top_p)},
    {STR_INIT("k"), offsetof(struct llm_request, top_k)},
    {STR_INIT("seed"), offsetof(struct llm_request, seed)},
    {STR_INIT("frequency_penalty"), offsetof(struct llm_request, frequency_penalty)},
    {STR_INIT("presence_penalty"), offsetof(struct llm_request, presence_penalty)},
};

static int read_member(struct reading *r, struct str key, struct json_value value)
{
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        if (json_string_eq(key, members[i].name))
            return members[i].read(r, value);
    }
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        if (!json_string_eq(key, numbers[i].name))
            continue;
        if (value.kind != JSON_NUMBER)
            return cohere_refuse("must be a number", "%.*s", STR_ARG(numbers[i].name));
        *(struct str *)(void *)((char *)r->request + numbers[i].offset) = value.text;
        return 0;
    }
    return llm_extra_add(r->arena, r->request, STR_EMPTY, key, value) ? 0 : cohere_no_memory();
}

int cohere_read_request(struct str body, struct arena *arena, struct llm_request *request)
{
    *request = (struct llm_request){.source = DIALECT_COHERE, .includes_usage = true};
    struct reading r = {.arena = arena, .request = request, .wants_citations = true};
    struct json_cursor cursor;
    struct json_value value;
    struct str key;
    int more;
    json_cursor_init(&cursor, body);
    while ((more = json_iter_object(&cursor, &key, &value)) == 1) {
        int rc = value.kind == JSON_NULL ? 0 : read_member(&r, key, value);
        if (rc < 0)
            return rc;
    }
    if (more < 0)
        return err_set(ERR_INVALID, FAULT_CLIENT,
                       "the body is not a JSON object, or is nested too deeply");
    int rc = r.strict_tools.kind != JSON_NONE ? spread_strict_tools(&r) : 0;
    if (rc == 0 && r.documents.kind != JSON_NONE)
        rc = read_documents(&r);
    for (struct llm_message *m = request->messages; m != NULL && !r.wants_citations; m = m->next) {
        for (struct llm_block *b = m->blocks; b != NULL; b = b->next)
            b->wants_citations = false;
    }
    return rc;
}
