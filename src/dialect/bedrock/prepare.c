#include "base/err.h"
#include "dialect/bedrock/content.h"
#include "dialect/bedrock/request.h"

enum {
    ID_MAX = 64, /* what every model on Bedrock takes: Claude wants [a-zA-Z0-9_-] */
    NAME_MAX_CHARS = 200,
    PATH_BYTES = 96,
};

struct preparing {
    struct llm_request *request;
    struct arena *arena;
    struct llm_notes *notes;
    struct llm_block *waiting; /* calls without an id of their own, by `blocks`, which they lack */
    struct llm_block **waiting_end;
    unsigned made_ids;
    struct str document_names[64]; /* those beyond get their number in any case */
    unsigned documents;
    bool no_memory;
};

/* --- ids of calls --- */

static bool is_id(struct str id)
{
    for (size_t i = 0; i < id.len; i++) {
        char c = id.ptr[i];
        bool is_word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!is_word && c != '_' && c != '-')
            return false;
    }
    return id.len > 0 && id.len <= ID_MAX;
}

/* The same id always becomes the same: a call and its result, in this turn and in later ones. */
static void mend_id(struct preparing *p, struct text *id)
{
    struct str plain = text_or(p->arena, *id, STR_EMPTY);
    if (is_id(plain))
        return;
    uint64_t hash = str_hash(plain);
    *id = text_plain(arena_printf(p->arena, "call_%016llx", (unsigned long long)hash));
    p->no_memory = p->no_memory || !text_is_some(*id);
}

static void make_id(struct preparing *p, struct llm_block *call)
{
    call->id = text_plain(arena_printf(p->arena, "call_%u", ++p->made_ids));
    p->no_memory = p->no_memory || !text_is_some(call->id);
    call->blocks = NULL;
    *p->waiting_end = call;
    p->waiting_end = &call->blocks;
}

/* Results without an id belong to the first call of their name that waits for one. */
static void find_id(struct preparing *p, struct llm_block *result)
{
    enum { LOOKS_AT = 256 }; /* no turn has more calls */
    struct llm_block **link = &p->waiting;
    unsigned seen = 0;
    while (*link != NULL && text_is_some(result->name) && seen++ < LOOKS_AT &&
           !((*link)->name.is_escaped == result->name.is_escaped &&
             str_eq((*link)->name.s, result->name.s)))
        link = &(*link)->blocks;
    if (*link == NULL || seen > LOOKS_AT)
        link = &p->waiting;
    struct llm_block *call = *link;
    if (call == NULL) {
        result->id = TEXT_LIT("call_0");
        return;
    }
    result->id = call->id;
    *link = call->blocks;
    if (p->waiting_end == &call->blocks)
        p->waiting_end = link;
    call->blocks = NULL;
}

static void settle_ids(struct preparing *p, struct llm_block *block)
{
    if (block->kind == BLOCK_TOOL_CALL) {
        if (text_is_empty(block->id))
            make_id(p, block);
        else
            mend_id(p, &block->id);
    } else if (block->kind == BLOCK_TOOL_RESULT) {
        if (text_is_empty(block->id))
            find_id(p, block);
        else
            mend_id(p, &block->id);
    }
}

/* --- names of documents --- */

static bool is_name_char(char c)
{
    bool is_word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    return is_word || (c != '\0' && strchr("-()[] ", c) != NULL);
}

/* Letters, digits, hyphens, parentheses, brackets and single spaces. */
static struct str name_for(struct arena *arena, struct str told)
{
    char name[NAME_MAX_CHARS];
    size_t len = 0;
    for (size_t i = 0; i < told.len && len < sizeof(name); i++) {
        char c = is_name_char(told.ptr[i]) ? told.ptr[i] : '-';
        bool is_again = len > 0 && name[len - 1] == c && (c == ' ' || !is_name_char(told.ptr[i]));
        if (!is_again)
            name[len++] = c;
    }
    struct str s = str_trim(str_n(name, len));
    return s.len > 0 ? arena_dup(arena, s) : STR("document");
}

static bool is_name_taken(const struct preparing *p, struct str name)
{
    for (unsigned i = 0; i < p->documents; i++) {
        if (i == ARRAY_LEN(p->document_names) || str_eq(p->document_names[i], name))
            return true;
    }
    return false;
}

/* Names are those that Bedrock takes, and each of its own. */
static void name_document(struct preparing *p, struct llm_block *block, const char *path)
{
    struct str told = text_or(p->arena, block->media.name, STR_EMPTY);
    struct str base = name_for(p->arena, told), name = base;
    if (is_name_taken(p, name))
        name = arena_printf(p->arena, "%.*s (%u)", STR_ARG(str_head(base, NAME_MAX_CHARS - 13)),
                            p->documents + 1);
    if (name.ptr == NULL) {
        p->no_memory = true;
        return;
    }
    if (p->documents < ARRAY_LEN(p->document_names))
        p->document_names[p->documents] = name;
    p->documents++;
    block->media.name = text_plain(name);
    if (!str_eq(name, told))
        llm_note_supplied(p->notes, "%s.document.name=%.*s", path, STR_ARG(name));
}

