#include "base/err.h"
#include "dialect/openai_chat/codec.h"
#include "dialect/signature.h"

/*
 * Writes answers, streamed and whole. Thoughts are told twice: as text (reasoning_content) and as
 * reasoning_details, in which signatures come back from clients that send an answer back whole.
 * Those of a call stand before the call.
 */

struct choice {
    struct choice *next;
    unsigned index;
    unsigned calls, details;
    bool has_role, has_refusal;
    bool has_thinking_text; /* of the open block */
    enum llm_block_kind kind;
};

struct llm_encoder {
    const struct llm_codec_settings *settings;
    struct arena *arena;
    struct str head; /* {"id":...,"model":"..." of every chunk */
    struct choice *choices;
    struct token_usage usage;
    bool has_told_usage, is_over;
};

struct llm_encoder *chat_encoder_new(struct arena *arena, const struct llm_codec_settings *settings)
{
    struct llm_encoder *e = ARENA_NEW(arena, struct llm_encoder);
    if (e != NULL) {
        e->settings = settings;
        e->arena = arena;
        e->usage = TOKEN_USAGE_NONE;
    }
    return e;
}

/* --- what chunks and whole answers share --- */

static void write_head(struct buf *out, const struct llm_codec_settings *settings, struct text id,
                       struct text model, int64_t created_s, const char *object)
{
    BUF_LIT(out, "{\"id\":");
    if (text_is_empty(id)) {
        BUF_LIT(out, "\"chatcmpl-");
        text_write_inside(out, text_plain(settings->request_id));
        buf_add_char(out, '"');
    } else {
        text_write(out, id);
    }
    BUF_LIT(out, ",\"object\":\"");
    buf_add_str(out, str_c(object));
    BUF_LIT(out, "\",\"created\":");
    buf_add_i64(out, created_s >= 0 ? created_s : settings->now_s);
    BUF_LIT(out, ",\"model\":");
    text_write(out, text_is_empty(model) ? text_plain(settings->model) : model);
}

/* The tool of the request that takes free text: its calls are written as such. */
static bool is_custom_tool(const struct llm_codec_settings *settings, struct text name)
{
    const struct llm_request *request = settings->request;
    if (request == NULL || request->source != DIALECT_OPENAI_CHAT)
        return false;
    for (const struct llm_tool *t = request->tools; t != NULL; t = t->next) {
        struct json_value custom;
        if (t->kind == TOOL_FUNCTION && t->raw.len > 0 && str_eq(t->name.s, name.s) &&
            json_find(t->raw, "custom", &custom))
            return true;
    }
    return false;
}

static bool is_citable(const struct llm_citation *citation)
{
    return text_is_some(citation->url);
}

/* --- chunks --- */

static int make_head(struct llm_encoder *e, const struct llm_event *event)
{
    struct buf head = BUF_INIT;
    bool is_start = event->kind == EVENT_START;
    if (e->head.ptr != NULL)
        return 0;
    write_head(&head, e->settings, is_start ? event->id : TEXT_NONE,
               is_start ? event->model : TEXT_NONE, is_start ? event->created_s : -1,
               "chat.completion.chunk");
    if (is_start && !text_is_empty(event->service_tier)) {
        BUF_LIT(&head, ",\"service_tier\":");
        text_write(&head, event->service_tier);
    }
    e->head = buf_ok(&head) ? arena_dup(e->arena, buf_str(&head)) : STR_EMPTY;
    buf_fini(&head);
    return e->head.ptr == NULL ? chat_no_memory() : 0;
}

static struct choice *choice_at(struct llm_encoder *e, unsigned index)
{
    struct choice **link = &e->choices;
    while (*link != NULL && (*link)->index != index)
        link = &(*link)->next;
    if (*link == NULL && (*link = ARENA_NEW(e->arena, struct choice)) != NULL)
        (*link)->index = index;
    return *link;
}

static struct buf *begin_choice(struct llm_encoder *e, struct choice *c, struct llm_frames *frames)
{
    struct buf *out = frames->begin(frames, STR_EMPTY);
    buf_add_str(out, e->head);
    BUF_LIT(out, ",\"choices\":[{\"index\":");
    buf_add_u64(out, c->index);
    BUF_LIT(out, ",\"delta\":{");
    return out;
}

/* What stood in a document of many lines, on one: an event ends with its line. */
static void add_on_one_line(struct buf *out, struct str raw)
{
    for (size_t i = 0; i < raw.len; i++) {
        bool is_break = raw.ptr[i] == '\n' || raw.ptr[i] == '\r';
        buf_add_char(out, is_break ? ' ' : raw.ptr[i]);
    }
}

