/*
 * Reads one HTTP/1.1 request to the mock upstream: bytes in, a finished request out.
 * One thread at a time; holds no socket and makes no system call.
 * Nothing here yields.
 * The caller owns the struct; it holds the head and the two ends of the body, never all of it.
 * What is wrong with a request stands in `problem`, as text for the answer.
 */
#ifndef WEIR_BENCH_MOCK_REQUEST_H
#define WEIR_BENCH_MOCK_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

#include "../format.h"

enum {
    REQUEST_HEAD_MAX = 16384,
    /* How much of the body's beginning and end is kept to look for fields. */
    REQUEST_FRONT_BYTES = 4096,
    REQUEST_BACK_BYTES = 256,
};

enum request_phase {
    REQUEST_HEAD,
    REQUEST_BODY,
    REQUEST_DONE,
    REQUEST_BROKEN, /* the connection cannot be used any more */
};

struct request {
    enum request_phase phase;
    bool is_last;        /* the peer said Connection: close */
    bool wants_continue; /* Expect: 100-continue, not answered yet */
    bool is_stream;      /* "stream": true */
    bool wants_usage;    /* "include_usage": true */
    bool is_front_read;  /* the fields at the beginning of the body have been looked for */
    const char *problem; /* NULL while all is well */
    struct format_call call;
    size_t body_len;
    size_t body_seen;
    size_t prompt_at;  /* where the checked prompt starts in the body; 0 none */
    size_t prompt_len; /* its length, from the `user` field */
    size_t front_len;
    size_t back_len;
    size_t head_len;
    char method[8];
    char path[120];
    char front[REQUEST_FRONT_BYTES];
    char back[REQUEST_BACK_BYTES];
    char head[REQUEST_HEAD_MAX];
};

/* Makes the struct ready for the next request on the same connection. */
void request_reset(struct request *request);

/* Takes bytes off the wire until the request is complete; returns how many it took. */
size_t request_feed(struct request *request, const char *bytes, size_t len);

#endif
