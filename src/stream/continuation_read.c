#include "base/err.h"
#include "stream/continuation_private.h"

/*
 * What was delivered: the bytes that were sent are decoded by the client's own dialect, noted, and
 * encoded again into nothing, so that an encoder stands where the client's stream stands.
 */

enum {
    ARENA_BYTES = 4096,
    HELD_BYTES_MAX = 32 * 1024 * 1024,
    EVENT_SLACK_BYTES = 64,
};

struct reading {
    struct llm_sink sink; /* notes, and encodes */
    struct llm_frames frames;
    struct buf nothing; /* what is encoded goes here and is forgotten */
    struct sequence sequence;
    struct continuation *c;
    const char *unfit; /* something that cannot be gone on with */
    bool is_ending;
};

static int no_memory(void)
{
    return err_set(ERR_NOMEM, FAULT_GATEWAY, "out of memory while reading what was delivered");
}

/* --- notes --- */

static struct continuation_block *add_block(struct continuation *c, const struct llm_event *event)
{
    struct continuation_block *block = ARENA_NEW(c->arena, struct continuation_block);
    if (block == NULL)
        return NULL;
    block->kind = event->block_kind;
    block->source = event->block;
    block->inside = BUF_INIT;
    if (text_is_some(event->name)) {
        block->name = text_dup(c->arena, event->name);
        if (!text_is_some(block->name))
            return NULL;
    }
    if (c->last_block != NULL)
        c->last_block->next = block;
    else
        c->blocks = block;
    c->last_block = block;
    return block;
}

static int note_start(struct reading *r, const struct llm_event *event)
{
    struct continuation *c = r->c;
    c->is_interleaved = c->is_interleaved || c->is_open;
    c->is_open = true;
    c->is_signed = text_is_some(event->signature.data);
    c->kind = event->block_kind;
    c->index = c->next_index++;
    if (event->block_kind == BLOCK_REFUSAL)
        r->unfit = "the model had refused";
    return add_block(c, event) != NULL ? 0 : no_memory();
}

static int note_delta(struct continuation *c, const struct llm_event *event)
{
    struct continuation_block *block = c->last_block;
    bool is_text = event->delta == DELTA_TEXT || event->delta == DELTA_ARGUMENTS;
    c->has_logprobs = c->has_logprobs || event->delta == DELTA_LOGPROBS;
    c->is_signed = c->is_signed || event->delta == DELTA_SIGNATURE;
    if (block == NULL || block->source != event->block) {
        c->is_interleaved = c->is_interleaved || is_text;
        return 0;
    }
    if (is_text)
        text_write_inside(&block->inside, event->text);
    return buf_ok(&block->inside) ? 0 : no_memory();
}

static void note_stop(struct continuation *c, unsigned source)
{
    if (c->last_block == NULL || c->last_block->source != source)
        return;
    c->last_block->is_stopped = true;
    c->is_open = false;
}

static int note(struct reading *r, const struct llm_event *event)
{
    struct continuation *c = r->c;
    c->has_choices = c->has_choices || event->choice > 0;
    switch (event->kind) {
    case EVENT_START:
        c->has_begun = true;
        return 0;
    case EVENT_BLOCK_START:
        return note_start(r, event);
    case EVENT_DELTA:
        return note_delta(c, event);
    case EVENT_BLOCK_STOP:
        note_stop(c, event->block);
        return 0;
    case EVENT_USAGE:
        token_usage_merge(&c->before, &event->usage);
        return 0;
    case EVENT_FINISH:
        c->is_finished = true;
        return 0;
    case EVENT_DONE:
        c->is_done = true;
        return 0;
    case EVENT_ERROR:
        c->is_error = true;
        return 0;
    case EVENT_PING:
        break;
    }
    return 0;
}

static int read_event(struct llm_sink *sink, const struct llm_event *event)
{
    struct reading *r = CONTAINER_OF(sink, struct reading, sink);
    struct continuation *c = r->c;
    bool is_told_again = event->kind == EVENT_START && c->has_begun;
    if (r->is_ending) {
        c->is_finished = c->is_finished || event->kind == EVENT_FINISH;
        return 0;
    }
    int result = note(r, event);
    if (result < 0 || is_told_again || c->client->follows_alone)
        return result;
    return c->client->encode(c->encoder, event, &r->frames);
}

