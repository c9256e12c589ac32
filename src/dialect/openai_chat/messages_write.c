#include "dialect/openai_chat/codec.h"

/* The messages of a request. One of the neutral form may become several here: each result of a
 * tool is a message of its own. */

static bool has_own_raw(const struct chat_writing *w, const struct llm_block *block)
{
    return w->is_own && block->raw.len > 0 && block->maker == DIALECT_OPENAI_CHAT;
}

/* The hint is known where Claude is served in this dialect, and refused elsewhere. */
static void write_cache(struct chat_writing *w, struct chat_list *members, enum llm_cache cache)
{
    if (cache == CACHE_NONE)
        return;
    if (!w->is_own && str_ifind(w->target->model, STR("claude")) < 0)
        llm_note_dropped(w->notes, "cache_control");
    else
        chat_member_raw(members, "cache_control",
                        cache == CACHE_1H ? STR("{\"type\":\"ephemeral\",\"ttl\":\"1h\"}")
                                          : STR("{\"type\":\"ephemeral\"}"));
}

/* --- parts --- */

static void write_data_url(struct buf *out, const struct llm_media *media, const char *type)
{
    BUF_LIT(out, "\"data:");
    if (text_is_empty(media->type))
        buf_add_str(out, str_c(type));
    else
        text_write_inside(out, media->type);
    BUF_LIT(out, ";base64,");
    text_write_inside(out, media->data);
    buf_add_char(out, '"');
}

static void write_image(struct chat_list *members, const struct llm_media *media)
{
    struct chat_list inner = {members->out, false};
    chat_member_text(members, "type", TEXT_LIT("image_url"));
    chat_member(members, "image_url");
    buf_add_char(members->out, '{');
    chat_member(&inner, "url");
    if (text_is_some(media->data))
        write_data_url(members->out, media, "image/png");
    else
        text_write(members->out, media->url);
    if (text_is_some(media->detail))
        chat_member_text(&inner, "detail", media->detail);
    buf_add_char(members->out, '}');
}

static const char *audio_format(struct text type)
{
    static const char *const formats[][2] = {
        {"mpeg", "mp3"},  {"mp3", "mp3"},   {"flac", "flac"}, {"ogg", "ogg"},
        {"opus", "opus"}, {"pcm", "pcm16"}, {"aac", "aac"},   {"mp4", "m4a"},
    };
    for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
        if (str_find(type.s, str_c(formats[i][0])) >= 0)
            return formats[i][1];
    }
    return "wav";
}

static void write_audio(struct chat_list *members, const struct llm_media *media)
{
    struct chat_list inner = {members->out, false};
    chat_member_text(members, "type", TEXT_LIT("input_audio"));
    chat_member(members, "input_audio");
    buf_add_char(members->out, '{');
    chat_member_text(&inner, "data", media->data);
    chat_member_text(&inner, "format", text_plain(str_c(audio_format(media->type))));
    buf_add_char(members->out, '}');
}

static void write_file(struct chat_writing *w, struct chat_list *members,
                       const struct llm_media *media)
{
    struct chat_list inner = {members->out, false};
    chat_member_text(members, "type", TEXT_LIT("file"));
    chat_member(members, "file");
    buf_add_char(members->out, '{');
    if (text_is_some(media->file_id)) {
        chat_member_text(&inner, "file_id", media->file_id);
    } else {
        if (!text_is_some(media->name))
            llm_note_supplied(w->notes, "filename=document.pdf");
        chat_member_text(&inner, "filename",
                         text_is_some(media->name) ? media->name : TEXT_LIT("document.pdf"));
        chat_member(&inner, "file_data");
        write_data_url(members->out, media, "application/pdf");
    }
    buf_add_char(members->out, '}');
}

/* True when a part of this dialect can say it. */
static bool is_part(const struct chat_writing *w, const struct llm_block *b)
{
    const struct llm_media *m = &b->media;
    switch (b->kind) {
    case BLOCK_TEXT:
    case BLOCK_REFUSAL:
        return true;
    case BLOCK_IMAGE:
        return text_is_some(m->data) || text_is_some(m->url);
    case BLOCK_AUDIO:
        return text_is_some(m->data);
    case BLOCK_DOCUMENT:
        return text_is_some(b->text) || text_is_some(m->data) ||
               (text_is_some(m->file_id) &&
                (w->is_own || w->request->source == DIALECT_OPENAI_RESPONSES));
    default:
        return false;
    }
}

