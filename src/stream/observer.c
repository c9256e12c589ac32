#include "stream/observer.h"

#include "base/err.h"
#include "dialect/openai_chat/response.h"
#include "dialect/openai_chat/stream.h"

/* Keeps the first value told: the event's bytes do not last. */
static void keep(struct str_small *kept, struct str value)
{
    if (kept->len > 0 || value.len == 0)
        return;
    value = str_head(value, sizeof(kept->text));
    memcpy(kept->text, value.ptr, value.len);
    kept->len = (uint8_t)value.len;
}

struct str str_small_get(const struct str_small *small)
{
    return str_n(small->text, small->len);
}

static void note_usage(struct answer_summary *summary, const struct token_usage *usage)
{
    token_usage_merge(&summary->usage, usage);
    summary->has_usage = true;
}

/* --- OpenAI chat: read by a scanner of its own, which costs a tenth of a decoder --- */

static enum stream_event_kind kind_of_chunk(const struct stream_observer *o,
                                            const struct openai_chunk *chunk)
{
    if (chunk->is_done)
        return STREAM_DONE;
    if (chunk->is_error)
        return STREAM_ERROR;
    if (chunk->has_content)
        return STREAM_CONTENT;
    if (chunk->has_usage && chunk->has_empty_choices)
        return STREAM_USAGE_ONLY;
    bool is_opening = !o->has_content && chunk->choices_finished == 0 && !chunk->has_usage;
    return is_opening ? STREAM_OPENING : STREAM_OTHER;
}

static void observe_chunk(struct stream_observer *o, struct stream_event *event)
{
    const struct frame *frame = &event->frame;
    struct openai_chunk chunk;
    if (o->has_content && openai_chunk_is_plain(frame->type, frame->data)) {
        event->kind = STREAM_CONTENT;
        return;
    }
    if (openai_chunk_read(frame->type, frame->data, &chunk) < 0) {
        o->undecodable++;
        event->is_garbled = true;
        event->kind = STREAM_OTHER;
        return;
    }
    event->kind = kind_of_chunk(o, &chunk);
    if (chunk.is_error) {
        o->dialect->read_error(chunk.error.status, STR_EMPTY, frame->data, &event->error);
        event->error.status = chunk.error.status; /* 0 where it tells none */
    }
    o->has_content = o->has_content || chunk.has_content;
    o->is_done = o->is_done || chunk.is_done;
    o->is_broken = o->is_broken || chunk.is_error;
    o->choices_seen |= chunk.choices_seen;
    o->choices_finished |= chunk.choices_finished;
    /* Providers repeat or grow the usage: the last one told counts, nothing is added up. */
    if (chunk.has_usage) {
        o->summary.usage = chunk.usage;
        o->summary.has_usage = true;
    }
    keep(&o->summary.finish_reason, chunk.finish_reason);
    keep(&o->summary.model, chunk.model);
}

/* --- every other dialect: what its decoder says --- */

static uint64_t choice_bit(unsigned choice)
{
    return UINT64_C(1) << MIN(choice, 63u);
}

static int observe_decoded(struct llm_sink *sink, const struct llm_event *e)
{
    struct stream_observer *o = CONTAINER_OF(sink, struct stream_observer, sink);
    o->choices_seen |= e->kind == EVENT_PING || e->kind == EVENT_USAGE ? 0 : choice_bit(e->choice);
    switch (e->kind) {
    case EVENT_START:
        keep(&o->summary.model, e->model.s);
        break;
    case EVENT_BLOCK_START:
        /* A call is told by its name; text is not there before its first letter. */
        if (e->block_kind == BLOCK_TEXT || e->block_kind == BLOCK_THINKING)
            break;
        /* fall through */
    case EVENT_DELTA:
        o->event->kind = STREAM_CONTENT;
        o->has_content = true;
        break;
    case EVENT_USAGE:
        note_usage(&o->summary, &e->usage);
        break;
    case EVENT_FINISH:
        o->choices_finished |= choice_bit(e->choice);
        keep(&o->summary.finish_reason, e->raw_finish.s);
        if (o->event->kind != STREAM_CONTENT)
            o->event->kind = STREAM_OTHER;
        break;
    case EVENT_DONE:
        o->is_done = true;
        break;
    case EVENT_ERROR:
        o->is_broken = true;
        o->event->kind = STREAM_ERROR;
        o->event->error = e->error;
        break;
    case EVENT_BLOCK_STOP:
    case EVENT_PING:
        break;
    }
    return 0;
}

static int decode_event(struct stream_observer *o, struct stream_event *event)
{
    event->kind = o->has_content ? STREAM_OTHER : STREAM_OPENING;
    o->event = event;
    return o->dialect->decode(o->decoder, event->frame.type, event->frame.data, &o->sink);
}

/* --- a translation has the decoder and tells what it saw --- */

static int translate_event(struct stream_observer *o, struct stream_event *event)
{
    struct translation *t = o->translation;
    uint64_t content = t->content_events;
    bool was_finished = t->is_finished;
    event->kind = t->has_content ? STREAM_OTHER : STREAM_OPENING;
    int r = translation_event(t, event->frame.type, event->frame.data, o->frames);
    if (t->content_events != content)
        event->kind = STREAM_CONTENT;
    else if (t->is_finished && !was_finished)
        event->kind = STREAM_OTHER;
    if (t->is_done)
        event->kind = event->kind == STREAM_CONTENT ? STREAM_CONTENT : STREAM_DONE;
    if (t->is_error) {
        event->kind = STREAM_ERROR;
        event->error = t->error;
    }
    o->has_content = t->has_content;
    o->is_done = t->is_done;
    o->is_broken = t->is_error;
    return r;
}

