#include "dialect/openai_responses/codec.h"

/*
 * Messages as items. Blocks that were of one item become one again; those of other dialects become
 * a message for each run of text and media, and an item for each thought, call and result.
 */

struct writing {
    struct responses_list *items;
    const struct llm_request *request;
    const struct llm_message *message;
    struct arena *arena;
    struct llm_notes *notes;
    unsigned message_index, block_index;
    bool is_own;
};

/* What messages and their blocks are called by the dialect that the request came in. */
static const struct {
    const char *messages, *blocks;
} spellings[DIALECT_COUNT] = {
    [DIALECT_OPENAI_CHAT] = {"messages", "content"},
    [DIALECT_ANTHROPIC] = {"messages", "content"},
    [DIALECT_GEMINI] = {"contents", "parts"},
    [DIALECT_BEDROCK] = {"messages", "content"},
    [DIALECT_COHERE] = {"messages", "content"},
    [DIALECT_OPENAI_RESPONSES] = {"input", "content"},
};

static void note_block(const struct writing *w, const char *member)
{
    enum dialect_id source = w->request->source;
    llm_note_dropped(w->notes, "%s[%u].%s[%u]%s", spellings[source].messages, w->message_index,
                     spellings[source].blocks, w->block_index, member);
}

static void add_rest(struct responses_list *members, struct str rest)
{
    if (rest.len == 0)
        return;
    responses_next(members);
    buf_add_str(members->out, rest);
}

/* --- parts --- */

static bool is_part(const struct llm_block *block)
{
    switch (block->kind) {
    case BLOCK_TEXT:
    case BLOCK_IMAGE:
    case BLOCK_AUDIO:
    case BLOCK_VIDEO:
    case BLOCK_DOCUMENT:
    case BLOCK_REFUSAL:
        return true;
    case BLOCK_OPAQUE:
        return block->item != NULL;
    default:
        return false;
    }
}

/* A file of another provider, or an address that only Google or Amazon can open. */
static bool is_reachable(const struct writing *w, const struct llm_media *media)
{
    bool is_openai = w->is_own || w->request->source == DIALECT_OPENAI_CHAT;
    if (text_is_some(media->data) || w->is_own)
        return true;
    if (text_is_some(media->url))
        return !str_starts(media->url.s, STR("gs:")) && !str_starts(media->url.s, STR("s3:"));
    return text_is_some(media->file_id) && is_openai;
}

static bool can_write_part(const struct writing *w, const struct llm_block *block, bool is_answer)
{
    switch (block->kind) {
    case BLOCK_TEXT:
        return true;
    case BLOCK_REFUSAL:
        return is_answer;
    case BLOCK_DOCUMENT:
        if (text_is_some(block->text))
            return !is_answer;
        return !is_answer && is_reachable(w, &block->media);
    case BLOCK_IMAGE:
        return !is_answer && is_reachable(w, &block->media);
    case BLOCK_AUDIO:
        return !is_answer && text_is_some(block->media.data);
    case BLOCK_OPAQUE:
        return block->maker == DIALECT_OPENAI_RESPONSES;
    default:
        return false;
    }
}

static void write_annotations(struct responses_list *members, const struct llm_block *block,
                              bool is_demanded)
{
    struct responses_list list = {members->out, false};
    struct buf *out = members->out;
    if (block->citations == NULL && !is_demanded)
        return;
    responses_member(members, "annotations");
    buf_add_char(out, '[');
    for (const struct llm_citation *c = block->citations; c != NULL; c = c->next) {
        bool is_known = c->maker == DIALECT_OPENAI_RESPONSES || !text_is_empty(c->url) ||
                        !text_is_empty(c->title) || c->document >= 0;
        if (!is_known)
            continue;
        responses_next(&list);
        responses_write_annotation(out, c, 0);
    }
    buf_add_char(out, ']');
}

static void write_text_part(struct buf *out, const struct llm_block *block, bool is_answer)
{
    struct responses_list members = {out, false};
    bool is_refusal = block->kind == BLOCK_REFUSAL;
    const char *type = is_refusal ? "refusal" : is_answer ? "output_text" : "input_text";
    buf_add_char(out, '{');
    responses_member_text(&members, "type", text_plain(str_c(type)));
    responses_member_text(&members, is_refusal ? "refusal" : "text", block->text);
    if (is_answer && !is_refusal)
        write_annotations(&members, block, block->item == NULL || text_is_some(block->item->type));
    if (block->item != NULL)
        add_rest(&members, block->rest);
    buf_add_char(out, '}');
}

