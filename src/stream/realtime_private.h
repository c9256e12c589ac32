/*
 * What the readers of a realtime session's languages share: what a message means for the clocks.
 * As realtime.h.
 * Nothing yields.
 * The observer is the caller's.
 * Cannot fail.
 */
#ifndef WEIR_STREAM_REALTIME_PRIVATE_H
#define WEIR_STREAM_REALTIME_PRIVATE_H

#include "stream/realtime.h"

enum realtime_meaning {
    REALTIME_ASKS,       /* an answer is wanted from now on */
    REALTIME_INTERRUPTS, /* the answer under way is to stop */
    REALTIME_BEGINS,
    REALTIME_DELTA,
    REALTIME_AUDIO_DELTA,
    REALTIME_TEXT_DELTA,
    REALTIME_ENDS,
    REALTIME_SESSION, /* tells of the session's model */
};

void realtime_note(struct realtime_observer *o, enum realtime_meaning meaning, int64_t now_ns);
/* Adds a count to a sum of which -1 says that nothing was told yet. */
void realtime_add(int64_t *sum, int64_t n);

/* realtime_gemini.c: one message. */
void realtime_note_gemini(struct realtime_observer *o, bool is_from_client, struct str text,
                          int64_t now_ns);

#endif
