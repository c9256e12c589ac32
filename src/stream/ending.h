/*
 * How a stream ends that was handed on in its provider's own words and that its provider did not
 * end: with the last event where the answer was whole, else with the dialect's error event, which
 * goes on where the stream stands. Where events are translated the translation does both.
 * Sans-I/O. The task of the exchange alone.
 * Nothing yields.
 * What it keeps lives in the caller's arena, for which nothing has to be given back.
 * -ERR_NOMEM.
 */
#ifndef WEIR_STREAM_ENDING_H
#define WEIR_STREAM_ENDING_H

#include "stream/observer.h"

struct stream_ending {
    const struct dialect *dialect; /* of the client, and of the provider */
    const struct llm_codec_settings *codec;
    struct arena *arena;
    struct llm_encoder *encoder; /* stands where the stream stands; NULL = nothing was sent, or the
                                    dialect's error event does not need to know */
    bool has_told_error;         /* the provider's own was handed on: there is no other */
};

/* Before the first event. `codec` lasts as long as this does. */
void stream_ending_init(struct stream_ending *ending, const struct dialect *dialect,
                        const struct llm_codec_settings *codec, struct arena *arena);

/* An event with data was handed on. 0 or -ERR_NOMEM. */
int stream_ending_pass(struct stream_ending *ending, const struct stream_event *event);

/* The reason to finish was handed on, the last event was not. */
void stream_ending_complete(const struct stream_ending *ending, const struct token_usage *usage,
                            struct llm_frames *frames);

/* The answer broke off. Nothing is written where the provider has said so itself. 0 or -ERR_x. */
int stream_ending_fail(struct stream_ending *ending, const struct llm_error *error,
                       struct llm_frames *frames);

#endif