static void write_part(const struct writing *w, struct buf *out, const struct llm_block *block,
                       bool is_answer)
{
    bool is_text = block->kind == BLOCK_TEXT || block->kind == BLOCK_REFUSAL ||
                   (block->kind == BLOCK_DOCUMENT && text_is_some(block->text));
    if (block->cache != CACHE_NONE)
        llm_note_dropped(w->notes, "cache_control");
    if (block->wants_citations)
        note_block(w, ".citations");
    if (block->kind == BLOCK_OPAQUE) {
        buf_add_str(out, block->raw);
        return;
    }
    if (is_text) {
        if (block->kind == BLOCK_DOCUMENT && text_is_some(block->media.name))
            note_block(w, ".title");
        write_text_part(out, block, is_answer);
        return;
    }
    if (block->kind == BLOCK_DOCUMENT && text_is_some(block->media.data) &&
        !text_is_some(block->media.name) && block->item == NULL)
        llm_note_supplied(w->notes, "filename=document.pdf");
    responses_write_media(out, block);
}

/* The run of parts that begins at `block` and is of one item; returns what comes after it. */
static const struct llm_block *run_end(const struct llm_block *block)
{
    const struct llm_item *item = block->item;
    while (block != NULL && is_part(block) && block->item == item)
        block = block->next;
    return block;
}

static const char *role_name(enum llm_role role)
{
    switch (role) {
    case ROLE_ASSISTANT:
        return "assistant";
    case ROLE_SYSTEM:
        return "system";
    case ROLE_DEVELOPER:
        return "developer";
    default:
        return "user";
    }
}

/* One text alone is written as a string, unless it came as a part. */
static bool is_string(const struct llm_block *block, const struct llm_block *end)
{
    bool is_plain = block->item == NULL || block->item->is_plain;
    return is_plain && block->kind == BLOCK_TEXT && block->next == end && block->citations == NULL;
}

static const struct llm_block *write_message(struct writing *w, const struct llm_block *block)
{
    const struct llm_block *end = run_end(block);
    const struct llm_item *item = block->item;
    bool is_answer = w->message->role == ROLE_ASSISTANT;
    struct buf *out = w->items->out;
    struct responses_list members = {out, false}, parts = {out, false};
    bool has_any = false;
    unsigned first = w->block_index;
    for (const struct llm_block *b = block; b != end; b = b->next, w->block_index++) {
        if (!can_write_part(w, b, is_answer))
            note_block(w, "");
        else
            has_any = true;
    }
    if (!has_any)
        return end;
    responses_next(w->items);
    buf_add_char(out, '{');
    if (item != NULL && text_is_some(item->type))
        responses_member_text(&members, "type", item->type);
    if (item != NULL && text_is_some(item->id))
        responses_member_text(&members, "id", item->id);
    responses_member_text(&members, "role", text_plain(str_c(role_name(w->message->role))));
    responses_member(&members, "content");
    if (is_string(block, end)) {
        text_write(out, block->text);
        if (block->cache != CACHE_NONE)
            llm_note_dropped(w->notes, "cache_control");
    } else {
        buf_add_char(out, '[');
        w->block_index = first;
        for (const struct llm_block *b = block; b != end; b = b->next, w->block_index++) {
            if (!can_write_part(w, b, is_answer))
                continue;
            responses_next(&parts);
            write_part(w, out, b, is_answer);
        }
        buf_add_char(out, ']');
    }
    if (item != NULL)
        add_rest(&members, item->rest);
    buf_add_char(out, '}');
    return end;
}

/* --- reasoning --- */

static void write_thoughts(struct responses_list *members, const char *name, const char *type,
                           const struct llm_block *block, const struct llm_block *end,
                           bool is_content)
{
    struct responses_list list = {members->out, false};
    responses_member(members, name);
    buf_add_char(members->out, '[');
    for (; block != end; block = block->next) {
        if (text_is_some(block->name) != is_content || !text_is_some(block->text))
            continue;
        responses_next(&list);
        buf_printf(members->out, "{\"type\":\"%s\",\"text\":", type);
        text_write(members->out, block->text);
        buf_add_char(members->out, '}');
    }
    buf_add_char(members->out, ']');
}

