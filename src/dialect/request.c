#include "dialect/request.h"

const char *const dialect_names[DIALECT_COUNT + 1] = {
    [DIALECT_OPENAI_CHAT] = "openai_chat", [DIALECT_ANTHROPIC] = "anthropic",
    [DIALECT_GEMINI] = "gemini",           [DIALECT_BEDROCK] = "bedrock",
    [DIALECT_COHERE] = "cohere",           [DIALECT_OPENAI_RESPONSES] = "openai_responses",
};

/* Appends to a list that is linked by `next`. Lists are short or are built from one end. */
#define APPEND(list, item)             \
    do {                               \
        while (*(list) != NULL)        \
            (list) = &(*(list))->next; \
        *(list) = (item);              \
    } while (0)

struct llm_block *llm_block_add(struct arena *arena, struct llm_block **list,
                                enum llm_block_kind kind)
{
    struct llm_block *block = ARENA_NEW(arena, struct llm_block);
    if (block == NULL)
        return NULL;
    block->kind = kind;
    APPEND(list, block);
    return block;
}

struct llm_message *llm_message_add(struct arena *arena, struct llm_request *request,
                                    enum llm_role role)
{
    struct llm_message *message = ARENA_NEW(arena, struct llm_message);
    if (message == NULL)
        return NULL;
    message->role = role;
    if (request->last_message != NULL)
        request->last_message->next = message;
    else
        request->messages = message;
    request->last_message = message;
    return message;
}

struct llm_tool *llm_tool_add(struct arena *arena, struct llm_request *request)
{
    struct llm_tool *tool = ARENA_NEW(arena, struct llm_tool);
    struct llm_tool **list =
        request->last_tool != NULL ? &request->last_tool->next : &request->tools;
    if (tool == NULL)
        return NULL;
    APPEND(list, tool);
    request->last_tool = tool;
    return tool;
}

bool llm_name_add(struct arena *arena, struct llm_name **list, struct text text)
{
    struct llm_name *name = ARENA_NEW(arena, struct llm_name);
    if (name == NULL)
        return false;
    name->text = text;
    APPEND(list, name);
    return true;
}

struct llm_block **llm_blocks_end(struct llm_block **list)
{
    while (*list != NULL)
        list = &(*list)->next;
    return list;
}

bool llm_extra_add(struct arena *arena, struct llm_request *request, struct str prefix,
                   struct str key, struct json_value value)
{
    if (value.kind == JSON_NULL)
        return true;
    struct llm_extra *extra = ARENA_NEW(arena, struct llm_extra);
    struct str parts[] = {prefix, prefix.len > 0 ? STR(".") : STR_EMPTY, key};
    if (extra == NULL)
        return false;
    extra->name = prefix.len > 0 ? arena_concat(arena, parts, ARRAY_LEN(parts)) : key;
    extra->raw = value.text;
    if (extra->name.ptr == NULL)
        return false;
    if (request->last_extra != NULL)
        request->last_extra->next = extra;
    else
        request->extras = extra;
    request->last_extra = extra;
    return true;
}

const struct llm_extra *llm_extra_take(struct llm_request *request, unsigned from, const char *name)
{
    if ((from & (1u << request->source)) == 0)
        return NULL;
    for (struct llm_extra *extra = request->extras; extra != NULL; extra = extra->next) {
        if (str_eq(extra->name, str_c(name))) {
            extra->is_taken = true;
            return extra;
        }
    }
    return NULL;
}

static bool same_text(struct text a, struct text b)
{
    if (a.is_escaped == b.is_escaped && str_eq(a.s, b.s))
        return true;
    return a.is_escaped ? json_string_is_plain(b.s) && text_eq(a, b.s)
                        : json_string_is_plain(a.s) && text_eq(b, a.s);
}

/* --- the names of calls --- */

struct llm_call_entry {
    struct llm_call_entry *next; /* of the bucket */
    struct str id;
    struct text name;
};

enum { CALL_NAMES_BITS_MIN = 4 };

static struct str plain_id(struct arena *arena, struct text id)
{
    return id.is_escaped ? text_or(arena, id, id.s) : id.s;
}

static struct llm_call_entry **bucket_of(const struct llm_call_names *names, struct str id)
{
    return &names->table[str_hash(id) >> (64 - names->bits)];
}

static const struct llm_call_entry *find_call(struct llm_call_names *names, struct str id)
{
    if (names->table == NULL)
        return NULL;
    for (const struct llm_call_entry *e = *bucket_of(names, id); e != NULL; e = e->next) {
        names->compared++;
        if (str_eq(e->id, id))
            return e;
    }
    return NULL;
}

/* As many buckets as there are calls, at least. */
static bool grow_table(struct llm_call_names *names)
{
    struct llm_call_names old = *names;
    names->bits = old.table == NULL ? CALL_NAMES_BITS_MIN : old.bits + 1;
    names->table = arena_calloc(names->arena, sizeof(*names->table) << names->bits);
    if (names->table == NULL)
        return false;
    for (size_t i = 0; old.table != NULL && i >> old.bits == 0; i++) {
        struct llm_call_entry *entry = old.table[i], *next;
        for (; entry != NULL; entry = next) {
            struct llm_call_entry **bucket = bucket_of(names, entry->id);
            next = entry->next;
            entry->next = *bucket;
            *bucket = entry;
        }
    }
    return true;
}

