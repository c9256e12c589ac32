#include "base/err.h"
#include "dialect/openai_responses/codec.h"
#include "dialect/signature.h"

/*
 * The items of `input`. What the assistant said, thought and called between two turns of others is
 * several items here and one message in the neutral form; each block keeps the item it came from.
 */

/* --- parts of content --- */

struct part {
    struct responses_reading *r;
    struct str object;
    struct llm_block **blocks;
    const struct llm_item *item;
};

static struct llm_block *add_block(const struct part *part, enum llm_block_kind kind,
                                   struct str rest)
{
    struct llm_block *block = llm_block_add(part->r->arena, part->blocks, kind);
    if (block != NULL) {
        block->item = part->item;
        block->rest = rest;
        block->maker = DIALECT_OPENAI_RESPONSES;
    }
    return block;
}

static int read_annotations(struct responses_reading *r, struct json_value list,
                            struct llm_citation **citations)
{
    struct json_cursor cursor;
    struct json_value value;
    json_cursor_init(&cursor, list.text);
    while (json_iter_array(&cursor, &value) == 1) {
        struct llm_citation *citation = ARENA_NEW(r->arena, struct llm_citation);
        if (citation == NULL)
            return responses_no_memory();
        if (value.kind != JSON_OBJECT)
            return responses_refuse(r, "annotations", "must be an array of objects");
        *citation = responses_read_annotation(value.text);
        *citations = citation;
        citations = &citation->next;
    }
    return 0;
}

static int read_text_part(struct part *part)
{
    static const char *const names[] = {"type", "text", "annotations", NULL};
    struct json_value values[RESPONSES_MEMBERS_MAX];
    struct str rest = STR_EMPTY;
    struct text text = TEXT_NONE;
    int r = responses_collect(part->r, part->object, names, values, &rest);
    if (r == 0)
        r = responses_read_text(part->r, "text", values[1], &text);
    if (r < 0)
        return r;
    if (values[2].kind != JSON_NONE && values[2].kind != JSON_ARRAY)
        return responses_refuse(part->r, "annotations", "must be an array");
    struct llm_block *block = add_block(part, BLOCK_TEXT, rest);
    if (block == NULL)
        return responses_no_memory();
    block->text = text;
    return read_annotations(part->r, values[2], &block->citations);
}

static int read_refusal_part(struct part *part)
{
    static const char *const names[] = {"type", "refusal", NULL};
    struct json_value values[RESPONSES_MEMBERS_MAX];
    struct str rest = STR_EMPTY;
    struct text text = TEXT_NONE;
    int r = responses_collect(part->r, part->object, names, values, &rest);
    if (r == 0)
        r = responses_read_text(part->r, "refusal", values[1], &text);
    if (r < 0)
        return r;
    struct llm_block *block = add_block(part, BLOCK_REFUSAL, rest);
    if (block == NULL)
        return responses_no_memory();
    block->text = text;
    return 0;
}

/* "data:TYPE;base64,DATA" into its pieces; anything else is a URL. */
static void read_url(struct text url, struct llm_media *media)
{
    static const struct str scheme = STR_INIT("data:"), base64 = STR_INIT(";base64,");
    ptrdiff_t at = str_starts(url.s, scheme) ? str_find(str_head(url.s, 512), base64) : -1;
    if (at < 0) {
        media->url = url;
        return;
    }
    struct str type = str_skip(str_head(url.s, (size_t)at), scheme.len);
    media->type = (struct text){type, url.is_escaped};
    media->data = (struct text){str_skip(url.s, (size_t)at + base64.len), url.is_escaped};
}

static int read_image_part(struct part *part)
{
    static const char *const names[] = {"type", "image_url", "file_id", "detail", NULL};
    struct json_value values[RESPONSES_MEMBERS_MAX];
    struct str rest = STR_EMPTY;
    struct text url = TEXT_NONE;
    struct llm_media media = {0};
    int r = responses_collect(part->r, part->object, names, values, &rest);
    if (r == 0)
        r = responses_read_text(part->r, "image_url", values[1], &url);
    if (r == 0)
        r = responses_read_text(part->r, "file_id", values[2], &media.file_id);
    if (r == 0)
        r = responses_read_text(part->r, "detail", values[3], &media.detail);
    if (r < 0)
        return r;
    if (text_is_some(url))
        read_url(url, &media);
    struct llm_block *block = add_block(part, BLOCK_IMAGE, rest);
    if (block == NULL)
        return responses_no_memory();
    block->media = media;
    return 0;
}

