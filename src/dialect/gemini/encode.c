#include "base/err.h"
#include "dialect/gemini/codec.h"
#include "dialect/gemini/logprobs.h"
#include "dialect/gemini/sources.h"

/* Writes a stream: each piece of text is a chunk of its own; calls and media go when they are
 * whole. Reasons to finish wait for DONE, so that the usage can stand beside the last one. */

struct held {
    struct held *next;
    unsigned choice;
    enum llm_finish finish;
    struct gemini_sources sources;
    bool is_finished;
};

struct llm_encoder {
    struct arena *arena; /* what lasts; scratch is another */
    struct arena *scratch;
    const struct llm_codec_settings *settings;
    struct text id, model;
    struct token_usage usage;
    struct held *held; /* by choice, as they came */
    /* the open block */
    enum llm_block_kind kind;
    struct text call_id, name, media_type;
    struct llm_signature signature;
    struct arena *block; /* what the texts above live in; made anew for each block */
    struct buf data;     /* arguments or base64 */
    size_t event_start;  /* of the event that is being written, in its buf */
    bool has_started, is_over, no_memory;
    bool has_told_end; /* the reason to finish was sent */
};

static void encoder_fini(void *arg)
{
    struct llm_encoder *e = arg;
    for (struct held *h = e->held; h != NULL; h = h->next)
        gemini_sources_fini(&h->sources);
    buf_fini(&e->data);
    arena_free(e->block);
    arena_free(e->scratch);
}

struct llm_encoder *gemini_encoder_new(struct arena *arena,
                                       const struct llm_codec_settings *settings)
{
    struct llm_encoder *e = ARENA_NEW(arena, struct llm_encoder);
    if (e == NULL)
        return NULL;
    e->scratch = arena_new(1024);
    e->arena = arena;
    e->settings = settings;
    e->usage = TOKEN_USAGE_NONE;
    e->data = BUF_INIT;
    if (e->scratch == NULL || !arena_defer(arena, encoder_fini, e)) {
        arena_free(e->scratch);
        return NULL;
    }
    return e;
}

static struct held *held_of(struct llm_encoder *e, unsigned choice)
{
    struct held **at = &e->held;
    while (*at != NULL && (*at)->choice != choice)
        at = &(*at)->next;
    if (*at == NULL) {
        *at = ARENA_NEW(e->arena, struct held);
        if (*at == NULL) {
            e->no_memory = true;
            return NULL;
        }
        (*at)->choice = choice;
        gemini_sources_init(&(*at)->sources);
    }
    return *at;
}

/* A copy that lives as long as the block. */
static struct text keep(struct llm_encoder *e, struct arena *arena, struct text text)
{
    struct text copy = text_is_some(text) ? text_dup(arena, text) : TEXT_NONE;
    if (text_is_some(text) && !text_is_some(copy))
        e->no_memory = true;
    return copy;
}

/* --- chunks ---------------------------------------------------------------------------------- */

static struct buf *begin_event(struct llm_encoder *e, struct llm_frames *frames)
{
    struct buf *out = frames->begin(frames, STR_EMPTY);
    e->event_start = out->len;
    return out;
}

/* SDKs read an event as one line. What was taken over as JSON may stand on several: there a break
 * is only white space between tokens. */
static void end_event(struct llm_encoder *e, struct buf *out, struct llm_frames *frames)
{
    for (size_t i = e->event_start; buf_ok(out) && i < out->len; i++) {
        if (out->ptr[i] == '\n' || out->ptr[i] == '\r')
            out->ptr[i] = ' ';
    }
    frames->end(frames);
}

static struct buf *begin_part(struct llm_encoder *e, struct llm_frames *frames)
{
    struct buf *out = begin_event(e, frames);
    BUF_LIT(out, "{\"candidates\":[{\"content\":{\"parts\":[");
    return out;
}

static void end_part(struct llm_encoder *e, unsigned choice, struct buf *out,
                     struct llm_frames *frames)
{
    buf_printf(out, "],\"role\":\"model\"},\"index\":%u}]", choice);
    gemini_write_tail(out, NULL, e->id, e->model, e->settings);
    buf_add_char(out, '}');
    end_event(e, out, frames);
}