static void end_choice(struct buf *out, struct str logprobs, const char *finish,
                       struct llm_frames *frames)
{
    BUF_LIT(out, "},\"logprobs\":");
    if (logprobs.len > 0) {
        BUF_LIT(out, "{\"content\":");
        add_on_one_line(out, logprobs);
        BUF_LIT(out, ",\"refusal\":null}");
    } else {
        BUF_LIT(out, "null");
    }
    BUF_LIT(out, ",\"finish_reason\":");
    if (finish != NULL)
        buf_printf(out, "\"%s\"", finish);
    else
        BUF_LIT(out, "null");
    BUF_LIT(out, "}]}");
    frames->end(frames);
}

/* The role comes first, alone. */
static void put_role(struct llm_encoder *e, struct choice *c, struct llm_frames *frames)
{
    if (c->has_role)
        return;
    c->has_role = true;
    struct buf *out = begin_choice(e, c, frames);
    BUF_LIT(out, "\"role\":\"assistant\",\"content\":\"\"");
    end_choice(out, STR_EMPTY, NULL, frames);
}

static void put_detail(struct llm_encoder *e, struct choice *c,
                       const struct llm_signature *signature, bool is_for_call, struct text id,
                       struct llm_frames *frames)
{
    struct arena_mark mark = arena_mark(e->arena);
    struct chat_detail own;
    bool is_text = !is_for_call && c->has_thinking_text;
    struct buf *out = begin_choice(e, c, frames);
    BUF_LIT(out, "\"reasoning_details\":[");
    /* The text has gone already, with the same index: only the signature is missing. */
    if (signature->maker == DIALECT_OPENAI_CHAT && chat_signature_unpack(signature->data, &own))
        is_text = !str_eq(own.type, STR("encrypted"));
    if (is_text && signature->maker != DIALECT_OPENAI_CHAT) {
        struct text data =
            signature_mark(e->arena, signature, SIGNATURE_OF_THINKING, DIALECT_OPENAI_CHAT);
        BUF_LIT(out, "{\"type\":\"reasoning.text\",\"text\":\"\",\"signature\":");
        text_write(out, data);
        buf_printf(out, ",\"index\":%u}", c->details);
    } else {
        chat_write_detail(out, e->arena, signature, is_for_call, is_text ? TEXT_LIT("") : TEXT_NONE,
                          id, c->details);
    }
    buf_add_char(out, ']');
    end_choice(out, STR_EMPTY, NULL, frames);
    arena_rewind(e->arena, mark);
}

static void start_call(struct llm_encoder *e, struct choice *c, const struct llm_event *event,
                       struct llm_frames *frames)
{
    if (text_is_some(event->signature.data)) {
        put_detail(e, c, &event->signature, event->signature.maker != DIALECT_OPENAI_CHAT,
                   event->id, frames);
        c->details++;
    }
    struct buf *out = begin_choice(e, c, frames);
    buf_printf(out, "\"tool_calls\":[{\"index\":%u,\"id\":", c->calls);
    if (text_is_empty(event->id)) {
        BUF_LIT(out, "\"call_");
        text_write_inside(out, text_plain(e->settings->request_id));
        buf_printf(out, "_%u_%u\"", c->index, c->calls);
    } else {
        text_write(out, event->id);
    }
    BUF_LIT(out, ",\"type\":\"function\",\"function\":{\"name\":");
    text_write(out, event->name);
    BUF_LIT(out, ",\"arguments\":\"\"}}]");
    end_choice(out, STR_EMPTY, NULL, frames);
}

static void put_text(struct llm_encoder *e, struct choice *c, struct text text,
                     struct llm_frames *frames)
{
    static const char *const names[] = {[BLOCK_TEXT] = "content",
                                        [BLOCK_THINKING] = "reasoning_content",
                                        [BLOCK_REFUSAL] = "refusal"};
    bool has_name = c->kind == BLOCK_TEXT || c->kind == BLOCK_THINKING || c->kind == BLOCK_REFUSAL;
    if (!has_name || text_is_empty(text))
        return;
    struct chat_list members = {begin_choice(e, c, frames), false};
    chat_member_text(&members, names[c->kind], text);
    if (c->kind == BLOCK_THINKING) {
        c->has_thinking_text = true;
        chat_member(&members, "reasoning_details");
        BUF_LIT(members.out, "[{\"type\":\"reasoning.text\",\"text\":");
        text_write(members.out, text);
        buf_printf(members.out, ",\"index\":%u}]", c->details);
    }
    c->has_refusal = c->has_refusal || c->kind == BLOCK_REFUSAL;
    end_choice(members.out, STR_EMPTY, NULL, frames);
}