static int read_file_part(struct part *part)
{
    static const char *const names[] = {"type",    "file_data", "file_url",
                                        "file_id", "filename",  NULL};
    struct json_value values[RESPONSES_MEMBERS_MAX];
    struct str rest = STR_EMPTY;
    struct text data = TEXT_NONE;
    struct llm_media media = {0};
    int r = responses_collect(part->r, part->object, names, values, &rest);
    if (r == 0)
        r = responses_read_text(part->r, "file_data", values[1], &data);
    if (r == 0)
        r = responses_read_text(part->r, "file_url", values[2], &media.url);
    if (r == 0)
        r = responses_read_text(part->r, "file_id", values[3], &media.file_id);
    if (r == 0)
        r = responses_read_text(part->r, "filename", values[4], &media.name);
    if (r < 0)
        return r;
    struct llm_media inside = {0};
    if (text_is_some(data))
        read_url(data, &inside);
    media.type = inside.type;
    media.data = text_is_some(inside.data) ? inside.data : inside.url;
    struct llm_block *block = add_block(part, BLOCK_DOCUMENT, rest);
    if (block == NULL)
        return responses_no_memory();
    block->media = media;
    return 0;
}

/* "mp3" is audio/mpeg; the others are called after their format. */
static struct text audio_type(struct arena *arena, struct text format)
{
    struct str name = text_or(arena, format, STR_EMPTY);
    if (name.len == 0)
        return TEXT_NONE;
    if (str_eq(name, STR("mp3")))
        return text_plain(STR("audio/mpeg"));
    struct str parts[] = {STR("audio/"), name};
    return text_plain(arena_concat(arena, parts, ARRAY_LEN(parts)));
}

static int read_audio_part(struct part *part)
{
    static const char *const names[] = {"type", "input_audio", NULL};
    struct json_value values[RESPONSES_MEMBERS_MAX], value;
    struct str rest = STR_EMPTY;
    struct text data = TEXT_NONE, format = TEXT_NONE;
    int r = responses_collect(part->r, part->object, names, values, &rest);
    if (r < 0)
        return r;
    if (values[1].kind != JSON_OBJECT)
        return responses_refuse(part->r, "input_audio", "must be an object");
    if (json_find(values[1].text, "data", &value))
        r = responses_read_text(part->r, "input_audio.data", value, &data);
    if (r == 0 && json_find(values[1].text, "format", &value))
        r = responses_read_text(part->r, "input_audio.format", value, &format);
    if (r < 0)
        return r;
    struct llm_block *block = add_block(part, BLOCK_AUDIO, rest);
    if (block == NULL)
        return responses_no_memory();
    block->media.data = data;
    block->media.type = audio_type(part->r->arena, format);
    return 0;
}

static const struct {
    const char *type;
    int (*read)(struct part *part);
} part_readers[] = {
    {"input_text", read_text_part}, {"output_text", read_text_part},
    {"refusal", read_refusal_part}, {"input_image", read_image_part},
    {"input_file", read_file_part}, {"input_audio", read_audio_part},
};

static int read_part(struct part *part, struct json_value value)
{
    struct json_value type;
    if (value.kind != JSON_OBJECT)
        return responses_refuse(part->r, "", "must be an object");
    part->object = value.text;
    if (!json_find(value.text, "type", &type) || type.kind != JSON_STRING)
        return responses_refuse(part->r, "type", "must be a string such as \"input_text\"");
    for (size_t i = 0; i < ARRAY_LEN(part_readers); i++) {
        if (json_string_eq(json_string_raw(type), str_c(part_readers[i].type)))
            return part_readers[i].read(part);
    }
    struct llm_block *block = add_block(part, BLOCK_OPAQUE, STR_EMPTY);
    if (block == NULL)
        return responses_no_memory();
    block->raw = value.text;
    return 0;
}

/* Content or output: a string is one text block, an array is parts. */
static int read_parts(struct responses_reading *r, const char *name, struct json_value value,
                      struct llm_item *item, struct llm_block **blocks)
{
    struct part part = {.r = r, .blocks = blocks, .item = item};
    struct json_cursor cursor;
    struct json_value element;
    int result = 0;
    if (value.kind == JSON_STRING) {
        struct llm_block *block = add_block(&part, BLOCK_TEXT, STR_EMPTY);
        if (block == NULL)
            return responses_no_memory();
        block->text = text_of(value);
        item->is_plain = true;
        return 0;
    }
    if (value.kind == JSON_NONE)
        return 0;
    if (value.kind != JSON_ARRAY)
        return responses_refuse(r, name, "must be a string or an array");
    json_cursor_init(&cursor, value.text);
    r->parts = name;
    for (r->part = 0; result == 0 && json_iter_array(&cursor, &element) == 1; r->part++) {
        result = read_part(&part, element);
        part.blocks = llm_blocks_end(part.blocks);
    }
    r->parts = NULL;
    return result;
}