static int observe(struct stream_observer *o, struct stream_event *event)
{
    int r = 0;
    event->kind = STREAM_COMMENT;
    event->is_garbled = false;
    if (!event->frame.has_data)
        return 0;
    o->events++;
    if (o->translation != NULL)
        r = translate_event(o, event);
    else if (o->decoder != NULL)
        r = decode_event(o, event);
    else
        observe_chunk(o, event);
    if (r != -ERR_INVALID)
        return r;
    o->undecodable++;
    event->is_garbled = true;
    event->kind = STREAM_OTHER;
    return 0;
}

int stream_observer_init(struct stream_observer *o, const struct stream_observer_settings *settings)
{
    *o = (struct stream_observer){
        .dialect = settings->dialect,
        .summary = {.usage = TOKEN_USAGE_NONE},
        .sink = {observe_decoded},
        .translation = settings->translation,
        .frames = settings->frames,
    };
    frame_splitter_init(&o->splitter, settings->framing, settings->event_limit);
    if (o->translation != NULL || settings->dialect->id == DIALECT_OPENAI_CHAT)
        return 0;
    o->decoder = settings->dialect->decoder_new(settings->arena, settings->codec);
    return o->decoder != NULL ? 0 : err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory");
}

void stream_observer_fini(struct stream_observer *o)
{
    frame_splitter_fini(&o->splitter);
}

int stream_observer_next(struct stream_observer *o, struct str *input, struct stream_event *event)
{
    int r = frame_next(&o->splitter, input, &event->frame);
    if (r != 1)
        return r;
    r = observe(o, event);
    return r < 0 ? r : 1;
}

/* The event that nothing terminated was cut in its data, where a scanner that only looks for what
 * it knows would not see it. */
static bool is_cut(struct str data)
{
    struct json_scan scan;
    data = str_trim(data);
    return !str_eq(data, STR("[DONE]")) &&
           json_scan_object(data, JSON_DEPTH_DEFAULT, NULL, 0, &scan) < 0;
}

int stream_observer_finish(struct stream_observer *o, struct stream_event *event)
{
    int r = frame_finish(&o->splitter, &event->frame);
    if (r != 1) /* what was cut in the middle is no event: what came before it counts */
        return r == -ERR_PROTOCOL || r == -ERR_RESET ? 0 : r;
    if (event->frame.has_data && is_cut(event->frame.data)) {
        o->events++;
        o->undecodable++;
        event->kind = STREAM_OTHER;
        event->is_garbled = true;
        return 1;
    }
    r = observe(o, event);
    return r < 0 ? r : 1;
}

bool stream_observer_is_finished(const struct stream_observer *o)
{
    if (o->translation != NULL)
        return o->translation->is_finished;
    return o->choices_seen != 0 && (o->choices_seen & ~o->choices_finished) == 0;
}

int stream_observer_end(struct stream_observer *o)
{
    struct stream_event last = {.kind = STREAM_OTHER};
    if (o->is_done || o->is_broken)
        return 0;
    if (o->translation != NULL)
        return translation_end(o->translation, o->frames);
    if (o->decoder != NULL) {
        o->event = &last;
        return o->dialect->decode_end(o->decoder, &o->sink);
    }
    if (stream_observer_is_finished(o))
        return 0;
    return err_set(ERR_RESET, FAULT_UPSTREAM, "it ended without a finish reason or [DONE]");
}

/* --- whole answers --- */

struct whole_sink {
    struct llm_sink sink;
    struct answer_summary *summary;
};

static int summarise(struct llm_sink *sink, const struct llm_event *e)
{
    struct answer_summary *summary = CONTAINER_OF(sink, struct whole_sink, sink)->summary;
    if (e->kind == EVENT_START)
        keep(&summary->model, e->model.s);
    else if (e->kind == EVENT_USAGE)
        note_usage(summary, &e->usage);
    else if (e->kind == EVENT_FINISH)
        keep(&summary->finish_reason, e->raw_finish.s);
    else if (e->kind == EVENT_ERROR) {
        summary->is_error = true;
        summary->error = e->error;
    }
    return 0;
}

static int read_openai_answer(struct answer_summary *summary, const struct dialect *dialect,
                              struct str body)
{
    struct openai_answer answer;
    int r = openai_answer_read(body, &answer);
    if (r < 0)
        return r;
    summary->usage = answer.usage;
    summary->has_usage = answer.has_usage;
    summary->is_error = answer.is_error;
    if (answer.is_error) {
        dialect->read_error(answer.error.status, STR_EMPTY, body, &summary->error);
        summary->error.status = answer.error.status; /* 0 where it tells none */
    }
    keep(&summary->finish_reason, answer.finish_reason);
    keep(&summary->model, answer.model);
    return 0;
}

int answer_summary_read(struct answer_summary *summary, const struct dialect *dialect,
                        struct arena *arena, const struct llm_codec_settings *codec,
                        struct str body)
{
    *summary = (struct answer_summary){.usage = TOKEN_USAGE_NONE, .error = LLM_ERROR_NONE};
    if (dialect->id == DIALECT_OPENAI_CHAT)
        return read_openai_answer(summary, dialect, body);
    struct whole_sink sink = {{summarise}, summary};
    struct llm_decoder *decoder = dialect->decoder_new(arena, codec);
    if (decoder == NULL)
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory");
    return dialect->decode_whole(decoder, body, &sink.sink);
}