static struct buf *begin_nothing(struct llm_frames *frames, struct str type)
{
    struct reading *r = CONTAINER_OF(frames, struct reading, frames);
    (void)type;
    buf_clear(&r->nothing);
    return &r->nothing;
}

static void end_nothing(struct llm_frames *frames)
{
    (void)frames;
}

/* --- the journal --- */

static int read_frame(struct reading *r, struct llm_decoder *decoder, struct llm_sink *sink,
                      const struct frame *frame)
{
    struct continuation *c = r->c;
    if (!frame->has_data)
        return 0;
    int result = c->client->decode(decoder, frame->type, frame->data, sink);
    if (result < 0)
        return result == -ERR_INVALID ? 0 : result; /* it meant nothing to the client, either */
    if (c->client->encoder_follow == NULL)
        return 0;
    result = c->client->encoder_follow(c->encoder, frame->type, frame->data);
    c->has_other = result > 0;
    return MIN(result, 0);
}

static int read_frames(struct reading *r, struct llm_decoder *decoder, struct llm_sink *sink,
                       struct str journal)
{
    struct frame_splitter splitter;
    struct frame frame;
    int result;
    frame_splitter_init(&splitter, r->c->framing, journal.len + EVENT_SLACK_BYTES);
    while ((result = frame_next(&splitter, &journal, &frame)) == 1) {
        result = read_frame(r, decoder, sink, &frame);
        if (result < 0)
            break;
    }
    if (result == 0) {
        result = frame_finish(&splitter, &frame);
        if (result < 0 || (result == 1 && frame.has_data))
            r->unfit = "half an event was sent";
    } else if (result == -ERR_PROTOCOL || result == -ERR_LIMIT) {
        r->unfit = "what was sent cannot be read back";
    }
    frame_splitter_fini(&splitter);
    return result == -ERR_NOMEM ? result : 0;
}

static int read_journal(struct reading *r, struct str journal)
{
    struct continuation *c = r->c;
    bool is_loose = c->client->id == DIALECT_OPENAI_CHAT; /* calls may come side by side */
    struct arena *arena = arena_new(ARENA_BYTES);
    struct llm_decoder *decoder = arena != NULL ? c->client->decoder_new(arena, &c->codec) : NULL;
    if (decoder == NULL) {
        arena_free(arena);
        return no_memory();
    }
    sequence_init(&r->sequence, c->arena, &r->sink, HELD_BYTES_MAX);
    struct llm_sink *sink = is_loose ? &r->sequence.sink : &r->sink;
    int result = read_frames(r, decoder, sink, journal);
    c->is_interleaved = c->is_interleaved || r->sequence.held_bytes > 0;
    r->is_ending = true;
    if (result == 0 && c->has_begun && !c->is_done && !c->is_error &&
        c->client->decode_end(decoder, &r->sink) == 0)
        c->is_finished = true;
    sequence_fini(&r->sequence);
    arena_free(arena);
    return result;
}

/* --- what it comes to --- */