static void write_text(struct llm_encoder *e, const struct llm_event *event,
                       struct llm_frames *frames)
{
    if (text_is_empty(event->text))
        return;
    struct buf *out = begin_part(e, frames);
    BUF_LIT(out, "{\"text\":");
    text_write(out, event->text);
    if (e->kind == BLOCK_THINKING)
        BUF_LIT(out, ",\"thought\":true");
    buf_add_char(out, '}');
    end_part(e, event->choice, out, frames);
}

/* In a part of its own behind the text that it signs. */
static void write_signature(struct llm_encoder *e, unsigned choice,
                            const struct llm_signature *signature, struct llm_frames *frames)
{
    if (text_is_empty(signature->data))
        return;
    struct buf *out = begin_part(e, frames);
    BUF_LIT(out, "{\"text\":\"\"");
    if (e->kind == BLOCK_THINKING || signature->maker != DIALECT_GEMINI)
        BUF_LIT(out, ",\"thought\":true");
    gemini_write_signature(out, e->scratch, signature, false);
    buf_add_char(out, '}');
    end_part(e, choice, out, frames);
}

static void start_block(struct llm_encoder *e, const struct llm_event *event,
                        struct llm_frames *frames)
{
    arena_free(e->block);
    e->block = NULL;
    buf_clear(&e->data);
    e->kind = event->block_kind;
    e->call_id = e->name = e->media_type = TEXT_NONE;
    e->signature = (struct llm_signature){TEXT_NONE, event->signature.maker};
    switch (event->block_kind) {
    case BLOCK_THINKING:
    case BLOCK_TEXT:
        write_signature(e, event->choice, &event->signature, frames);
        break;
    case BLOCK_TOOL_CALL:
    case BLOCK_IMAGE:
    case BLOCK_AUDIO:
        e->block = arena_new(1024);
        if (e->block == NULL) {
            e->no_memory = true;
            break;
        }
        e->call_id = keep(e, e->block, event->id);
        e->name = keep(e, e->block, event->name);
        e->media_type = keep(e, e->block, event->media_type);
        e->signature.data = keep(e, e->block, event->signature.data);
        break;
    case BLOCK_OPAQUE:
        if (event->maker == DIALECT_GEMINI && event->raw.len > 0) {
            struct buf *out = begin_part(e, frames);
            buf_add_str(out, event->raw);
            end_part(e, event->choice, out, frames);
        }
        break;
    default:
        break;
    }
}

static void take_signature(struct llm_encoder *e, const struct llm_event *event,
                           struct llm_frames *frames)
{
    if (e->block == NULL) {
        write_signature(e, event->choice, &event->signature, frames);
        return;
    }
    e->signature.data = keep(e, e->block, event->signature.data);
    e->signature.maker = event->signature.maker;
}

/* They come beside the text, in a chunk that adds none. */
static void write_logprobs(struct llm_encoder *e, const struct llm_event *event,
                           struct llm_frames *frames)
{
    struct buf *out = begin_part(e, frames);
    BUF_LIT(out, "{\"text\":\"\"}");
    buf_printf(out, "],\"role\":\"model\"},\"index\":%u,\"logprobsResult\":", event->choice);
    gemini_write_logprobs(out, event->raw);
    BUF_LIT(out, "}]");
    gemini_write_tail(out, NULL, e->id, e->model, e->settings);
    buf_add_char(out, '}');
    end_event(e, out, frames);
}

static void write_delta(struct llm_encoder *e, const struct llm_event *event,
                        struct llm_frames *frames)
{
    struct held *held;
    switch (event->delta) {
    case DELTA_TEXT:
        write_text(e, event, frames);
        break;
    case DELTA_ARGUMENTS:
        if (e->kind == BLOCK_TOOL_CALL)
            e->no_memory |= text_append_plain(&e->data, event->text) == -ERR_NOMEM;
        break;
    case DELTA_MEDIA:
        e->no_memory |= text_append_plain(&e->data, event->text) == -ERR_NOMEM;
        break;
    case DELTA_SIGNATURE:
        take_signature(e, event, frames);
        break;
    case DELTA_CITATION:
        held = held_of(e, event->choice);
        if (held != NULL && event->citation != NULL)
            gemini_sources_add(&held->sources, event->citation);
        break;
    case DELTA_LOGPROBS:
        write_logprobs(e, event, frames);
        break;
    }
}

