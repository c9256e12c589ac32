#include "base/err.h"
#include "dialect/anthropic/codec.h"
#include "dialect/field.h"

enum { ID_MAX = 64, PATH_BYTES = 96 };

struct preparing {
    struct llm_request *request;
    struct arena *arena;
    struct llm_notes *notes;
    /* Calls without an id of their own that no result has answered yet, by `blocks`, which calls
     * have no use for. */
    struct llm_block *waiting, **waiting_end;
    unsigned made_ids;
    bool no_memory;
};

static const char *name_of(const struct preparing *p, enum llm_field field)
{
    return llm_field_name(p->request, field);
}

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
    *id = text_plain(arena_printf(p->arena, "toolu_%016llx", (unsigned long long)str_hash(plain)));
    p->no_memory = p->no_memory || !text_is_some(*id);
}

static void make_id(struct preparing *p, struct llm_block *call)
{
    call->id = text_plain(arena_printf(p->arena, "toolu_%u", ++p->made_ids));
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
    struct str name = text_or(p->arena, result->name, STR_EMPTY);
    for (unsigned seen = 0; *link != NULL && name.len > 0 && !text_eq((*link)->name, name);
         link = &(*link)->blocks) {
        if (++seen == LOOKS_AT)
            break;
    }
    if (*link == NULL || !text_eq((*link)->name, name))
        link = &p->waiting;
    struct llm_block *call = *link;
    result->id = call != NULL ? call->id : TEXT_LIT("toolu_0");
    if (call == NULL)
        return;
    *link = call->blocks;
    if (p->waiting_end == &call->blocks)
        p->waiting_end = link;
    call->blocks = NULL;
}

static void settle_id(struct preparing *p, struct llm_block *block)
{
    if (!text_is_empty(block->id))
        mend_id(p, &block->id);
    else if (block->kind == BLOCK_TOOL_CALL)
        make_id(p, block);
    else
        find_id(p, block);
}

/* --- blocks --- */

/* Nothing but white space, escaped or not: the text is not decoded for it. */
static bool is_blank(struct text text)
{
    struct str rest = text.s;
    while (rest.len > 0) {
        bool is_escape = text.is_escaped && rest.ptr[0] == '\\' && rest.len > 1 &&
                         (rest.ptr[1] == 'n' || rest.ptr[1] == 't' || rest.ptr[1] == 'r');
        if (!is_escape && (rest.ptr[0] == '\0' || strchr(" \t\r\n", rest.ptr[0]) == NULL))
            return false;
        rest = str_skip(rest, is_escape ? 2 : 1);
    }
    return true;
}

static bool prepare_result_part(struct preparing *p, struct llm_block *part, const char *path)
{
    bool is_possible = part->kind == BLOCK_TEXT || part->kind == BLOCK_IMAGE ||
                       part->kind == BLOCK_DOCUMENT || part->kind == BLOCK_REFUSAL;
    if (part->kind == BLOCK_TEXT && is_blank(part->text))
        return false;
    if (!is_possible || !anthropic_can_write(part, false)) {
        llm_note_dropped(p->notes, "%s", path);
        return false;
    }
    part->citations = NULL;
    return true;
}

static void prune_result(struct preparing *p, struct llm_block *result, const char *path)
{
    struct llm_block **link = &result->blocks;
    for (unsigned index = 0; *link != NULL; index++) {
        char inner[PATH_BYTES + 16];
        snprintf(inner, sizeof(inner), "%s.%s[%u]", path, name_of(p, FIELD_CONTENT), index);
        if (prepare_result_part(p, *link, inner))
            link = &(*link)->next;
        else
            *link = (*link)->next;
    }
}