static void put_citation(struct llm_encoder *e, struct choice *c,
                         const struct llm_citation *citation, struct llm_frames *frames)
{
    if (!is_citable(citation))
        return;
    struct buf *out = begin_choice(e, c, frames);
    BUF_LIT(out, "\"annotations\":[");
    chat_write_citation(out, citation);
    buf_add_char(out, ']');
    end_choice(out, STR_EMPTY, NULL, frames);
}

static void put_media(struct llm_encoder *e, struct choice *c, struct text data,
                      struct llm_frames *frames)
{
    if (c->kind != BLOCK_AUDIO)
        return;
    struct buf *out = begin_choice(e, c, frames);
    BUF_LIT(out, "\"audio\":{\"data\":");
    text_write(out, data);
    buf_add_char(out, '}');
    end_choice(out, STR_EMPTY, NULL, frames);
}

static void put_delta(struct llm_encoder *e, struct choice *c, const struct llm_event *event,
                      struct llm_frames *frames)
{
    struct buf *out;
    switch (event->delta) {
    case DELTA_TEXT:
        put_text(e, c, event->text, frames);
        break;
    case DELTA_ARGUMENTS:
        out = begin_choice(e, c, frames);
        buf_printf(out, "\"tool_calls\":[{\"index\":%u,\"function\":{\"arguments\":", c->calls);
        text_write(out, event->text);
        BUF_LIT(out, "}}]");
        end_choice(out, STR_EMPTY, NULL, frames);
        break;
    case DELTA_SIGNATURE:
        if (text_is_some(event->signature.data))
            put_detail(e, c, &event->signature, c->kind == BLOCK_TOOL_CALL, TEXT_NONE, frames);
        break;
    case DELTA_CITATION:
        put_citation(e, c, event->citation, frames);
        break;
    case DELTA_LOGPROBS:
        out = begin_choice(e, c, frames);
        end_choice(out, event->raw, NULL, frames);
        break;
    case DELTA_MEDIA:
        put_media(e, c, event->text, frames);
        break;
    }
}

void chat_write_last(const struct token_usage *usage, struct llm_frames *frames)
{
    struct buf *out = frames->begin(frames, STR_EMPTY);
    (void)usage;
    BUF_LIT(out, "[DONE]");
    frames->end(frames);
}

static void put_done(struct llm_encoder *e, struct llm_frames *frames)
{
    struct buf *out;
    e->is_over = true;
    if (e->settings->includes_usage && e->head.ptr != NULL && !e->has_told_usage) {
        out = frames->begin(frames, STR_EMPTY);
        buf_add_str(out, e->head);
        BUF_LIT(out, ",\"choices\":[],\"usage\":");
        chat_usage_write(out, &e->usage);
        buf_add_char(out, '}');
        frames->end(frames);
    }
    chat_write_last(&e->usage, frames);
}

static int put_of_choice(struct llm_encoder *e, const struct llm_event *event,
                         struct llm_frames *frames)
{
    struct choice *c = choice_at(e, event->choice);
    if (c == NULL)
        return chat_no_memory();
    put_role(e, c, frames);
    switch (event->kind) {
    case EVENT_BLOCK_START:
        c->kind = event->block_kind;
        c->has_thinking_text = false;
        if (c->kind == BLOCK_TOOL_CALL)
            start_call(e, c, event, frames);
        break;
    case EVENT_DELTA:
        put_delta(e, c, event, frames);
        break;
    case EVENT_BLOCK_STOP:
        if (c->kind == BLOCK_TOOL_CALL)
            c->calls++;
        else if (c->kind == BLOCK_THINKING)
            c->details++;
        break;
    case EVENT_FINISH:
        end_choice(begin_choice(e, c, frames), STR_EMPTY,
                   chat_finish_name(event->finish, c->has_refusal), frames);
        break;
    default:
        break;
    }
    return 0;
}

int chat_encode(struct llm_encoder *e, const struct llm_event *event, struct llm_frames *frames)
{
    if (e->is_over || event->kind == EVENT_PING)
        return 0;
    if (event->kind == EVENT_ERROR) {
        struct buf *out = frames->begin(frames, STR_EMPTY);
        chat_write_error(&event->error, out);
        frames->end(frames);
        e->is_over = true;
        return 0;
    }
    int r = make_head(e, event);
    if (r < 0)
        return r;
    switch (event->kind) {
    case EVENT_START:
        return put_of_choice(e, event, frames);
    case EVENT_USAGE:
        token_usage_merge(&e->usage, &event->usage);
        return 0;
    case EVENT_DONE:
        put_done(e, frames);
        return 0;
    default:
        return put_of_choice(e, event, frames);
    }
}