static bool note_call(struct llm_call_names *names, const struct llm_block *block)
{
    struct str id = plain_id(names->arena, block->id);
    if (find_call(names, id) != NULL)
        return true;
    if ((names->table == NULL || names->count >> names->bits > 0) && !grow_table(names))
        return false;
    struct llm_call_entry *entry = ARENA_NEW(names->arena, struct llm_call_entry);
    if (entry == NULL)
        return false;
    struct llm_call_entry **bucket = bucket_of(names, id);
    *entry = (struct llm_call_entry){.next = *bucket, .id = id, .name = block->name};
    *bucket = entry;
    names->count++;
    return true;
}

/* What has come since the last look: lists only grow at their ends. */
static bool read_on(struct llm_call_names *names, const struct llm_request *request)
{
    if (names->message == NULL)
        names->message = request->messages;
    while (names->message != NULL) {
        const struct llm_block *b =
            names->block != NULL ? names->block->next : names->message->blocks;
        for (; b != NULL; b = b->next) {
            if (b->kind == BLOCK_TOOL_CALL && text_is_some(b->id) && !note_call(names, b))
                return false;
            names->block = b;
        }
        if (names->message->next == NULL)
            return true;
        names->message = names->message->next;
        names->block = NULL;
    }
    return true;
}

static struct text look_through(const struct llm_request *request, struct text id)
{
    for (const struct llm_message *m = request->messages; m != NULL; m = m->next) {
        for (const struct llm_block *b = m->blocks; b != NULL; b = b->next) {
            if (b->kind == BLOCK_TOOL_CALL && text_is_some(b->id) && same_text(b->id, id))
                return b->name;
        }
    }
    return TEXT_NONE;
}

struct text llm_request_call_name(struct llm_call_names *names, const struct llm_request *request,
                                  struct text id)
{
    names->has_failed = names->has_failed || !read_on(names, request);
    if (names->has_failed)
        return look_through(request, id);
    const struct llm_call_entry *entry = find_call(names, plain_id(names->arena, id));
    return entry != NULL ? entry->name : TEXT_NONE;
}

bool llm_request_hoist_system(struct llm_request *request)
{
    struct llm_block **end = &request->system;
    struct llm_message **link = &request->messages;
    bool has_others = false;
    bool moved_up = false;
    request->last_message = NULL;
    while (*end != NULL)
        end = &(*end)->next;
    while (*link != NULL) {
        struct llm_message *message = *link;
        if (message->role != ROLE_SYSTEM && message->role != ROLE_DEVELOPER) {
            has_others = true;
            request->last_message = message;
            link = &message->next;
            continue;
        }
        moved_up = moved_up || has_others;
        *end = message->blocks;
        while (*end != NULL)
            end = &(*end)->next;
        *link = message->next;
    }
    return moved_up;
}

/* Results answer calls: they stand before what the user says to them. */
static struct llm_block *results_first(struct llm_block *blocks)
{
    struct llm_block *results = NULL;
    struct llm_block *others = NULL;
    struct llm_block **result_end = &results;
    struct llm_block **other_end = &others;
    for (struct llm_block *next; blocks != NULL; blocks = next) {
        struct llm_block ***end = blocks->kind == BLOCK_TOOL_RESULT ? &result_end : &other_end;
        next = blocks->next;
        blocks->next = NULL;
        **end = blocks;
        *end = &blocks->next;
    }
    *result_end = others;
    return results;
}

void llm_request_join_turns(struct llm_request *request, bool joins_tools)
{
    for (struct llm_message *m = request->messages; m != NULL; m = m->next) {
        struct llm_block **end = &m->blocks;
        if (joins_tools && m->role == ROLE_TOOL)
            m->role = ROLE_USER;
        while (m->next != NULL) {
            struct llm_message *next = m->next;
            enum llm_role role = joins_tools && next->role == ROLE_TOOL ? ROLE_USER : next->role;
            if (role != m->role)
                break;
            while (*end != NULL)
                end = &(*end)->next;
            *end = next->blocks;
            m->next = next->next;
        }
        if (m->role == ROLE_USER)
            m->blocks = results_first(m->blocks);
        if (m->next == NULL)
            request->last_message = m;
    }
}

bool llm_blocks_are_text(const struct llm_block *blocks)
{
    for (; blocks != NULL; blocks = blocks->next) {
        if (blocks->kind != BLOCK_TEXT)
            return false;
    }
    return true;
}

void llm_blocks_write_text(struct buf *out, const struct llm_block *blocks, struct str separator)
{
    bool is_first = true;
    buf_add_char(out, '"');
    for (; blocks != NULL; blocks = blocks->next) {
        if (blocks->kind != BLOCK_TEXT)
            continue;
        if (!is_first && separator.len > 0)
            text_write_inside(out, text_plain(separator));
        text_write_inside(out, blocks->text);
        is_first = false;
    }
    buf_add_char(out, '"');
}

void llm_arguments_write_object(struct buf *out, struct arena *arena, struct text arguments)
{
    struct str plain = str_trim(text_or(arena, arguments, STR_EMPTY));
    struct json_scan scan;
    if (plain.len == 0) {
        BUF_LIT(out, "{}");
    } else if (json_scan_object(plain, JSON_DEPTH_DEFAULT, NULL, 0, &scan) == 0) {
        buf_add_str(out, plain);
    } else {
        BUF_LIT(out, "{\"arguments\":");
        text_write(out, arguments);
        buf_add_char(out, '}');
    }
}

bool llm_number(struct str source, double *out)
{
    return source.len > 0 && json_number_double((struct json_value){JSON_NUMBER, source}, out);
}