/* --- blocks --- */

static bool is_blank(struct preparing *p, struct text text)
{
    struct str rest = text_or(p->arena, text, STR_EMPTY);
    while (rest.len > 0 && strchr(" \t\r\n", rest.ptr[0]) != NULL && rest.ptr[0] != '\0')
        rest = str_skip(rest, 1);
    return rest.len == 0;
}

static void prune(struct preparing *p, struct llm_block **link, const char *path);

/* True when the block stays. */
static bool prepare_block(struct preparing *p, struct llm_block *block, const char *path)
{
    const char *what;
    /* Nothing is lost with them, and Bedrock refuses them. */
    if (block->kind == BLOCK_TEXT && is_blank(p, block->text))
        return false;
    if (!bedrock_can_write(p->arena, block, &what)) {
        llm_note_dropped(p->notes, "%s", path);
        return false;
    }
    if (what[0] != '\0')
        llm_note_dropped(p->notes, "%s.%s", path, what);
    block->citations = NULL;
    settle_ids(p, block);
    if (block->kind == BLOCK_DOCUMENT)
        name_document(p, block, path);
    if (block->kind == BLOCK_TOOL_RESULT)
        prune(p, &block->blocks, path);
    return true;
}

/* A hint on what goes passes to what is before it: the prompt ends there all the same. */
static void prune(struct preparing *p, struct llm_block **link, const char *path)
{
    struct llm_block *before = NULL;
    const char *content = llm_field_name(p->request, FIELD_CONTENT);
    for (unsigned index = 0; *link != NULL; index++) {
        struct llm_block *block = *link;
        char inner[PATH_BYTES];
        snprintf(inner, sizeof(inner), "%s.%s[%u]", path, content, index);
        if (prepare_block(p, block, inner)) {
            before = block;
            link = &block->next;
            continue;
        }
        if (before != NULL && before->cache == CACHE_NONE)
            before->cache = block->cache;
        *link = block->next;
    }
}

/* --- messages --- */

static void prune_messages(struct preparing *p)
{
    struct llm_message **link = &p->request->messages;
    const char *messages = llm_field_name(p->request, FIELD_MESSAGES);
    bool has_others = false;
    for (unsigned index = 0; *link != NULL; index++) {
        struct llm_message *message = *link;
        char path[PATH_BYTES];
        bool is_system = message->role == ROLE_SYSTEM || message->role == ROLE_DEVELOPER;
        snprintf(path, sizeof(path), "%s[%u]", messages, index);
        if (is_system && has_others)
            llm_note_dropped(p->notes, "%s.role", path);
        if (text_is_some(message->name))
            llm_note_dropped(p->notes, "%s.name", path);
        has_others = has_others || !is_system;
        prune(p, &message->blocks, path);
        if (message->blocks == NULL)
            *link = message->next;
        else
            link = &message->next;
    }
    llm_request_hoist_system(p->request);
}

static void prune_system(struct preparing *p)
{
    struct llm_block **link = &p->request->system;
    struct llm_block *before = NULL;
    for (unsigned index = 0; *link != NULL; index++) {
        struct llm_block *block = *link;
        if (block->kind == BLOCK_TEXT && !is_blank(p, block->text)) {
            block->citations = NULL;
            before = block;
            link = &block->next;
            continue;
        }
        if (block->kind != BLOCK_TEXT)
            llm_note_dropped(p->notes, "%s[%u]", llm_field_name(p->request, FIELD_SYSTEM), index);
        if (before != NULL && before->cache == CACHE_NONE)
            before->cache = block->cache;
        *link = block->next;
    }
}

/* The user speaks first, even where nothing was said. */
static void supply_first_turn(struct preparing *p)
{
    struct llm_request *request = p->request;
    if (request->messages != NULL && request->messages->role == ROLE_USER)
        return;
    struct llm_message *first = ARENA_NEW(p->arena, struct llm_message);
    struct llm_block *block =
        first != NULL ? llm_block_add(p->arena, &first->blocks, BLOCK_TEXT) : NULL;
    if (block == NULL) {
        p->no_memory = true;
        return;
    }
    block->text = TEXT_LIT("Continue.");
    first->next = request->messages;
    request->messages = first;
    if (first->next == NULL)
        request->last_message = first;
    llm_note_supplied(p->notes, "messages[0]=Continue.");
}

int bedrock_prepare(struct llm_request *request, struct arena *arena, struct llm_notes *notes)
{
    struct preparing p = {.request = request, .arena = arena, .notes = notes};
    p.waiting_end = &p.waiting;
    prune_messages(&p);
    prune_system(&p);
    llm_request_join_turns(request, true);
    supply_first_turn(&p);
    return p.no_memory ? bedrock_no_memory() : 0;
}