int chat_encoder_follow(struct llm_encoder *e, struct str type, struct str data)
{
    struct json_value value, calls, call = {JSON_NONE, STR_EMPTY};
    struct json_cursor cursor;
    int64_t index;
    (void)type;
    if (json_find(data, "usage", &value) && value.kind == JSON_OBJECT &&
        !json_find(data, "choices[0]", &calls))
        e->has_told_usage = true;
    if (!json_find(data, "choices[0].delta.tool_calls", &calls) || calls.kind != JSON_ARRAY)
        return 0;
    json_cursor_init(&cursor, calls.text);
    while (json_iter_array(&cursor, &value) == 1)
        call = value;
    struct choice *c = choice_at(e, 0);
    if (c == NULL)
        return chat_no_memory();
    if (call.kind == JSON_OBJECT && c->kind == BLOCK_TOOL_CALL &&
        json_find(call.text, "index", &value) && json_number_i64(value, &index) && index >= 0 &&
        index < INT32_MAX)
        c->calls = (unsigned)index;
    return 0;
}

/* --- whole answers --- */

/* All texts of a kind as one string, null where there is none. */
static bool write_joined(struct chat_list *members, const char *name,
                         const struct llm_block *blocks, enum llm_block_kind kind, bool is_nullable)
{
    bool has_any = false;
    for (const struct llm_block *b = blocks; b != NULL; b = b->next) {
        if (b->kind != kind || text_is_empty(b->text))
            continue;
        if (!has_any) {
            chat_member(members, name);
            buf_add_char(members->out, '"');
        }
        has_any = true;
        text_write_inside(members->out, b->text);
    }
    if (has_any)
        buf_add_char(members->out, '"');
    else if (is_nullable)
        chat_member_raw(members, name, STR("null"));
    return has_any;
}

static void write_details(struct chat_list *members, struct arena *arena,
                          const struct llm_block *blocks)
{
    struct chat_list details = {members->out, false};
    unsigned index = 0;
    for (const struct llm_block *b = blocks; b != NULL; b = b->next) {
        bool is_signed_call = b->kind == BLOCK_TOOL_CALL && text_is_some(b->signature.data);
        if (b->kind != BLOCK_THINKING && !is_signed_call)
            continue;
        if (!details.has_any) {
            chat_member(members, "reasoning_details");
            buf_add_char(members->out, '[');
        }
        chat_next(&details);
        struct arena_mark mark = arena_mark(arena);
        chat_write_detail(members->out, arena, &b->signature,
                          is_signed_call && b->signature.maker != DIALECT_OPENAI_CHAT,
                          is_signed_call ? TEXT_NONE : b->text, is_signed_call ? b->id : TEXT_NONE,
                          index++);
        arena_rewind(arena, mark);
    }
    if (details.has_any)
        buf_add_char(members->out, ']');
}

static void write_annotations(struct chat_list *members, const struct llm_block *blocks)
{
    struct chat_list list = {members->out, false};
    for (const struct llm_block *b = blocks; b != NULL; b = b->next) {
        for (const struct llm_citation *c = b->citations; c != NULL; c = c->next) {
            if (!is_citable(c))
                continue;
            if (!list.has_any) {
                chat_member(members, "annotations");
                buf_add_char(members->out, '[');
            }
            chat_next(&list);
            chat_write_citation(members->out, c);
        }
    }
    if (list.has_any)
        buf_add_char(members->out, ']');
}

static void write_call(struct buf *out, const struct llm_codec_settings *settings,
                       const struct llm_block *b, unsigned index)
{
    struct chat_list members = {out, false};
    struct json_value input;
    buf_add_char(out, '{');
    chat_member(&members, "id");
    if (text_is_empty(b->id))
        buf_printf(out, "\"call_%.*s_%u\"", STR_ARG(settings->request_id), index);
    else
        text_write(out, b->id);
    struct str arguments = b->arguments.s;
    struct arena *arena = is_custom_tool(settings, b->name) ? arena_new(1024) : NULL;
    bool is_custom = arena != NULL && text_get(arena, b->arguments, &arguments) == 0 &&
                     json_find(arguments, "input", &input) && input.kind == JSON_STRING;
    chat_member_text(&members, "type", is_custom ? TEXT_LIT("custom") : TEXT_LIT("function"));
    chat_member(&members, is_custom ? "custom" : "function");
    BUF_LIT(out, "{\"name\":");
    text_write(out, b->name);
    buf_add_str(out, is_custom ? STR(",\"input\":") : STR(",\"arguments\":"));
    text_write(out, is_custom ? text_of(input) : b->arguments);
    BUF_LIT(out, "}}");
    arena_free(arena);
}