struct str continuation_cut_half(struct str *inside)
{
    enum { HALF_BYTES = 6 };
    uint8_t unit[2];
    if (inside->len < HALF_BYTES)
        return STR_EMPTY;
    struct str half = str_skip(*inside, inside->len - HALF_BYTES);
    size_t backslashes = 0;
    while (backslashes < inside->len - HALF_BYTES + 1 && half.ptr[-(ptrdiff_t)backslashes] == '\\')
        backslashes++;
    if (half.ptr[1] != 'u' || backslashes % 2 == 0 ||
        !str_from_hex(str_skip(half, 2), unit, sizeof(unit)) || (unit[0] & 0xfc) != 0xd8)
        return STR_EMPTY;
    *inside = str_head(*inside, inside->len - HALF_BYTES);
    return half;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

/* The plain text of every block, and of the answer. */
static int settle_text(struct continuation *c)
{
    for (struct continuation_block *b = c->blocks; b != NULL; b = b->next) {
        struct str inside = buf_str(&b->inside);
        struct str half = b->kind == BLOCK_TEXT ? continuation_cut_half(&inside) : STR_EMPTY;
        b->plain = arena_dup(c->arena, text_or(c->arena, (struct text){inside, true}, STR_EMPTY));
        c->half = half.len > 0 ? arena_dup(c->arena, half) : STR_EMPTY;
        if (b->plain.ptr == NULL || (half.len > 0 && c->half.ptr == NULL))
            return no_memory();
        if (b->kind == BLOCK_TEXT)
            buf_add_str(&c->text, b->plain);
    }
    if (!buf_ok(&c->text))
        return no_memory();
    c->text_bytes = c->text.len;
    c->text_sound = c->text.len;
    while (c->text_sound > 0 && is_space(c->text.ptr[c->text_sound - 1]))
        c->text_sound--;
    return 0;
}

struct continuation_block *continuation_awaited(const struct continuation *c,
                                                struct continuation_block *block)
{
    bool has_calls = false;
    for (const struct continuation_block *b = c->blocks; b != NULL; b = b->next)
        has_calls = has_calls || b->kind == BLOCK_TOOL_CALL;
    enum llm_block_kind wanted = has_calls ? BLOCK_TOOL_CALL : BLOCK_TEXT;
    while (block != NULL && block->kind != wanted)
        block = block->next;
    return block;
}

/* What stands in the way of going on; NULL = nothing. */
static const char *obstacle(const struct continuation *c, const struct reading *r)
{
    bool has_media = false, has_call = false;
    if (r->unfit != NULL)
        return r->unfit;
    if (c->has_choices)
        return "several choices were being delivered";
    if (c->has_other)
        return "something that only its provider understands was being delivered";
    if (c->has_logprobs)
        return "probabilities of tokens were being delivered";
    if (c->is_interleaved)
        return "its blocks were interleaved";
    for (const struct continuation_block *b = c->blocks; b != NULL; b = b->next) {
        has_call = has_call || b->kind == BLOCK_TOOL_CALL;
        if (b->kind == BLOCK_TEXT && has_call && b->inside.len > 0)
            return "text after a call was being delivered";
        if (b->kind != BLOCK_TEXT && b->kind != BLOCK_THINKING && b->kind != BLOCK_TOOL_CALL)
            has_media = true;
    }
    if (has_media && (has_call || c->text_sound == 0))
        return "an image or a built-in tool's result was delivered";
    return NULL;
}

static void judge(struct continuation *c, const struct reading *r)
{
    c->reason = obstacle(c, r);
    if (c->is_done || c->is_error)
        c->verdict = CONTINUATION_OVER;
    else if (c->is_finished && r->unfit == NULL)
        c->verdict = CONTINUATION_COMPLETE;
    else if (c->reason != NULL)
        c->verdict = CONTINUATION_CANNOT;
    else if (continuation_awaited(c, c->blocks) != NULL &&
             continuation_awaited(c, c->blocks)->kind == BLOCK_TOOL_CALL)
        c->verdict = CONTINUATION_REPEAT;
    else if (c->text.len > 0 || c->half.len > 0)
        c->verdict = CONTINUATION_TEXT;
    else
        c->verdict = CONTINUATION_REPLAY;
}

int continuation_read(struct continuation *c, const struct continuation_settings *settings,
                      struct str journal)
{
    struct reading r = {
        .sink = {read_event},
        .frames = {begin_nothing, end_nothing},
        .nothing = BUF_INIT,
        .c = c,
    };
    *c = (struct continuation){
        .verdict = CONTINUATION_CANNOT,
        .client = settings->client,
        .framing = settings->framing,
        .codec = *settings->codec,
        .text = BUF_INIT,
        .plain = BUF_INIT,
        .tail = BUF_INIT,
        .before = TOKEN_USAGE_NONE,
        .attempt = TOKEN_USAGE_NONE,
    };
    c->arena = arena_new(ARENA_BYTES);
    c->encoder_arena = arena_new(ARENA_BYTES);
    if (c->arena != NULL && c->encoder_arena != NULL)
        c->encoder = c->client->encoder_new(c->encoder_arena, &c->codec);
    int result = c->encoder != NULL ? read_journal(&r, journal) : no_memory();
    buf_fini(&r.nothing);
    if (result == 0)
        result = settle_text(c);
    if (settings->spent != NULL)
        c->before = *settings->spent;
    else
        c->before.is_partial = true;
    c->usage = c->before;
    if (result == 0)
        judge(c, &r);
    return result;
}