/* --- items --- */

struct item {
    struct responses_reading *r;
    struct str object;
    struct text type;
};

/* What the assistant does goes on in its last message. */
static struct llm_message *message_for(struct responses_reading *r, enum llm_role role)
{
    struct llm_message *last = r->request->last_message;
    if (role == ROLE_ASSISTANT && last != NULL && last->role == ROLE_ASSISTANT)
        return last;
    return llm_message_add(r->arena, r->request, role);
}

/* Where the next block of the message goes: it may have gathered those of many items. */
static struct llm_block **end_of(struct responses_reading *r, struct llm_message *message)
{
    if (r->open_message != message)
        r->open_end = &message->blocks;
    r->open_message = message;
    r->open_end = llm_blocks_end(r->open_end);
    return r->open_end;
}

static struct llm_item *new_item(const struct item *at, struct text id, struct str rest)
{
    struct llm_item *item = ARENA_NEW(at->r->arena, struct llm_item);
    if (item != NULL)
        *item = (struct llm_item){.id = id, .type = at->type, .rest = rest};
    return item;
}

static int read_role(struct item *at, struct json_value value, enum llm_role *role)
{
    static const struct {
        const char *name;
        enum llm_role role;
    } roles[] = {{"user", ROLE_USER},
                 {"assistant", ROLE_ASSISTANT},
                 {"system", ROLE_SYSTEM},
                 {"developer", ROLE_DEVELOPER}};
    for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
        if (value.kind == JSON_STRING &&
            json_string_eq(json_string_raw(value), str_c(roles[i].name))) {
            *role = roles[i].role;
            return 0;
        }
    }
    return responses_refuse(at->r, "role", "must be one of user, assistant, system, developer");
}

static int read_message(struct item *at)
{
    static const char *const names[] = {"type", "role", "id", "content", NULL};
    struct json_value values[RESPONSES_MEMBERS_MAX];
    struct str rest = STR_EMPTY;
    struct text id = TEXT_NONE;
    enum llm_role role = ROLE_USER;
    int r = responses_collect(at->r, at->object, names, values, &rest);
    if (r == 0)
        r = read_role(at, values[1], &role);
    if (r == 0)
        r = responses_read_text(at->r, "id", values[2], &id);
    if (r < 0)
        return r;
    struct llm_item *item = new_item(at, id, rest);
    struct llm_message *message = message_for(at->r, role);
    if (item == NULL || message == NULL)
        return responses_no_memory();
    return read_parts(at->r, "content", values[3], item, end_of(at->r, message));
}

static int add_call(struct item *at, struct llm_item *item, const struct json_value *values,
                    struct text arguments)
{
    struct text id = TEXT_NONE, name = TEXT_NONE;
    int r = responses_read_text(at->r, "call_id", values[2], &id);
    if (r == 0)
        r = responses_read_text(at->r, "name", values[3], &name);
    if (r < 0)
        return r;
    if (!text_is_some(name))
        return responses_refuse(at->r, "name", "is missing: a call names its function");
    if (!text_is_some(id))
        return responses_refuse(at->r, "call_id", "is missing: it joins a call to its output");
    struct llm_message *message = message_for(at->r, ROLE_ASSISTANT);
    struct llm_block *block =
        message == NULL ? NULL
                        : llm_block_add(at->r->arena, end_of(at->r, message), BLOCK_TOOL_CALL);
    if (block == NULL)
        return responses_no_memory();
    block->id = id;
    block->name = name;
    block->arguments = arguments;
    block->item = item;
    return 0;
}

static int read_call(struct item *at)
{
    static const char *const names[] = {"type", "id", "call_id", "name", "arguments", NULL};
    static const char *const custom[] = {"type", "id", "call_id", "name", "input", NULL};
    struct json_value values[RESPONSES_MEMBERS_MAX];
    struct str rest = STR_EMPTY;
    struct text id = TEXT_NONE, arguments = TEXT_NONE;
    bool is_custom = text_eq(at->type, STR("custom_tool_call"));
    int r = responses_collect(at->r, at->object, is_custom ? custom : names, values, &rest);
    if (r == 0)
        r = responses_read_text(at->r, "id", values[1], &id);
    if (r == 0)
        r = responses_read_text(at->r, is_custom ? "input" : "arguments", values[4], &arguments);
    if (r < 0)
        return r;
    if (is_custom) {
        arguments = responses_custom_arguments(at->r->arena, arguments);
        if (!text_is_some(arguments))
            return responses_no_memory();
    }
    struct llm_item *item = new_item(at, id, rest);
    return item == NULL ? responses_no_memory() : add_call(at, item, values, arguments);
}

