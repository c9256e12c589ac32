#include "stream/observer.h"

void stream_observer_init(struct stream_observer *o, size_t event_limit)
{
    *o = (struct stream_observer){.usage = TOKEN_USAGE_NONE};
    sse_splitter_init(&o->splitter, event_limit);
}

void stream_observer_fini(struct stream_observer *o)
{
    sse_splitter_fini(&o->splitter);
}

/* Keeps the first value told: the event's bytes do not last. */
static void keep(struct str_small *kept, struct str value)
{
    if (kept->len > 0 || value.len == 0)
        return;
    value = str_head(value, sizeof(kept->text));
    memcpy(kept->text, value.ptr, value.len);
    kept->len = (uint8_t)value.len;
}

static enum stream_event_kind kind_of(const struct openai_chunk *chunk)
{
    if (chunk->is_done)
        return STREAM_DONE;
    if (chunk->is_error)
        return STREAM_ERROR;
    if (chunk->has_content)
        return STREAM_CONTENT;
    return chunk->has_usage && chunk->has_empty_choices ? STREAM_USAGE_ONLY : STREAM_OTHER;
}

static void observe(struct stream_observer *o, const struct sse_event *sse,
                    struct stream_event *event)
{
    struct openai_chunk chunk;
    *event = (struct stream_event){.kind = STREAM_COMMENT, .raw = sse->raw, .data = sse->data};
    if (!sse->has_data)
        return;
    o->events++;
    if (o->has_content && openai_chunk_is_plain(sse->type, sse->data)) {
        event->kind = STREAM_CONTENT;
        return;
    }
    if (openai_chunk_read(sse->type, sse->data, &chunk) < 0) {
        o->undecodable++;
        event->is_garbled = true;
        event->kind = STREAM_OTHER;
        return;
    }
    event->kind = kind_of(&chunk);
    event->error = chunk.error;
    o->has_content = o->has_content || chunk.has_content;
    o->is_done = o->is_done || chunk.is_done;
    o->is_broken = o->is_broken || chunk.is_error;
    o->choices_seen |= chunk.choices_seen;
    o->choices_finished |= chunk.choices_finished;
    /* Providers repeat or grow the usage: the last one told counts, nothing is added up. */
    if (chunk.has_usage) {
        o->usage = chunk.usage;
        o->has_usage = true;
    }
    keep(&o->finish_reason, chunk.finish_reason);
    keep(&o->model, chunk.model);
}

int stream_observer_next(struct stream_observer *o, struct str *input, struct stream_event *event)
{
    struct sse_event sse;
    int r = sse_next(&o->splitter, input, &sse);
    if (r == 1)
        observe(o, &sse, event);
    return r;
}

int stream_observer_finish(struct stream_observer *o, struct stream_event *event)
{
    struct sse_event sse;
    int r = sse_finish(&o->splitter, &sse);
    if (r == 1)
        observe(o, &sse, event);
    return r;
}

bool stream_observer_is_finished(const struct stream_observer *o)
{
    return o->choices_seen != 0 && (o->choices_seen & ~o->choices_finished) == 0;
}