static void write_part(struct chat_writing *w, struct chat_list *parts, const struct llm_block *b)
{
    struct chat_list members = {parts->out, false};
    chat_next(parts);
    if (has_own_raw(w, b)) {
        buf_add_str(parts->out, b->raw);
        return;
    }
    buf_add_char(parts->out, '{');
    if (b->kind == BLOCK_IMAGE) {
        write_image(&members, &b->media);
    } else if (b->kind == BLOCK_AUDIO) {
        write_audio(&members, &b->media);
    } else if (b->kind == BLOCK_DOCUMENT && !text_is_some(b->text)) {
        write_file(w, &members, &b->media);
    } else {
        const char *type = b->kind == BLOCK_REFUSAL ? "refusal" : "text";
        chat_member_text(&members, "type", text_plain(str_c(type)));
        chat_member_text(&members, type, b->text);
    }
    write_cache(w, &members, b->cache);
    buf_add_char(parts->out, '}');
}

/* --- content --- */

/* What stands in `content`: not what has a member of its own in the message. */
static bool is_content(const struct chat_writing *w, const struct llm_block *b)
{
    bool is_rest = b->kind == BLOCK_OPAQUE && b->rest.len > 0 && b->raw.len == b->rest.len + 2;
    if (b->kind == BLOCK_TOOL_CALL || b->kind == BLOCK_TOOL_RESULT || is_rest)
        return false;
    if (b->kind == BLOCK_THINKING)
        return has_own_raw(w, b) && str_find(b->raw, STR("\"thinking\"")) >= 0;
    if (b->kind == BLOCK_REFUSAL)
        return has_own_raw(w, b);
    return has_own_raw(w, b) || is_part(w, b);
}

/* Parts are needed for all but text without more. */
static bool needs_parts(struct chat_writing *w, const struct llm_block *blocks)
{
    bool writes_cache = str_ifind(w->target->model, STR("claude")) >= 0;
    for (const struct llm_block *b = blocks; b != NULL; b = b->next) {
        if (!is_content(w, b))
            continue;
        if (has_own_raw(w, b) || b->kind != BLOCK_TEXT ||
            (!w->is_own && b->cache != CACHE_NONE && writes_cache))
            return true;
    }
    return false;
}

static void write_content(struct chat_writing *w, const struct llm_block *blocks, bool as_parts)
{
    struct buf *out = w->members.out;
    struct chat_list parts = {out, false};
    buf_add_char(out, as_parts ? '[' : '"');
    for (const struct llm_block *b = blocks; b != NULL; b = b->next) {
        if (!is_content(w, b))
            continue;
        if (as_parts) {
            write_part(w, &parts, b);
            continue;
        }
        if (!w->is_own && b->cache != CACHE_NONE)
            llm_note_dropped(w->notes, "cache_control");
        if (parts.has_any && !text_is_empty(b->text))
            BUF_LIT(out, "\\n\\n");
        text_write_inside(out, b->text);
        parts.has_any = parts.has_any || !text_is_empty(b->text);
    }
    buf_add_char(out, as_parts ? ']' : '"');
}

/* --- reasoning --- */

static bool has_content(const struct chat_writing *w, const struct llm_block *blocks)
{
    while (blocks != NULL && !is_content(w, blocks))
        blocks = blocks->next;
    return blocks != NULL;
}

static bool is_detail(const struct chat_writing *w, const struct llm_block *b)
{
    bool is_signed = text_is_some(b->signature.data) && b->signature.maker == DIALECT_OPENAI_CHAT;
    if (b->kind == BLOCK_TOOL_CALL)
        return is_signed;
    return b->kind == BLOCK_THINKING && !is_content(w, b) && (is_signed || has_own_raw(w, b));
}

