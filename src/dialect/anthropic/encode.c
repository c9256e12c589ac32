#include "base/err.h"
#include "dialect/anthropic/codec.h"
#include "dialect/signature.h"

/*
 * message_start waits for the first event that is not usage, so that it can tell what was read;
 * message_delta waits for the end, since usage may come after the reason to stop. Of several
 * choices the first alone has a form.
 */
struct anthropic_encoder {
    struct arena *arena;
    struct llm_codec_settings settings;
    struct token_usage usage;
    struct text id, model, stop_sequence;
    enum llm_finish finish;
    unsigned index;
    enum llm_block_kind kind;       /* of the open block */
    struct llm_signature signature; /* of the open block, not yet written */
    bool is_open;
    bool is_waiting; /* redacted thinking begins with its signature */
    bool has_started, has_call;
    bool has_told_end; /* message_delta was sent */
    bool has_other;    /* another's block is open that has no neutral form */
};

struct llm_encoder *anthropic_encoder_new(struct arena *arena,
                                          const struct llm_codec_settings *settings)
{
    struct anthropic_encoder *e = ARENA_NEW(arena, struct anthropic_encoder);
    if (e == NULL)
        return NULL;
    e->arena = arena;
    e->settings = *settings;
    e->usage = TOKEN_USAGE_NONE;
    e->finish = FINISH_STOP;
    return (struct llm_encoder *)(void *)e;
}

/* --- frames --- */

static void write_id(struct buf *out, const struct llm_codec_settings *settings, struct text id)
{
    BUF_LIT(out, "{\"id\":");
    if (!text_is_empty(id)) {
        text_write(out, id);
        return;
    }
    BUF_LIT(out, "\"msg_");
    text_write_inside(out, text_plain(settings->request_id));
    BUF_LIT(out, "\"");
}

static void write_head(struct buf *out, const struct llm_codec_settings *settings, struct text id,
                       struct text model)
{
    write_id(out, settings, id);
    BUF_LIT(out, ",\"type\":\"message\",\"role\":\"assistant\"");
    anthropic_key_text(out, "model", text_is_empty(model) ? text_plain(settings->model) : model);
}