static int read_output(struct item *at)
{
    static const char *const names[] = {"type", "id", "call_id", "output", NULL};
    struct json_value values[RESPONSES_MEMBERS_MAX];
    struct str rest = STR_EMPTY;
    struct text id = TEXT_NONE, call_id = TEXT_NONE;
    int r = responses_collect(at->r, at->object, names, values, &rest);
    if (r == 0)
        r = responses_read_text(at->r, "id", values[1], &id);
    if (r == 0)
        r = responses_read_text(at->r, "call_id", values[2], &call_id);
    if (r < 0)
        return r;
    if (!text_is_some(call_id))
        return responses_refuse(at->r, "call_id", "is missing: it joins an output to its call");
    struct llm_item *item = new_item(at, id, rest);
    struct llm_message *message = llm_message_add(at->r->arena, at->r->request, ROLE_TOOL);
    struct llm_block *block =
        message == NULL ? NULL : llm_block_add(at->r->arena, &message->blocks, BLOCK_TOOL_RESULT);
    if (item == NULL || block == NULL)
        return responses_no_memory();
    block->id = call_id;
    block->name = llm_request_call_name(&at->r->call_names, at->r->request, call_id);
    block->item = item;
    return read_parts(at->r, "output", values[3], item, &block->blocks);
}

/* Each part of the reasoning's text is a block. */
static int read_thoughts(struct item *at, const char *name, struct json_value list,
                         const struct llm_item *item, struct llm_block **blocks)
{
    bool is_summary = strcmp(name, "summary") == 0;
    struct json_cursor cursor;
    struct json_value value, text;
    if (list.kind == JSON_NONE)
        return 0;
    if (list.kind != JSON_ARRAY)
        return responses_refuse(at->r, name, "must be an array");
    json_cursor_init(&cursor, list.text);
    while (json_iter_array(&cursor, &value) == 1) {
        if (value.kind != JSON_OBJECT || !json_find(value.text, "text", &text) ||
            text.kind != JSON_STRING)
            return responses_refuse(at->r, name, "must be an array of objects with a text");
        struct llm_block *block = llm_block_add(at->r->arena, blocks, BLOCK_THINKING);
        if (block == NULL)
            return responses_no_memory();
        block->text = text_of(text);
        block->item = item;
        if (!is_summary)
            block->name = text_plain(STR("reasoning_text"));
        blocks = &block->next;
    }
    return 0;
}

/* A signature of another maker belongs to one whole text. */
static int join_thoughts(struct item *at, struct llm_block *block)
{
    struct buf text = BUF_INIT;
    buf_add_str(&text, text_or(at->r->arena, block->text, STR_EMPTY));
    for (const struct llm_block *b = block->next; b != NULL; b = b->next) {
        BUF_LIT(&text, "\n\n");
        buf_add_str(&text, text_or(at->r->arena, b->text, STR_EMPTY));
    }
    block->text = text_plain(arena_dup(at->r->arena, buf_str(&text)));
    block->next = NULL;
    bool is_whole = buf_ok(&text) && text_is_some(block->text);
    buf_fini(&text);
    return is_whole ? 0 : responses_no_memory();
}

static int sign(struct item *at, struct llm_block *blocks, struct text encrypted, struct text id)
{
    struct llm_block *last = blocks;
    enum signature_place place = SIGNATURE_OF_THINKING;
    struct llm_signature signature = {TEXT_NONE, DIALECT_OPENAI_RESPONSES};
    if (!text_is_empty(encrypted))
        signature = signature_unmark(at->r->arena, encrypted, DIALECT_OPENAI_RESPONSES, &place);
    if (signature.maker == DIALECT_OPENAI_RESPONSES) {
        while (last->next != NULL)
            last = last->next;
        signature.data = responses_signature_join(at->r->arena, encrypted, id);
        last->signature = signature;
        return 0;
    }
    blocks->is_redacted = responses_unredact(&signature.data);
    blocks->signature = signature;
    blocks->is_for_call = place == SIGNATURE_OF_CALL;
    blocks->item = NULL;
    return blocks->next != NULL ? join_thoughts(at, blocks) : 0;
}

