/*
 * Reads along a streamed answer of the OpenAI chat dialect: events, what they mean, where the
 * stream stands. Sans-I/O.
 * The task of the exchange alone.
 * Nothing yields.
 * It owns what is incomplete (a buf); event bytes are valid until the next call.
 * -ERR_LIMIT for an event past the limit, -ERR_NOMEM; an event that cannot be decoded is counted
 * and forwarded, never an error.
 */
#ifndef WEIR_STREAM_OBSERVER_H
#define WEIR_STREAM_OBSERVER_H

#include "dialect/openai_chat/stream.h"
#include "http/sse.h"

enum stream_event_kind {
    STREAM_COMMENT,    /* comments, blank lines, fields that no reader acts on */
    STREAM_CONTENT,    /* carries something of the answer */
    STREAM_OTHER,      /* role, finish, annotations, what we do not know */
    STREAM_USAGE_ONLY, /* usage with no choices */
    STREAM_ERROR,
    STREAM_DONE,
};

struct stream_event {
    enum stream_event_kind kind;
    struct str raw; /* the exact bytes */
    struct str data;
    bool is_garbled;           /* its data is no JSON: kind is STREAM_OTHER */
    struct openai_error error; /* for STREAM_ERROR */
};

struct stream_observer {
    struct sse_splitter splitter;
    struct token_usage usage;
    bool has_usage;
    bool has_content; /* some has come */
    bool is_done;     /* [DONE] was seen */
    bool is_broken;   /* an error event was seen */
    uint64_t choices_seen, choices_finished;
    uint64_t events;
    uint64_t undecodable;
    struct str_small {
        char text[48];
        uint8_t len;
    } finish_reason, model;
};

void stream_observer_init(struct stream_observer *o, size_t event_limit);
void stream_observer_fini(struct stream_observer *o);

/* As sse_next, with the meaning. 1 = an event, 0 = more bytes are needed, or -ERR_x. */
int stream_observer_next(struct stream_observer *o, struct str *input, struct stream_event *event);
/* As sse_finish. */
int stream_observer_finish(struct stream_observer *o, struct stream_event *event);

/* Every choice that began has told its finish reason: the answer is whole, [DONE] or not. */
bool stream_observer_is_finished(const struct stream_observer *o);

#endif
