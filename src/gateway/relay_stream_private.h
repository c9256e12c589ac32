/*
 * One relay of a stream, as relay_stream.c and relay_continue.c see it.
 * The request's task.
 * What is tagged YIELDS writes to the client or waits for a provider.
 * A relay lives in the exchange's arena; its bufs are given back by relay_stream.
 * 0 to go on, 1 when the stream is over, or -ERR_x.
 */
#ifndef WEIR_GATEWAY_RELAY_STREAM_PRIVATE_H
#define WEIR_GATEWAY_RELAY_STREAM_PRIVATE_H

#include "gateway/exchange.h"
#include "gateway/relay_stream.h"
#include "stream/continuation.h"
#include "stream/ending.h"
#include "stream/observer.h"

enum relay_way {
    RELAY_AS_IS,
    RELAY_REFRAMED,   /* the same events in the client's framing */
    RELAY_TRANSLATED, /* the observer's translation writes them */
};

struct relay {
    struct exchange *ex;
    struct stream_observer observer;
    enum relay_way way;
    struct frame_writer writer;  /* into `copied` */
    struct stream_ending ending; /* where nothing is translated */
    unsigned openings;           /* held back */
    struct metrics_gaps *gaps;
    bool has_begun;      /* the head and a first event were sent, or are about to be */
    bool is_over;        /* nothing more will be sent */
    bool client_failed;  /* a write to the client failed */
    bool is_left;        /* what the provider that broke has told is in the record already */
    bool owes_lf;        /* the last event came without the LF of its last CRLF */
    int64_t content_ns;  /* when content last came */
    int64_t finished_ns; /* when the last finish reason came; 0 = not yet */
    /* What this read sends, in order: `copied`, then `run`, which lies in the read buffer. */
    struct buf copied;
    struct str run;
    /* All that the client was sent, so long as the stream can be gone on with; else empty. */
    bool keeps_journal;
    bool is_unterminated; /* the last event was handed on without the blank line that ends it */
    bool is_breaking;     /* the journal is about to be read and given back, however long it is */
    struct buf journal;
    struct continuation *continuation; /* of the stream as it runs now; NULL = it never broke */
};

/* Reads the provider's stream in that framing from here on. */
int relay_set_up(struct relay *relay, enum stream_framing framing);

/* What was observed goes to the record: once for each provider that gave a part. */
void relay_note_stream(struct relay *relay);

/* Sends what was queued, with the head if that waits still. */
YIELDS int relay_send_now(struct relay *relay, bool is_last);

/* --- relay_continue.c --- */

/* Whether a break after the beginning can be mended at all, by what the policy and the plan say. */
bool relay_may_continue(const struct exchange *ex);

/*
 * The stream broke with `code` after its beginning was sent: another target goes on with it. 0: the
 * relay reads that one now; 1: what was owed was written, the stream is over; else the -ERR_x that
 * the client is to be told of.
 */
YIELDS int relay_continue(struct relay *relay, int code);

/* Gives back what a continued stream took. */
void relay_continue_fini(struct relay *relay);

#endif