static void start_message(struct anthropic_encoder *e, struct llm_frames *frames)
{
    if (e->has_started)
        return;
    e->has_started = true;
    struct buf *out = frames->begin(frames, STR("message_start"));
    BUF_LIT(out, "{\"type\":\"message_start\",\"message\":");
    write_head(out, &e->settings, e->id, e->model);
    BUF_LIT(out, ",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":");
    anthropic_usage_write(out, &e->usage);
    BUF_LIT(out, "}}");
    frames->end(frames);
}

/* {"type":"content_block_start","index":0,"content_block": */
static struct buf *begin_start(struct anthropic_encoder *e, struct llm_frames *frames)
{
    struct buf *out = frames->begin(frames, STR("content_block_start"));
    BUF_LIT(out, "{\"type\":\"content_block_start\",\"index\":");
    buf_add_u64(out, e->index);
    BUF_LIT(out, ",\"content_block\":");
    return out;
}

static void end_frame(struct buf *out, struct llm_frames *frames)
{
    BUF_LIT(out, "}");
    frames->end(frames);
}

static void write_start(struct anthropic_encoder *e, struct str block, struct llm_frames *frames)
{
    struct buf *out = begin_start(e, frames);
    buf_add_str(out, block);
    end_frame(out, frames);
}

/* {"type":"content_block_delta","index":0,"delta":{"type":"TYPE" */
static struct buf *begin_delta(struct anthropic_encoder *e, const char *type,
                               struct llm_frames *frames)
{
    struct buf *out = frames->begin(frames, STR("content_block_delta"));
    BUF_LIT(out, "{\"type\":\"content_block_delta\",\"index\":");
    buf_add_u64(out, e->index);
    BUF_LIT(out, ",\"delta\":{\"type\":\"");
    buf_add_str(out, str_c(type));
    BUF_LIT(out, "\"");
    return out;
}

static void write_delta(struct anthropic_encoder *e, const char *type, const char *key,
                        struct text text, struct llm_frames *frames)
{
    struct buf *out = begin_delta(e, type, frames);
    anthropic_key_text(out, key, text);
    BUF_LIT(out, "}");
    end_frame(out, frames);
}

static void write_stop(struct anthropic_encoder *e, struct llm_frames *frames)
{
    struct buf *out = frames->begin(frames, STR("content_block_stop"));
    BUF_LIT(out, "{\"type\":\"content_block_stop\",\"index\":");
    buf_add_u64(out, e->index++);
    end_frame(out, frames);
}

/* --- blocks --- */

#define THINKING_START STR("{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}")

static void write_signature(struct anthropic_encoder *e, const struct llm_signature *signature,
                            enum signature_place place, struct llm_frames *frames)
{
    struct arena_mark mark = arena_mark(e->arena);
    struct text marked = signature_mark(e->arena, signature, place, DIALECT_ANTHROPIC);
    if (e->is_waiting) {
        struct buf *out = begin_start(e, frames);
        BUF_LIT(out, "{\"type\":\"redacted_thinking\"");
        anthropic_key_text(out, "data", marked);
        BUF_LIT(out, "}");
        end_frame(out, frames);
        e->is_waiting = false;
        e->is_open = true;
    } else {
        write_delta(e, "signature_delta", "signature", marked, frames);
    }
    arena_rewind(e->arena, mark);
}

/* A signature that belongs to the call after it: thinking without words carries it. */
static void write_carrier(struct anthropic_encoder *e, const struct llm_signature *signature,
                          struct llm_frames *frames)
{
    write_start(e, THINKING_START, frames);
    write_signature(e, signature, SIGNATURE_OF_CALL, frames);
    write_stop(e, frames);
}

static void start_call(struct anthropic_encoder *e, const struct llm_event *event,
                       struct llm_frames *frames)
{
    if (text_is_some(event->signature.data))
        write_carrier(e, &event->signature, frames);
    e->has_call = true;
    struct buf *out = begin_start(e, frames);
    BUF_LIT(out, "{\"type\":\"tool_use\",\"id\":");
    text_write(out, event->id);
    anthropic_key_text(out, "name", event->name);
    BUF_LIT(out, ",\"input\":{}}");
    end_frame(out, frames);
    e->is_open = true;
}

/* The input of a call comes as a delta, which is what SDKs put together. */
static void write_opaque(struct anthropic_encoder *e, struct str raw, struct llm_frames *frames)
{
    struct json_cursor cursor;
    struct str key;
    struct json_value value, input = {JSON_NONE, STR_EMPTY};
    struct buf *out = begin_start(e, frames);
    buf_add_char(out, '{');
    json_cursor_init(&cursor, raw);
    while (json_iter_object(&cursor, &key, &value) == 1) {
        bool is_input = json_string_eq(key, STR("input")) && value.kind == JSON_OBJECT;
        if (is_input)
            input = value;
        anthropic_comma(out);
        text_write(out, (struct text){key, true});
        buf_add_char(out, ':');
        buf_add_str(out, is_input ? STR("{}") : value.text);
    }
    BUF_LIT(out, "}");
    end_frame(out, frames);
    if (input.kind == JSON_OBJECT)
        write_delta(e, "input_json_delta", "partial_json", text_plain(input.text), frames);
    write_stop(e, frames);
}

static int start_block(struct anthropic_encoder *e, const struct llm_event *event,
                       struct llm_frames *frames)
{
    e->kind = event->block_kind;
    e->is_open = e->is_waiting = false;
    e->signature = (struct llm_signature){TEXT_NONE, DIALECT_ANTHROPIC};
    switch (event->block_kind) {
    case BLOCK_TEXT:
    case BLOCK_REFUSAL:
        write_start(e, STR("{\"type\":\"text\",\"text\":\"\"}"), frames);
        e->is_open = true;
        break;
    case BLOCK_THINKING:
        e->is_waiting = event->is_redacted;
        e->is_open = !event->is_redacted;
        if (e->is_open)
            write_start(e, THINKING_START, frames);
        if (!text_is_some(event->signature.data))
            break;
        if (e->is_waiting) {
            write_signature(e, &event->signature, SIGNATURE_OF_THINKING, frames);
            break;
        }
        /* It comes last. */
        e->signature.data = text_dup(e->arena, event->signature.data);
        e->signature.maker = event->signature.maker;
        if (!text_is_some(e->signature.data))
            return anthropic_no_memory();
        break;
    case BLOCK_TOOL_CALL:
        start_call(e, event, frames);
        break;
    case BLOCK_OPAQUE:
        if (event->maker == DIALECT_ANTHROPIC)
            write_opaque(e, event->raw, frames);
        break;
    case BLOCK_IMAGE:
    case BLOCK_AUDIO:
    case BLOCK_VIDEO:
    case BLOCK_DOCUMENT:
    case BLOCK_TOOL_RESULT:
        break; /* an answer has no form for them */
    }
    return 0;
}

static void add_citation(struct anthropic_encoder *e, const struct llm_citation *citation,
                         struct llm_frames *frames)
{
    struct buf written = BUF_INIT;
    if (citation != NULL && anthropic_write_citation(&written, citation) && buf_ok(&written)) {
        struct buf *out = begin_delta(e, "citations_delta", frames);
        anthropic_key_raw(out, "citation", buf_str(&written));
        BUF_LIT(out, "}");
        end_frame(out, frames);
    }
    buf_fini(&written);
}

static void add_to_block(struct anthropic_encoder *e, const struct llm_event *event,
                         struct llm_frames *frames)
{
    bool is_thinking = e->kind == BLOCK_THINKING;
    if (event->delta == DELTA_SIGNATURE && is_thinking && (e->is_open || e->is_waiting)) {
        e->signature.data = TEXT_NONE;
        write_signature(e, &event->signature, SIGNATURE_OF_THINKING, frames);
        return;
    }
    if (!e->is_open)
        return;
    if (event->delta == DELTA_TEXT && is_thinking && !text_is_empty(event->text))
        write_delta(e, "thinking_delta", "thinking", event->text, frames);
    else if (event->delta == DELTA_TEXT && e->kind != BLOCK_TOOL_CALL &&
             !text_is_empty(event->text))
        write_delta(e, "text_delta", "text", event->text, frames);
    else if (event->delta == DELTA_ARGUMENTS && e->kind == BLOCK_TOOL_CALL &&
             !text_is_empty(event->text))
        write_delta(e, "input_json_delta", "partial_json", event->text, frames);
    else if (event->delta == DELTA_CITATION && !is_thinking && e->kind != BLOCK_TOOL_CALL)
        add_citation(e, event->citation, frames);
}

static void stop_block(struct anthropic_encoder *e, struct llm_frames *frames)
{
    e->is_waiting = false;
    if (!e->is_open)
        return;
    if (text_is_some(e->signature.data))
        write_signature(e, &e->signature, SIGNATURE_OF_THINKING, frames);
    e->is_open = false;
    write_stop(e, frames);
}

/* --- the message --- */

static void write_stop_members(struct buf *out, enum llm_finish finish, bool has_call,
                               struct text stop_sequence)
{
    anthropic_key(out, "stop_reason");
    buf_printf(out, "\"%s\",\"stop_sequence\":", anthropic_stop_reason(finish, has_call));
    if (finish == FINISH_STOP_SEQUENCE && text_is_some(stop_sequence))
        text_write(out, stop_sequence);
    else
        BUF_LIT(out, "null");
}

void anthropic_write_last(const struct token_usage *usage, struct llm_frames *frames)
{
    struct buf *out = frames->begin(frames, STR("message_stop"));
    (void)usage;
    BUF_LIT(out, "{\"type\":\"message_stop\"}");
    frames->end(frames);
}

static void write_done(struct anthropic_encoder *e, struct llm_frames *frames)
{
    if (!e->has_told_end) {
        struct buf *out = frames->begin(frames, STR("message_delta"));
        BUF_LIT(out, "{\"type\":\"message_delta\",\"delta\":{");
        write_stop_members(out, e->finish, e->has_call, e->stop_sequence);
        BUF_LIT(out, "},\"usage\":");
        anthropic_usage_write(out, &e->usage);
        end_frame(out, frames);
    }
    anthropic_write_last(&e->usage, frames);
}

static int keep(struct anthropic_encoder *e, struct text *place, struct text text)
{
    if (!text_is_some(text))
        return 0;
    *place = text_dup(e->arena, text);
    return text_is_some(*place) ? 0 : anthropic_no_memory();
}

static void write_error_event(const struct llm_error *error, struct llm_frames *frames)
{
    struct buf *out = frames->begin(frames, STR("error"));
    anthropic_write_error(error, out);
    frames->end(frames);
}

static int encode_other(struct anthropic_encoder *e, const struct llm_event *event,
                        struct llm_frames *frames)
{
    int r = 0;
    start_message(e, frames);
    switch (event->kind) {
    case EVENT_BLOCK_START:
        return start_block(e, event, frames);
    case EVENT_DELTA:
        add_to_block(e, event, frames);
        break;
    case EVENT_BLOCK_STOP:
        stop_block(e, frames);
        break;
    case EVENT_FINISH:
        stop_block(e, frames);
        e->finish = event->finish;
        r = keep(e, &e->stop_sequence, event->stop_sequence);
        break;
    case EVENT_DONE:
        stop_block(e, frames);
        write_done(e, frames);
        break;
    default:
        break;
    }
    return r;
}

int anthropic_encode(struct llm_encoder *encoder, const struct llm_event *event,
                     struct llm_frames *frames)
{
    struct anthropic_encoder *e = (struct anthropic_encoder *)(void *)encoder;
    struct buf *out;
    int r = 0;
    if (event->choice > 0)
        return 0;
    switch (event->kind) {
    case EVENT_START:
        if (!e->has_started) {
            r = keep(e, &e->id, event->id);
            if (r == 0)
                r = keep(e, &e->model, event->model);
        }
        break;
    case EVENT_USAGE:
        token_usage_merge(&e->usage, &event->usage);
        break;
    case EVENT_PING:
        /* One may come before the provider has said anything: SDKs know it at any place. */
        out = frames->begin(frames, STR("ping"));
        BUF_LIT(out, "{\"type\":\"ping\"}");
        frames->end(frames);
        break;
    case EVENT_ERROR:
        write_error_event(&event->error, frames);
        break;
    default:
        return encode_other(e, event, frames);
    }
    return r;
}

int anthropic_encoder_follow(struct llm_encoder *encoder, struct str type, struct str data)
{
    struct anthropic_encoder *e = (struct anthropic_encoder *)(void *)encoder;
    struct json_value value;
    int64_t index;
    if (type.len == 0 && json_find(data, "type", &value))
        type = json_string_raw(value);
    bool is_start = str_eq(type, STR("content_block_start"));
    bool is_stop = str_eq(type, STR("content_block_stop"));
    if (str_eq(type, STR("message_start")))
        e->has_started = true;
    else if (str_eq(type, STR("message_delta")))
        e->has_told_end = true;
    if (!is_start && !is_stop)
        return e->has_other;
    if (json_find(data, "index", &value) && json_number_i64(value, &index) && index >= 0 &&
        index < INT32_MAX)
        e->index = (unsigned)index + is_stop;
    e->has_other = is_start && !e->is_open;
    return e->has_other;
}

/* --- a whole answer --- */

static bool is_of_answer(const struct llm_block *block)
{
    switch (block->kind) {
    case BLOCK_TEXT:
    case BLOCK_REFUSAL:
    case BLOCK_TOOL_CALL:
        return true;
    case BLOCK_THINKING:
        return !block->is_redacted || text_is_some(block->signature.data);
    case BLOCK_OPAQUE:
        return block->maker == DIALECT_ANTHROPIC;
    default:
        return false;
    }
}

static void write_answer_block(struct buf *out, struct arena *arena, const struct llm_block *block)
{
    if (block->kind == BLOCK_TOOL_CALL && text_is_some(block->signature.data)) {
        struct llm_block carrier = {
            .kind = BLOCK_THINKING, .signature = block->signature, .is_for_call = true};
        anthropic_comma(out);
        anthropic_write_block(out, arena, &carrier);
    }
    anthropic_comma(out);
    /* SDKs know no thinking without the member. */
    if (block->kind == BLOCK_THINKING && !text_is_some(block->signature.data)) {
        BUF_LIT(out, "{\"type\":\"thinking\"");
        anthropic_key_text(out, "thinking", block->text);
        BUF_LIT(out, ",\"signature\":\"\"}");
        return;
    }
    anthropic_write_block(out, arena, block);
}

void anthropic_write_answer(const struct llm_answer *answer,
                            const struct llm_codec_settings *settings, struct buf *out)
{
    const struct llm_choice *choice = answer->choices;
    struct arena *scratch = arena_new(4096);
    bool has_call = false;
    if (scratch == NULL) {
        out->failed = true;
        return;
    }
    write_head(out, settings, answer->id, answer->model);
    BUF_LIT(out, ",\"content\":[");
    for (const struct llm_block *b = choice != NULL ? choice->blocks : NULL; b != NULL;
         b = b->next) {
        if (is_of_answer(b))
            write_answer_block(out, scratch, b);
        has_call = has_call || b->kind == BLOCK_TOOL_CALL;
    }
    buf_add_char(out, ']');
    write_stop_members(out, choice != NULL ? choice->finish : FINISH_STOP, has_call,
                       choice != NULL ? choice->stop_sequence : TEXT_NONE);
    anthropic_key(out, "usage");
    anthropic_usage_write(out, &answer->usage);
    BUF_LIT(out, "}");
    arena_free(scratch);
}