static void write_details(struct chat_writing *w, struct chat_list *members,
                          const struct llm_block *blocks)
{
    struct chat_list details = {members->out, false};
    unsigned index = 0;
    for (const struct llm_block *b = blocks; b != NULL; b = b->next) {
        if (!is_detail(w, b))
            continue;
        if (!details.has_any) {
            chat_member(members, "reasoning_details");
            buf_add_char(members->out, '[');
        }
        chat_next(&details);
        if (b->kind == BLOCK_THINKING && has_own_raw(w, b))
            buf_add_str(members->out, b->raw);
        else
            chat_write_detail(members->out, w->arena, &b->signature, false,
                              b->kind == BLOCK_THINKING ? b->text : TEXT_NONE,
                              b->kind == BLOCK_TOOL_CALL ? b->id : TEXT_NONE, index);
        index++;
    }
    if (details.has_any)
        buf_add_char(members->out, ']');
}

static void write_reasoning(struct chat_writing *w, struct chat_list *members,
                            const struct llm_block *blocks)
{
    struct str field = w->target->quirks->reasoning_field;
    bool has_any = false;
    for (const struct llm_block *b = blocks; b != NULL; b = b->next) {
        if (b->kind != BLOCK_THINKING || is_content(w, b) || is_detail(w, b) ||
            text_is_empty(b->text))
            continue;
        if (field.len == 0 && w->is_own && text_is_some(b->name))
            field = b->name.s;
        if (field.len == 0) {
            llm_note_dropped(w->notes, "thinking");
            return;
        }
        if (!has_any) {
            chat_next(members);
            buf_add_json(members->out, field);
            BUF_LIT(members->out, ":\"");
        } else {
            BUF_LIT(members->out, "\\n\\n");
        }
        has_any = true;
        text_write_inside(members->out, b->text);
    }
    if (has_any)
        buf_add_char(members->out, '"');
}

/* --- calls and results --- */

static void write_id(struct chat_writing *w, struct chat_list *members, const char *name,
                     struct text id)
{
    if (!text_is_some(id))
        return;
    chat_member(members, name);
    if (w->target->quirks->has_short_tool_ids)
        chat_write_short_id(members->out, id);
    else
        text_write(members->out, id);
}

static bool is_legacy_call(const struct chat_writing *w, const struct llm_block *b)
{
    struct json_value id;
    return has_own_raw(w, b) && !json_find(b->raw, "custom", &id);
}

static void write_call(struct chat_writing *w, struct chat_list *calls, const struct llm_block *b)
{
    struct buf *out = calls->out;
    struct chat_list members = {out, false}, inner = {out, false};
    chat_next(calls);
    if (has_own_raw(w, b) && !w->target->quirks->has_short_tool_ids) {
        buf_add_str(out, b->raw);
        return;
    }
    buf_add_char(out, '{');
    write_id(w, &members, "id", b->id);
    chat_member_text(&members, "type", TEXT_LIT("function"));
    chat_member(&members, "function");
    buf_add_char(out, '{');
    chat_member_text(&inner, "name", b->name);
    chat_member_text(&inner, "arguments",
                     text_is_empty(b->arguments) && !w->is_own ? TEXT_LIT("{}") : b->arguments);
    buf_add_char(out, '}');
    if (w->is_own && b->rest.len > 0 && b->maker == DIALECT_OPENAI_CHAT) {
        chat_next(&members);
        buf_add_str(out, b->rest);
    }
    buf_add_char(out, '}');
}

static void write_calls(struct chat_writing *w, struct chat_list *members,
                        const struct llm_block *blocks)
{
    struct chat_list calls = {members->out, false};
    for (const struct llm_block *b = blocks; b != NULL; b = b->next) {
        if (b->kind != BLOCK_TOOL_CALL)
            continue;
        if (is_legacy_call(w, b)) {
            chat_member_raw(members, "function_call", b->raw);
            continue;
        }
        if (!calls.has_any) {
            chat_member(members, "tool_calls");
            buf_add_char(members->out, '[');
        }
        write_call(w, &calls, b);
    }
    if (calls.has_any)
        buf_add_char(members->out, ']');
}

static void write_rest(struct chat_writing *w, struct chat_list *members,
                       const struct llm_block *blocks)
{
    for (const struct llm_block *b = blocks; b != NULL && w->is_own; b = b->next) {
        if (b->rest.len == 0 || b->kind == BLOCK_TOOL_CALL || b->maker != DIALECT_OPENAI_CHAT)
            continue;
        chat_next(members);
        buf_add_str(members->out, b->rest);
    }
}

