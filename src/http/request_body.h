/*
 * The body of a request behind its framing: Content-Encoding and limits, the same for every HTTP
 * version.
 * The request's task.
 * What is tagged YIELDS reads, and lets others run between two pieces of a long decode.
 * The struct belongs to who frames the body; request_body_fini gives back what reading took.
 * -ERR_INVALID (encoding), -ERR_LIMIT, -ERR_NOMEM, and what read_raw gives.
 */
#ifndef WEIR_HTTP_REQUEST_BODY_H
#define WEIR_HTTP_REQUEST_BODY_H

#include "http/content_encoding.h"
#include "http/server.h"

struct request_body {
    /* One read's worth of the body as it is framed, Content-Encoding not undone. */
    YIELDS int (*read_raw)(struct http_request *r, struct http_pieces *pieces, int64_t deadline);
    uint64_t limit; /* of what request_body_read gives in all */
    bool is_empty;  /* there is none */
    bool is_done;   /* read_raw gave the last piece, or there is none */
    struct content_decoder *decoder;
    struct buf encoded; /* the part of the body that waits for the decoder */
    size_t encoded_used;
    bool has_more;      /* the decoder may hold output back */
    struct buf decoded; /* of request_body_read */
    uint64_t given;     /* bytes that request_body_read has given */
};

/* A body that a decoder stands before is at most so much longer than it comes out. */
enum { REQUEST_BODY_SLACK_BYTES = 64 * 1024 };

void request_body_init(struct request_body *body,
                       YIELDS int (*read_raw)(struct http_request *r, struct http_pieces *pieces,
                                              int64_t deadline),
                       bool is_empty, uint64_t limit);
void request_body_fini(struct request_body *body);
/* Makes the decoder that the request's Content-Encoding asks for, once. */
int request_body_need_decoder(struct request_body *body, const struct http_request *r);
/* As http_request_read. */
YIELDS int request_body_read(struct request_body *body, struct http_request *r,
                             struct http_pieces *pieces, int64_t deadline);
/* As http_request_collect, for a body that has its decoder. */
YIELDS int request_body_collect_decoded(struct request_body *body, struct http_request *r,
                                        uint64_t limit, int64_t deadline, struct buf *out);
/* Appends one raw read to *out. */
YIELDS int request_body_collect_raw(struct request_body *body, struct http_request *r,
                                    uint64_t limit, int64_t deadline, struct buf *out);
/* Room in *out for what comes next of a body of known length: as much as may be believed when
 * `came` bytes of it have come and `left` are to come. */
bool request_body_reserve(struct buf *out, size_t came, uint64_t left);
/* -ERR_LIMIT and -ERR_NOMEM with their message. */
int request_body_too_large(void);
int request_body_no_memory(void);

#endif
