/*
 * Reads along a realtime session in OpenAI's events or Gemini's messages: which model, how many
 * tokens, how soon answers begin, and how soon they stop when somebody speaks in between. Nothing
 * is changed. Sans-I/O. The tasks of one session. Nothing yields. Owns what is incomplete of a
 * message, up to a bound, and the windows of compression; larger messages pass unread. Cannot fail:
 * what is no event of a known kind says nothing, and is counted where it is no JSON.
 *
 * https://platform.openai.com/docs/api-reference/realtime-server-events
 * https://ai.google.dev/api/live
 */
#ifndef WEIR_STREAM_REALTIME_H
#define WEIR_STREAM_REALTIME_H

#include "base/buf.h"
#include "dialect/usage.h"
#include "http/websocket.h"
#include "http/websocket_inflate.h"

enum {
    REALTIME_EVENT_MAX = 256 * 1024, /* larger messages are not read */
    REALTIME_NAME_BYTES = 64,
};

enum realtime_language { REALTIME_OPENAI, REALTIME_GEMINI };

enum realtime_timing {
    REALTIME_FIRST_DELTA, /* from the wish for an answer to its first delta of any kind */
    REALTIME_FIRST_AUDIO, /* the same to its first sound */
    REALTIME_FIRST_TEXT,  /* and to its first text, or text of what is spoken */
    REALTIME_BARGE_IN,    /* from an interruption to the last delta of what was interrupted */
};

typedef void realtime_timing_fn(void *ctx, enum realtime_timing timing, int64_t ns);

struct realtime_observer {
    enum realtime_language language;
    realtime_timing_fn *on_timing;
    void *ctx;
    struct realtime_message {
        struct buf bytes; /* of a message that comes in parts, or compressed */
        bool is_skipped;
        struct ws_inflater *inflater; /* since the first compressed message */
    } from_client, from_upstream;
    char model[REALTIME_NAME_BYTES];
    size_t model_len;
    struct token_usage usage;  /* of all answers */
    struct token_usage before; /* of those before the one under way */
    uint64_t answers, unread;  /* answers that ended; messages that could not be looked into */
    /* The answer under way. Times in ns of the monotonic clock; 0 = not yet. */
    bool is_answering, has_delta, has_audio, has_text;
    bool has_ended; /* one has, and no other has begun since */
    int64_t asked_ns, interrupted_ns, last_delta_ns;
    int64_t from_ns; /* of which the times of the answer under way are counted */
};

void realtime_observer_init(struct realtime_observer *o, enum realtime_language language,
                            realtime_timing_fn *on_timing, void *ctx);
void realtime_observer_fini(struct realtime_observer *o);
/* A piece of a data message, in the order in which they pass. */
void realtime_observe(struct realtime_observer *o, bool is_from_client,
                      const struct ws_piece *piece, int64_t now_ns);

#endif
