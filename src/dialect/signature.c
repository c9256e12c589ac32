#include "dialect/signature.h"

#include "dialect/target.h"

#define MARK STR("weir:")
/* The same in base64, with the bits that every dialect's name begins with: Gemini's field is one.
 */
#define MARK_BASE64 STR("d2Vpcjp")

static const char *const place_names[] = {
    [SIGNATURE_OF_THINKING] = "thinking",
    [SIGNATURE_OF_CALL] = "call",
};

struct text signature_mark(struct arena *arena, const struct llm_signature *signature,
                           enum signature_place place, enum dialect_id reader)
{
    if (!text_is_some(signature->data))
        return TEXT_NONE;
    if (signature->maker == reader && place == SIGNATURE_OF_THINKING)
        return signature->data;
    struct str parts[] = {MARK,     str_c(dialect_names[signature->maker]),
                          STR(":"), str_c(place_names[place]),
                          STR(":"), signature->data.s};
    return (struct text){arena_concat(arena, parts, ARRAY_LEN(parts)), signature->data.is_escaped};
}

/* Takes the mark off the front of *s; false when there is none. */
static bool take_mark(struct str *s, enum dialect_id *maker, enum signature_place *place)
{
    struct str rest = *s;
    if (!str_starts(rest, MARK))
        return false;
    rest = str_skip(rest, MARK.len);
    for (unsigned id = 0; id < DIALECT_COUNT; id++) {
        struct str name = str_c(dialect_names[id]);
        if (!str_starts(rest, name) || !str_starts(str_skip(rest, name.len), STR(":")))
            continue;
        struct str after = str_skip(rest, name.len + 1);
        for (unsigned p = 0; p < ARRAY_LEN(place_names); p++) {
            struct str word = str_c(place_names[p]);
            if (!str_starts(after, word) || !str_starts(str_skip(after, word.len), STR(":")))
                continue;
            *maker = (enum dialect_id)id;
            *place = (enum signature_place)p;
            *s = str_skip(after, word.len + 1);
            return true;
        }
    }
    return false;
}

struct llm_signature signature_unmark(struct arena *arena, struct text data, enum dialect_id reader,
                                      enum signature_place *place)
{
    struct llm_signature signature = {data, reader};
    struct str plain;
    *place = SIGNATURE_OF_THINKING;
    if (!text_is_some(data) || take_mark(&signature.data.s, &signature.maker, place))
        return signature;
    /* Nobody escapes a letter or a colon, but anybody may. */
    if (data.is_escaped && str_starts(data.s, STR("\\")) && text_get(arena, data, &plain) == 0 &&
        take_mark(&plain, &signature.maker, place))
        signature.data = text_plain(plain);
    return signature;
}

bool signature_is_marked(struct str body)
{
    enum dialect_id maker;
    enum signature_place place;
    struct str rest = body;
    for (ptrdiff_t at; (at = str_find(rest, MARK)) >= 0;) {
        rest = str_skip(rest, (size_t)at);
        struct str mark = rest;
        if (take_mark(&mark, &maker, &place))
            return true;
        rest = str_skip(rest, 1);
    }
    return str_find(body, MARK_BASE64) >= 0;
}

/* --- moving through the messages of a request --- */

static bool is_carrier(const struct llm_block *block)
{
    return block->kind == BLOCK_THINKING && block->is_for_call && text_is_empty(block->text);
}

/* The first call without a signature from `block` on, before the user's turn. */
static struct llm_block *next_call(const struct llm_message *message, struct llm_block *block)
{
    for (;;) {
        for (; block != NULL; block = block->next) {
            if (block->kind == BLOCK_TOOL_CALL && !text_is_some(block->signature.data))
                return block;
        }
        message = message->next;
        if (message == NULL || message->role != ROLE_ASSISTANT)
            return NULL;
        block = message->blocks;
    }
}

/* Takes out the messages that `keeps` has emptied. */
typedef bool keep_block_fn(struct llm_message *message, struct llm_block *block, void *ctx);

static void filter_blocks(struct llm_request *request, keep_block_fn *keeps, void *ctx)
{
    struct llm_message **link = &request->messages;
    request->last_message = NULL;
    while (*link != NULL) {
        struct llm_message *message = *link;
        struct llm_block **at = &message->blocks;
        bool had_any = *at != NULL;
        while (*at != NULL) {
            if (keeps(message, *at, ctx))
                at = &(*at)->next;
            else
                *at = (*at)->next;
        }
        if (had_any && message->blocks == NULL) {
            *link = message->next;
            continue;
        }
        request->last_message = message;
        link = &message->next;
    }
}

static bool settle_block(struct llm_message *message, struct llm_block *block, void *ctx)
{
    (void)ctx;
    if (!is_carrier(block))
        return true;
    struct llm_block *call = next_call(message, block->next);
    if (call != NULL)
        call->signature = block->signature;
    return false;
}

void signature_settle(struct llm_request *request)
{
    filter_blocks(request, settle_block, NULL);
}

struct strip {
    enum dialect_id target;
    bool needs_own;
    bool has_lost;
};

static bool strip_block(struct llm_message *message, struct llm_block *block, void *ctx)
{
    struct strip *strip = ctx;
    (void)message;
    if (text_is_some(block->signature.data) && block->signature.maker != strip->target) {
        block->signature = (struct llm_signature){TEXT_NONE, strip->target};
        strip->has_lost = true;
        if (block->kind == BLOCK_THINKING && (block->is_redacted || text_is_empty(block->text)))
            return false;
    }
    if (block->kind == BLOCK_THINKING && strip->needs_own && !text_is_some(block->signature.data)) {
        strip->has_lost = true;
        return false;
    }
    return true;
}

void signature_strip(struct llm_request *request, enum dialect_id target, bool needs_own,
                     struct llm_notes *notes)
{
    struct strip strip = {target, needs_own, false};
    filter_blocks(request, strip_block, &strip);
    if (strip.has_lost)
        llm_note_dropped(notes, "thinking");
}
