/*
 * Checks one HTTP answer byte for byte against what the mock must have sent: bytes in, a verdict
 * out. One thread; holds no socket and reads no clock. Nothing here yields. The struct owns a
 * buffer for what is incomplete; check_fini frees it. The tally is the caller's. Whatever is wrong
 * is counted in the tally; a broken answer's connection cannot be used further.
 */
#ifndef WEIR_BENCH_LOAD_CHECK_H
#define WEIR_BENCH_LOAD_CHECK_H

#include "form.h"
#include "tally.h"

enum check_phase {
    CHECK_HEAD,
    CHECK_BODY, /* with a Content-Length */
    CHECK_CHUNK_SIZE,
    CHECK_CHUNK_DATA,
    CHECK_CHUNK_END,
    CHECK_TRAILER,
    CHECK_DONE,
    CHECK_BROKEN,
};

struct check {
    enum check_phase phase;
    bool is_stream;     /* an event stream is expected */
    bool expects_usage; /* and an event with the usage in it */
    bool is_last;       /* the peer closes the connection after the answer */
    bool is_refused;    /* the status was not 200: the body is an explanation */
    bool is_numbered;   /* the events have an id: line */
    bool has_done;
    bool is_line_empty; /* of the trailer */
    bool has_digits;    /* of a chunk's size */
    bool is_extension;  /* behind the chunk's size */
    bool has_return;    /* the CR behind a chunk has been seen */
    int status;
    const struct form *form;
    struct format_call call;
    uint64_t events; /* that have come, comments not counted */
    unsigned opened; /* openings that have come */
    unsigned closed; /* closings that have come */
    uint64_t seq;    /* the token that must come next */
    uint64_t missing_from;
    uint64_t missing_to; /* one run of tokens that were passed over and may still come */
    uint64_t first_token_ns;
    uint64_t last_token_ns;
    size_t left; /* of the body or the chunk */
    char *partial;
    size_t partial_len;
    size_t partial_room;
    struct tally *tally;
};

/* Expects the answer to `call` in the form of the client's dialect. The struct must be zero the
 * first time. */
void check_begin(struct check *check, const struct form *form, const struct format_call *call,
                 bool is_stream, bool expects_usage, struct tally *tally);

/* Takes bytes that arrived at `now_ns`; ends in CHECK_DONE or CHECK_BROKEN. */
void check_feed(struct check *check, const char *bytes, size_t len, uint64_t now_ns);

/* The connection has ended before the answer has: counts what that means. */
void check_cut(struct check *check);

void check_fini(struct check *check);

#endif
