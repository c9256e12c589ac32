#include "stream/ending.h"

#include "base/err.h"

void stream_ending_init(struct stream_ending *ending, const struct dialect *dialect,
                        const struct llm_codec_settings *codec, struct arena *arena)
{
    *ending = (struct stream_ending){.dialect = dialect, .codec = codec, .arena = arena};
}

static int make_encoder(struct stream_ending *ending)
{
    if (ending->encoder == NULL)
        ending->encoder = ending->dialect->encoder_new(ending->arena, ending->codec);
    return ending->encoder != NULL
               ? 0
               : err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for the end of a stream");
}

int stream_ending_pass(struct stream_ending *ending, const struct stream_event *event)
{
    const struct frame *frame = &event->frame;
    ending->has_told_error = ending->has_told_error || event->kind == STREAM_ERROR;
    if (ending->dialect->encoder_pass == NULL)
        return 0;
    int r = make_encoder(ending);
    return r == 0 ? ending->dialect->encoder_pass(ending->encoder, frame->type, frame->data) : r;
}

void stream_ending_complete(const struct stream_ending *ending, const struct token_usage *usage,
                            struct llm_frames *frames)
{
    if (ending->dialect->write_last != NULL)
        ending->dialect->write_last(usage, frames);
}

int stream_ending_fail(struct stream_ending *ending, const struct llm_error *error,
                       struct llm_frames *frames)
{
    struct llm_event event = llm_event_make(EVENT_ERROR);
    if (ending->has_told_error)
        return 0;
    int r = make_encoder(ending);
    if (r < 0)
        return r;
    event.error = *error;
    ending->has_told_error = true;
    return ending->dialect->encode(ending->encoder, &event, frames);
}