static void stop_block(struct llm_encoder *e, unsigned choice, struct llm_frames *frames)
{
    struct text data = text_plain(buf_str(&e->data));
    struct buf *out;
    if (e->kind == BLOCK_TOOL_CALL) {
        out = begin_part(e, frames);
        gemini_write_call(out, e->scratch, e->call_id, e->name, data, &e->signature);
        end_part(e, choice, out, frames);
    } else if ((e->kind == BLOCK_IMAGE || e->kind == BLOCK_AUDIO) && e->data.len > 0) {
        out = begin_part(e, frames);
        gemini_write_inline(out, e->media_type, data);
        if (!text_is_empty(e->signature.data) && out->len > 0) {
            out->len--;
            gemini_write_signature(out, e->scratch, &e->signature, false);
            buf_add_char(out, '}');
        }
        end_part(e, choice, out, frames);
    }
    e->no_memory |= !buf_ok(&e->data);
    arena_free(e->block);
    e->block = NULL;
    buf_clear(&e->data);
    e->kind = BLOCK_TEXT;
}

/* One chunk with all that finished. */
static void write_end(struct llm_encoder *e, struct llm_frames *frames)
{
    struct buf *out = begin_event(e, frames);
    BUF_LIT(out, "{\"candidates\":[");
    for (const struct held *h = e->held; h != NULL; h = h->next) {
        if (!h->is_finished)
            continue;
        gemini_comma(out);
        /* SDKs look into the content of every chunk. */
        BUF_LIT(out, "{\"content\":{\"parts\":[{\"text\":\"\"}],\"role\":\"model\"},");
        buf_printf(out, "\"finishReason\":\"%s\",\"index\":%u", gemini_finish_name(h->finish),
                   h->choice);
        gemini_sources_write(&h->sources, out);
        buf_add_char(out, '}');
    }
    buf_add_char(out, ']');
    gemini_write_tail(out, &e->usage, e->id, e->model, e->settings);
    buf_add_char(out, '}');
    end_event(e, out, frames);
    e->is_over = true;
}

static void start_answer(struct llm_encoder *e, const struct llm_event *event)
{
    if (e->has_started)
        return;
    e->has_started = true;
    e->id = keep(e, e->arena, event->id);
    e->model = keep(e, e->arena, event->model);
}

static void write_failure(struct llm_encoder *e, const struct llm_error *error,
                          struct llm_frames *frames)
{
    struct buf *out = begin_event(e, frames);
    gemini_write_error(error, out);
    end_event(e, out, frames);
    e->is_over = true;
}

int gemini_encode(struct llm_encoder *e, const struct llm_event *event, struct llm_frames *frames)
{
    struct held *held;
    if (e->is_over)
        return 0;
    switch (event->kind) {
    case EVENT_START:
        start_answer(e, event);
        break;
    case EVENT_BLOCK_START:
        start_block(e, event, frames);
        break;
    case EVENT_DELTA:
        write_delta(e, event, frames);
        break;
    case EVENT_BLOCK_STOP:
        stop_block(e, event->choice, frames);
        break;
    case EVENT_USAGE:
        token_usage_merge(&e->usage, &event->usage);
        break;
    case EVENT_FINISH:
        held = held_of(e, event->choice);
        if (held != NULL) {
            held->finish = event->finish;
            held->is_finished = true;
        }
        break;
    case EVENT_DONE:
        if (!e->has_told_end)
            write_end(e, frames);
        e->is_over = true;
        break;
    case EVENT_ERROR:
        write_failure(e, &event->error, frames);
        break;
    case EVENT_PING:
        break;
    }
    return e->no_memory ? err_set(ERR_NOMEM, FAULT_GATEWAY, "out of memory") : 0;
}

int gemini_encoder_follow(struct llm_encoder *e, struct str type, struct str data)
{
    struct json_value reason;
    (void)type;
    if (json_find(data, "candidates[0].finishReason", &reason) && reason.kind == JSON_STRING)
        e->has_told_end = true;
    return 0;
}