static void write_result(struct chat_writing *w, struct chat_list *messages,
                         const struct llm_block *b, unsigned message, unsigned block)
{
    struct chat_list members = {messages->out, false};
    bool is_legacy = has_own_raw(w, b);
    bool as_parts = false;
    for (const struct llm_block *c = b->blocks; c != NULL; c = c->next)
        as_parts = as_parts || has_own_raw(w, c);
    chat_next(messages);
    buf_add_char(messages->out, '{');
    chat_member_text(&members, "role", is_legacy ? TEXT_LIT("function") : TEXT_LIT("tool"));
    if (!is_legacy)
        write_id(w, &members, "tool_call_id", b->id);
    if (w->is_own && text_is_some(b->name))
        chat_member_text(&members, "name", b->name);
    chat_member(&members, "content");
    if (as_parts) {
        write_content(w, b->blocks, true);
    } else {
        bool has_any = false;
        buf_add_char(messages->out, '"');
        for (const struct llm_block *c = b->blocks; c != NULL; c = c->next) {
            bool is_text =
                c->kind == BLOCK_TEXT || (c->kind == BLOCK_DOCUMENT && text_is_some(c->text));
            if (!is_text)
                continue;
            if (has_any)
                BUF_LIT(messages->out, "\\n\\n");
            text_write_inside(messages->out, c->text);
            has_any = true;
        }
        buf_add_char(messages->out, '"');
    }
    if (b->is_error)
        llm_note_dropped(w->notes, "messages[%u].content[%u].is_error", message, block);
    if (b->cache != CACHE_NONE && !w->is_own)
        write_cache(w, &members, b->cache);
    if (w->is_own && b->rest.len > 0) {
        chat_next(&members);
        buf_add_str(messages->out, b->rest);
    }
    buf_add_char(messages->out, '}');
}

/* What a tool gave besides text, which its message cannot hold: it goes to the user's side, after
 * all results of that turn. `from` up to `until`. */
static void write_tool_media(struct chat_writing *w, struct chat_list *messages,
                             const struct llm_message *from, const struct llm_message *until)
{
    struct chat_list parts = {messages->out, false};
    for (const struct llm_message *m = from; m != NULL && m != until; m = m->next) {
        for (const struct llm_block *b = m->blocks; b != NULL; b = b->next) {
            for (const struct llm_block *c = b->kind == BLOCK_TOOL_RESULT ? b->blocks : NULL;
                 c != NULL; c = c->next) {
                bool is_media = c->kind != BLOCK_TEXT && c->kind != BLOCK_REFUSAL &&
                                !(c->kind == BLOCK_DOCUMENT && text_is_some(c->text));
                if (!is_media || has_own_raw(w, c))
                    continue;
                if (!is_part(w, c)) {
                    llm_note_dropped(w->notes, "tool_result.content");
                    continue;
                }
                if (!parts.has_any) {
                    chat_next(messages);
                    BUF_LIT(messages->out, "{\"role\":\"user\",\"content\":[");
                }
                write_part(w, &parts, c);
            }
        }
    }
    if (parts.has_any)
        BUF_LIT(messages->out, "]}");
}

/* --- messages --- */

static const char *role_name(const struct chat_writing *w, enum llm_role role)
{
    static const char *const names[] = {[ROLE_USER] = "user",
                                        [ROLE_ASSISTANT] = "assistant",
                                        [ROLE_SYSTEM] = "system",
                                        [ROLE_DEVELOPER] = "developer",
                                        [ROLE_TOOL] = "user"};
    if (role == ROLE_DEVELOPER && w->target->quirks->has_no_developer_role)
        return "system";
    return names[role];
}

static void write_refusal(struct chat_writing *w, struct chat_list *members,
                          const struct llm_block *blocks)
{
    for (const struct llm_block *b = blocks; b != NULL; b = b->next) {
        if (b->kind == BLOCK_REFUSAL && !has_own_raw(w, b)) {
            chat_member_text(members, "refusal", b->text);
            return;
        }
    }
}

static bool has_kind(const struct llm_block *b, enum llm_block_kind kind)
{
    while (b != NULL && b->kind != kind)
        b = b->next;
    return b != NULL;
}