static void write_calls(struct chat_list *members, const struct llm_codec_settings *settings,
                        const struct llm_block *blocks)
{
    struct chat_list list = {members->out, false};
    unsigned index = 0;
    for (const struct llm_block *b = blocks; b != NULL; b = b->next) {
        if (b->kind != BLOCK_TOOL_CALL)
            continue;
        if (!list.has_any) {
            chat_member(members, "tool_calls");
            buf_add_char(members->out, '[');
        }
        chat_next(&list);
        write_call(members->out, settings, b, index++);
    }
    if (list.has_any)
        buf_add_char(members->out, ']');
}

static void write_media(struct chat_list *members, const struct llm_block *blocks)
{
    struct chat_list images = {members->out, false};
    for (const struct llm_block *b = blocks; b != NULL; b = b->next) {
        if (b->kind == BLOCK_AUDIO && text_is_some(b->media.data)) {
            chat_member(members, "audio");
            BUF_LIT(members->out, "{\"data\":");
            text_write(members->out, b->media.data);
            buf_add_char(members->out, '}');
        }
    }
    for (const struct llm_block *b = blocks; b != NULL; b = b->next) {
        if (b->kind != BLOCK_IMAGE || !text_is_some(b->media.data))
            continue;
        if (!images.has_any) {
            chat_member(members, "images");
            buf_add_char(members->out, '[');
        }
        chat_next(&images);
        BUF_LIT(members->out, "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:");
        text_write_inside(members->out,
                          text_is_empty(b->media.type) ? TEXT_LIT("image/png") : b->media.type);
        BUF_LIT(members->out, ";base64,");
        text_write_inside(members->out, b->media.data);
        BUF_LIT(members->out, "\"}}");
    }
    if (images.has_any)
        buf_add_char(members->out, ']');
}

static void write_choice(struct buf *out, const struct llm_choice *choice, struct arena *arena,
                         const struct llm_codec_settings *settings)
{
    struct chat_list members = {out, false};
    BUF_LIT(out, "{\"index\":");
    buf_add_u64(out, choice->index);
    BUF_LIT(out, ",\"message\":{");
    chat_member_text(&members, "role", TEXT_LIT("assistant"));
    write_joined(&members, "content", choice->blocks, BLOCK_TEXT, true);
    bool has_refusal = write_joined(&members, "refusal", choice->blocks, BLOCK_REFUSAL, true);
    write_joined(&members, "reasoning_content", choice->blocks, BLOCK_THINKING, false);
    write_details(&members, arena, choice->blocks);
    write_annotations(&members, choice->blocks);
    write_media(&members, choice->blocks);
    write_calls(&members, settings, choice->blocks);
    BUF_LIT(out, "},\"logprobs\":");
    if (choice->logprobs.len > 0) {
        BUF_LIT(out, "{\"content\":");
        buf_add_str(out, choice->logprobs);
        BUF_LIT(out, ",\"refusal\":null}");
    } else {
        BUF_LIT(out, "null");
    }
    buf_printf(out, ",\"finish_reason\":\"%s\"}", chat_finish_name(choice->finish, has_refusal));
}

void chat_write_answer(const struct llm_answer *answer, const struct llm_codec_settings *settings,
                       struct buf *out)
{
    struct chat_list choices = {out, false};
    struct arena *arena = arena_new(4096);
    if (arena == NULL) {
        out->failed = true;
        return;
    }
    write_head(out, settings, answer->id, answer->model, answer->created_s, "chat.completion");
    BUF_LIT(out, ",\"choices\":[");
    for (const struct llm_choice *c = answer->choices; c != NULL; c = c->next) {
        chat_next(&choices);
        write_choice(out, c, arena, settings);
    }
    buf_add_char(out, ']');
    if (answer->usage.input >= 0 || answer->usage.output >= 0) {
        BUF_LIT(out, ",\"usage\":");
        chat_usage_write(out, &answer->usage);
    }
    if (!text_is_empty(answer->service_tier)) {
        BUF_LIT(out, ",\"service_tier\":");
        text_write(out, answer->service_tier);
    }
    buf_add_char(out, '}');
    arena_free(arena);
}