static bool has_content(const struct llm_block *blocks)
{
    while (blocks != NULL && !text_is_some(blocks->name))
        blocks = blocks->next;
    return blocks != NULL;
}

static int read_reasoning(struct item *at)
{
    static const char *const names[] = {"type", "id", "summary", "content", "encrypted_content",
                                        NULL};
    struct json_value values[RESPONSES_MEMBERS_MAX];
    struct str rest = STR_EMPTY;
    struct text id = TEXT_NONE, encrypted = TEXT_NONE;
    struct llm_block *blocks = NULL;
    int r = responses_collect(at->r, at->object, names, values, &rest);
    if (r == 0)
        r = responses_read_text(at->r, "id", values[1], &id);
    if (r == 0)
        r = responses_read_text(at->r, "encrypted_content", values[4], &encrypted);
    if (r < 0)
        return r;
    struct llm_item *item = new_item(at, id, rest);
    struct llm_message *message = message_for(at->r, ROLE_ASSISTANT);
    if (item == NULL || message == NULL)
        return responses_no_memory();
    r = read_thoughts(at, "summary", values[2], item, &blocks);
    if (r == 0)
        r = read_thoughts(at, "content", values[3], item, &blocks);
    /* An empty list has no block that could stand for it. */
    if (r == 0 && values[3].kind == JSON_ARRAY && !has_content(blocks))
        r = responses_keep(at->r, STR("content"), values[3], &item->rest);
    if (r < 0)
        return r;
    if (blocks == NULL) {
        blocks = llm_block_add(at->r->arena, &blocks, BLOCK_THINKING);
        if (blocks == NULL)
            return responses_no_memory();
        blocks->item = item;
    }
    *end_of(at->r, message) = blocks;
    return sign(at, blocks, encrypted, id);
}

/* An item that only this dialect understands: what answers a call of a tool is the client's. */
static int read_opaque(struct item *at)
{
    struct str type = text_or(at->r->arena, at->type, STR_EMPTY);
    bool is_output = str_ends(type, STR("_output")) || str_ends(type, STR("_response"));
    struct llm_message *message = message_for(at->r, is_output ? ROLE_TOOL : ROLE_ASSISTANT);
    struct llm_block *block =
        message == NULL ? NULL : llm_block_add(at->r->arena, end_of(at->r, message), BLOCK_OPAQUE);
    if (block == NULL)
        return responses_no_memory();
    block->raw = at->object;
    block->maker = DIALECT_OPENAI_RESPONSES;
    return 0;
}

static const struct {
    const char *type;
    int (*read)(struct item *at);
} item_readers[] = {
    {"message", read_message},       {"function_call", read_call},
    {"custom_tool_call", read_call}, {"function_call_output", read_output},
    {"reasoning", read_reasoning},   {"custom_tool_call_output", read_output},
};

static int read_item(struct responses_reading *r, struct json_value value)
{
    struct json_value type, role;
    if (value.kind != JSON_OBJECT)
        return responses_refuse(r, "", "must be an object");
    struct item at = {.r = r, .object = value.text};
    if (!json_find(value.text, "type", &type) || type.kind == JSON_NULL) {
        if (!json_find(value.text, "role", &role))
            return responses_refuse(r, "type", "is missing");
        return read_message(&at);
    }
    if (type.kind != JSON_STRING)
        return responses_refuse(r, "type", "must be a string");
    at.type = text_of(type);
    for (size_t i = 0; i < ARRAY_LEN(item_readers); i++) {
        if (text_eq(at.type, str_c(item_readers[i].type)))
            return item_readers[i].read(&at);
    }
    return read_opaque(&at);
}

int responses_read_input(struct responses_reading *r, struct json_value input)
{
    struct json_cursor cursor;
    struct json_value value;
    int result = 0;
    if (input.kind == JSON_STRING) {
        struct llm_message *message = llm_message_add(r->arena, r->request, ROLE_USER);
        struct llm_block *block =
            message == NULL ? NULL : llm_block_add(r->arena, &message->blocks, BLOCK_TEXT);
        if (block == NULL)
            return responses_no_memory();
        block->text = text_of(input);
        return 0;
    }
    if (input.kind != JSON_ARRAY)
        return responses_refuse(r, "input", "must be a string or an array of items");
    json_cursor_init(&cursor, input.text);
    r->list = "input";
    for (r->index = 0; result == 0 && json_iter_array(&cursor, &value) == 1; r->index++)
        result = read_item(r, value);
    r->list = NULL;
    return result;
}