/* Thoughts that came as an item of this dialect go back as that item. */
static void write_own_reasoning(struct writing *w, const struct llm_block *block,
                                const struct llm_block *end, struct text data)
{
    const struct llm_item *item = block->item;
    struct buf *out = w->items->out;
    struct responses_list members = {out, false};
    struct text encrypted, id;
    bool has_content = false;
    responses_signature_split(data, &encrypted, &id);
    for (const struct llm_block *b = block; b != end; b = b->next)
        has_content = has_content || text_is_some(b->name);
    responses_next(w->items);
    buf_add_char(out, '{');
    responses_member_text(&members, "type", text_plain(STR("reasoning")));
    if (text_is_some(item->id))
        responses_member_text(&members, "id", item->id);
    write_thoughts(&members, "summary", "summary_text", block, end, false);
    if (has_content)
        write_thoughts(&members, "content", "reasoning_text", block, end, true);
    if (!text_is_empty(encrypted))
        responses_member_text(&members, "encrypted_content", encrypted);
    add_rest(&members, item->rest);
    buf_add_char(out, '}');
}

/* Thoughts of this dialect's provider that a client of another dialect sends back. What was shown
 * without anything encrypted beside it was the thought itself, not its summary. */
static void write_returned_reasoning(struct writing *w, const struct llm_block *block)
{
    struct buf *out = w->items->out;
    struct responses_list members = {out, false};
    struct text encrypted, id;
    responses_signature_split(block->signature.data, &encrypted, &id);
    bool is_summary = !text_is_empty(encrypted);
    bool has_text = !text_is_empty(block->text);
    responses_next(w->items);
    buf_add_char(out, '{');
    responses_member_text(&members, "type", text_plain(STR("reasoning")));
    if (!text_is_empty(id))
        responses_member_text(&members, "id", id);
    responses_member(&members, "summary");
    buf_add_char(out, '[');
    if (has_text && is_summary) {
        BUF_LIT(out, "{\"type\":\"summary_text\",\"text\":");
        text_write(out, block->text);
        buf_add_char(out, '}');
    }
    buf_add_char(out, ']');
    if (has_text && !is_summary) {
        responses_member(&members, "content");
        BUF_LIT(out, "[{\"type\":\"reasoning_text\",\"text\":");
        text_write(out, block->text);
        BUF_LIT(out, "}]");
    }
    if (is_summary)
        responses_member_text(&members, "encrypted_content", encrypted);
    buf_add_char(out, '}');
}

static const struct llm_block *write_reasoning(struct writing *w, const struct llm_block *block)
{
    const struct llm_block *end = block->next, *last = block;
    while (block->item != NULL && end != NULL && end->kind == BLOCK_THINKING &&
           end->item == block->item) {
        last = end;
        end = end->next;
    }
    bool is_signed =
        text_is_some(last->signature.data) && last->signature.maker == DIALECT_OPENAI_RESPONSES;
    struct text data = is_signed ? last->signature.data : TEXT_NONE;
    /* An item with an id always had a signature: where it is gone, it was taken away for a
     * reason, and the id alone would be asked for at the wrong place. */
    bool was_stripped = block->item != NULL && !is_signed && text_is_some(block->item->id);
    if (block->item != NULL && !was_stripped)
        write_own_reasoning(w, block, end, data);
    else if (is_signed)
        write_returned_reasoning(w, block);
    else
        llm_note_dropped(w->notes, "thinking");
    for (; block != end; block = block->next)
        w->block_index++;
    return end;
}

/* --- calls and results --- */

static bool is_idless(const struct llm_block *block, enum llm_block_kind kind)
{
    return block->kind == kind && text_is_empty(block->id);
}

static bool is_same_name(const struct llm_block *a, const struct llm_block *b)
{
    return text_is_empty(a->name) || text_is_empty(b->name) || str_eq(a->name.s, b->name.s);
}

/* How many blocks of that kind without an id, and fitting `like`'s name if that is given, come
 * before `until` (NULL = in all). */
static unsigned count_idless(const struct llm_request *request, enum llm_block_kind kind,
                             const struct llm_block *like, const struct llm_block *until)
{
    unsigned count = 0;
    for (const struct llm_message *m = request->messages; m != NULL; m = m->next) {
        for (const struct llm_block *b = m->blocks; b != NULL; b = b->next) {
            if (b == until)
                return count;
            if (is_idless(b, kind) && (like == NULL || is_same_name(b, like)))
                count++;
        }
    }
    return count;
}

/*
 * Gemini's calls have no ids: they are numbered, and the n-th result of a function answers its n-th
 * call.
 */