static void note_lost(struct chat_writing *w, const struct llm_block *blocks, unsigned message)
{
    unsigned i = 0;
    for (const struct llm_block *b = blocks; b != NULL; b = b->next, i++) {
        bool is_lost = b->kind == BLOCK_IMAGE || b->kind == BLOCK_AUDIO || b->kind == BLOCK_VIDEO ||
                       b->kind == BLOCK_DOCUMENT ||
                       (b->kind == BLOCK_OPAQUE && !(w->is_own && b->rest.len > 0));
        if (is_lost && !is_content(w, b))
            llm_note_dropped(w->notes, "messages[%u].content[%u]", message, i);
    }
}

static void write_message(struct chat_writing *w, struct chat_list *messages,
                          const struct llm_message *m, unsigned index)
{
    struct chat_list members = {messages->out, false};
    bool has_calls = has_kind(m->blocks, BLOCK_TOOL_CALL);
    bool is_assistant = m->role == ROLE_ASSISTANT;
    bool has_any = has_content(w, m->blocks);
    note_lost(w, m->blocks, index);
    if (!has_any && !is_assistant && has_kind(m->blocks, BLOCK_TOOL_RESULT))
        return;
    chat_next(messages);
    buf_add_char(messages->out, '{');
    chat_member_text(&members, "role", text_plain(str_c(role_name(w, m->role))));
    if (text_is_some(m->name))
        chat_member_text(&members, "name", m->name);
    if (is_assistant) {
        write_reasoning(w, &members, m->blocks);
        write_details(w, &members, m->blocks);
    }
    if (has_any) {
        chat_member(&members, "content");
        write_content(w, m->blocks, needs_parts(w, m->blocks));
    } else if (has_calls || has_kind(m->blocks, BLOCK_REFUSAL) || (w->is_own && is_assistant)) {
        chat_member_raw(&members, "content", STR("null"));
    } else {
        chat_member_text(&members, "content", TEXT_LIT(""));
    }
    if (is_assistant) {
        write_refusal(w, &members, m->blocks);
        write_calls(w, &members, m->blocks);
    }
    write_rest(w, &members, m->blocks);
    enum llm_prefill prefill = w->target->quirks->prefill;
    if (w->request->continues_last && m == w->request->last_message &&
        (prefill == PREFILL_PREFIX || prefill == PREFILL_PREFIX_ECHOED))
        chat_member_raw(&members, "prefix", STR("true"));
    buf_add_char(messages->out, '}');
}

static bool has_results(const struct llm_message *m)
{
    return has_kind(m->blocks, BLOCK_TOOL_RESULT);
}

/* Calls that were told without an id are answered in their order (Gemini). */
static void give_ids(struct chat_writing *w)
{
    unsigned calls = 0, results = 0;
    for (struct llm_message *m = w->request->messages; m != NULL; m = m->next) {
        for (struct llm_block *b = m->blocks; b != NULL; b = b->next) {
            bool is_call = b->kind == BLOCK_TOOL_CALL;
            if ((!is_call && b->kind != BLOCK_TOOL_RESULT) || !text_is_empty(b->id))
                continue;
            b->id = text_plain(arena_printf(w->arena, "call_%u", is_call ? ++calls : ++results));
        }
    }
}

void chat_write_messages(struct chat_writing *w)
{
    struct chat_list messages = {w->members.out, false};
    const struct llm_message *pending = NULL;
    unsigned index = 0;
    if (!w->is_own)
        give_ids(w);
    chat_member(&w->members, "messages");
    buf_add_char(messages.out, '[');
    if (w->request->system != NULL) {
        struct llm_message system = {.role = ROLE_SYSTEM, .blocks = w->request->system};
        write_message(w, &messages, &system, 0);
    }
    for (const struct llm_message *m = w->request->messages; m != NULL; m = m->next, index++) {
        unsigned block = 0;
        bool is_result = has_results(m);
        if (!is_result && pending != NULL) {
            write_tool_media(w, &messages, pending, m);
            pending = NULL;
        }
        for (const struct llm_block *b = m->blocks; b != NULL; b = b->next, block++) {
            if (b->kind == BLOCK_TOOL_RESULT)
                write_result(w, &messages, b, index, block);
        }
        if (is_result && pending == NULL)
            pending = m;
        if (is_result && has_content(w, m->blocks)) {
            write_tool_media(w, &messages, pending, m->next);
            pending = NULL;
        }
        write_message(w, &messages, m, index);
    }
    write_tool_media(w, &messages, pending, NULL);
    buf_add_char(messages.out, ']');
}