/* True when the block stays. */
static bool prepare_block(struct preparing *p, struct llm_block *block, const char *path)
{
    /* Nothing is lost with them, and they are refused. */
    if ((block->kind == BLOCK_TEXT || block->kind == BLOCK_REFUSAL) && is_blank(block->text))
        return false;
    if (!anthropic_can_write(block, false)) {
        llm_note_dropped(p->notes, "%s", path);
        return false;
    }
    if (block->kind == BLOCK_THINKING && !text_is_some(block->signature.data)) {
        llm_note_dropped(p->notes, "thinking");
        return false;
    }
    if (block->citations != NULL)
        llm_note_dropped(p->notes, "%s.citations", path);
    block->citations = NULL;
    if (text_is_some(block->media.detail) && !text_eq(block->media.detail, STR("auto")))
        llm_note_dropped(p->notes, "%s.detail", path);
    if (block->kind == BLOCK_TOOL_CALL || block->kind == BLOCK_TOOL_RESULT)
        settle_id(p, block);
    if (block->kind == BLOCK_TOOL_RESULT)
        prune_result(p, block, path);
    return true;
}

/* A hint on what goes passes to what is before it: the prompt ends there all the same. */
static void prune(struct preparing *p, struct llm_block **link, const char *path)
{
    struct llm_block *before = NULL;
    for (unsigned index = 0; *link != NULL; index++) {
        struct llm_block *block = *link;
        char inner[PATH_BYTES];
        snprintf(inner, sizeof(inner), "%s[%u]", path, index);
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

static void prune_system(struct preparing *p)
{
    struct llm_block **link = &p->request->system;
    for (unsigned index = 0; *link != NULL; index++) {
        struct llm_block *block = *link;
        bool is_text = block->kind == BLOCK_TEXT;
        if (is_text && !is_blank(block->text)) {
            block->citations = NULL;
            link = &block->next;
            continue;
        }
        if (!is_text)
            llm_note_dropped(p->notes, "%s[%u]", name_of(p, FIELD_SYSTEM), index);
        *link = block->next;
    }
}

/* --- messages --- */

static void prune_messages(struct preparing *p)
{
    struct llm_message **link = &p->request->messages;
    bool has_others = false;
    for (unsigned index = 0; *link != NULL; index++) {
        struct llm_message *message = *link;
        char path[PATH_BYTES / 2];
        bool is_system = message->role == ROLE_SYSTEM || message->role == ROLE_DEVELOPER;
        snprintf(path, sizeof(path), "%s[%u]", name_of(p, FIELD_MESSAGES), index);
        if (is_system && has_others)
            llm_note_dropped(p->notes, "%s.role", path);
        if (text_is_some(message->name))
            llm_note_dropped(p->notes, "%s.name", path);
        has_others = has_others || !is_system;
        size_t len = strlen(path);
        if (p->request->source != DIALECT_OPENAI_RESPONSES)
            snprintf(path + len, sizeof(path) - len, ".%s", name_of(p, FIELD_CONTENT));
        prune(p, &message->blocks, path);
        if (message->blocks == NULL)
            *link = message->next;
        else
            link = &message->next;
    }
    llm_request_hoist_system(p->request);
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

/* The beginning of an answer must not end with white space. */
static void trim_prefill(struct preparing *p)
{
    struct llm_message *last = p->request->last_message;
    struct llm_block *block = last != NULL ? last->blocks : NULL;
    while (block != NULL && block->next != NULL)
        block = block->next;
    if (block == NULL || last->role != ROLE_ASSISTANT || block->kind != BLOCK_TEXT)
        return;
    struct str text = text_or(p->arena, block->text, STR_EMPTY);
    size_t len = text.len;
    while (len > 0 && text.ptr[len - 1] != '\0' && strchr(" \t\r\n", text.ptr[len - 1]) != NULL)
        len--;
    if (len < text.len)
        block->text = text_plain(str_head(text, len));
}

int anthropic_prepare(struct llm_request *request, struct arena *arena, struct llm_notes *notes)
{
    struct preparing p = {.request = request, .arena = arena, .notes = notes};
    p.waiting_end = &p.waiting;
    prune_messages(&p);
    prune_system(&p);
    llm_request_join_turns(request, true);
    supply_first_turn(&p);
    trim_prefill(&p);
    return p.no_memory ? anthropic_no_memory() : 0;
}