static void write_call_id(const struct writing *w, const struct llm_block *block)
{
    struct buf *out = w->items->out;
    unsigned ordinal = 0, nth;
    if (!text_is_empty(block->id)) {
        text_write(out, block->id);
        return;
    }
    if (block->kind == BLOCK_TOOL_CALL) {
        ordinal = count_idless(w->request, BLOCK_TOOL_CALL, NULL, block);
    } else {
        nth = count_idless(w->request, BLOCK_TOOL_RESULT, block, block);
        for (const struct llm_message *m = w->request->messages; m != NULL; m = m->next) {
            for (const struct llm_block *b = m->blocks; b != NULL; b = b->next) {
                if (is_idless(b, BLOCK_TOOL_CALL) && is_same_name(b, block) && nth-- == 0)
                    ordinal = count_idless(w->request, BLOCK_TOOL_CALL, NULL, b);
            }
        }
    }
    buf_printf(out, "\"call_%u\"", ordinal);
}

static void write_call(struct writing *w, const struct llm_block *block)
{
    const struct llm_item *item = block->item;
    struct buf *out = w->items->out;
    struct responses_list members = {out, false};
    bool is_custom = item != NULL && text_eq(item->type, STR("custom_tool_call"));
    responses_next(w->items);
    buf_add_char(out, '{');
    responses_member_text(&members, "type",
                          text_plain(is_custom ? STR("custom_tool_call") : STR("function_call")));
    if (item != NULL && text_is_some(item->id))
        responses_member_text(&members, "id", item->id);
    responses_member(&members, "call_id");
    write_call_id(w, block);
    responses_member_text(&members, "name", block->name);
    if (is_custom)
        responses_member_text(&members, "input",
                              responses_custom_input(w->arena, block->arguments));
    else if (text_is_empty(block->arguments) && item == NULL)
        responses_member_text(&members, "arguments", text_plain(STR("{}")));
    else
        responses_member_text(&members, "arguments", block->arguments);
    if (item != NULL)
        add_rest(&members, item->rest);
    buf_add_char(out, '}');
    if (block->cache != CACHE_NONE)
        llm_note_dropped(w->notes, "cache_control");
}

static void write_output(struct writing *w, const struct llm_block *block)
{
    const struct llm_item *item = block->item;
    struct buf *out = w->items->out;
    struct responses_list parts = {out, false};
    bool is_text = llm_blocks_are_text(block->blocks);
    if (is_text && (item == NULL || item->is_plain)) {
        llm_blocks_write_text(out, block->blocks, STR("\n"));
        return;
    }
    buf_add_char(out, '[');
    for (const struct llm_block *b = block->blocks; b != NULL; b = b->next) {
        if (!can_write_part(w, b, false)) {
            note_block(w, "");
            continue;
        }
        responses_next(&parts);
        write_part(w, out, b, false);
    }
    buf_add_char(out, ']');
}

static void write_result(struct writing *w, const struct llm_block *block)
{
    const struct llm_item *item = block->item;
    struct buf *out = w->items->out;
    struct responses_list members = {out, false};
    responses_next(w->items);
    buf_add_char(out, '{');
    responses_member_text(&members, "type",
                          item != NULL ? item->type : text_plain(STR("function_call_output")));
    if (item != NULL && text_is_some(item->id))
        responses_member_text(&members, "id", item->id);
    responses_member(&members, "call_id");
    write_call_id(w, block);
    responses_member(&members, "output");
    write_output(w, block);
    if (item != NULL)
        add_rest(&members, item->rest);
    buf_add_char(out, '}');
    if (block->is_error)
        note_block(w, ".is_error");
    if (block->cache != CACHE_NONE)
        llm_note_dropped(w->notes, "cache_control");
}

static const struct llm_block *write_block(struct writing *w, const struct llm_block *block)
{
    if (is_part(block))
        return write_message(w, block);
    if (block->kind == BLOCK_THINKING)
        return write_reasoning(w, block);
    if (block->kind == BLOCK_TOOL_CALL) {
        write_call(w, block);
    } else if (block->kind == BLOCK_TOOL_RESULT) {
        write_result(w, block);
    } else if (block->maker == DIALECT_OPENAI_RESPONSES && block->raw.len > 0) {
        responses_next(w->items);
        buf_add_str(w->items->out, block->raw);
    } else {
        note_block(w, "");
    }
    w->block_index++;
    return block->next;
}

void responses_write_items(struct responses_list *items, const struct llm_request *request,
                           struct arena *arena, struct llm_notes *notes)
{
    struct writing w = {.items = items,
                        .request = request,
                        .arena = arena,
                        .notes = notes,
                        .is_own = request->source == DIALECT_OPENAI_RESPONSES};
    for (w.message = request->messages; w.message != NULL; w.message = w.message->next) {
        w.block_index = 0;
        for (const struct llm_block *block = w.message->blocks; block != NULL;)
            block = write_block(&w, block);
        w.message_index++;
    }
}
