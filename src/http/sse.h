/*
 * Server-sent events (WHATWG HTML section 9.2): splitter and writer. Sans-I/O.
 * One stream at a time; nothing yields.
 * The splitter keeps only what is incomplete (a buf with a limit); event bytes point into the
 * input or into that buf and are valid until the next call.
 * -ERR_LIMIT when one event is larger than the limit, -ERR_NOMEM.
 * Any cut of the bytes gives the same events: LF, CR, CRLF, a BOM, comments, multi-line data, and
 * an event that ends without a blank line (sse_finish).
 */
#ifndef WEIR_HTTP_SSE_H
#define WEIR_HTTP_SSE_H

#include "base/buf.h"

/* One block of lines up to and with its blank line, and what a reader takes from it. */
struct sse_event {
    struct str raw;   /* the exact bytes, line ends and blank line included */
    struct str type;  /* last "event:" value, or empty */
    struct str id;    /* last "id:" value */
    struct str data;  /* "data:" values joined by LF, without the last LF */
    bool has_data;    /* false for blocks of comments only, or of nothing */
    bool has_comment; /* a line that begins with ':' is in it */
    bool has_id;
    int64_t retry_ms; /* -1 = none */
};

struct sse_splitter {
    struct buf pending; /* an incomplete block; or the last event, until the next call */
    struct buf data;    /* multi-line data is joined here */
    size_t limit;
    uint32_t lead;      /* bytes before the first line of the block: a BOM, or the LF of a CRLF that
                         * came in two parts */
    int error;          /* comes again from every later call */
    bool at_start;      /* a BOM may come */
    bool after_cr;      /* the last byte was CR: an LF belongs to it */
    bool line_is_empty; /* nothing has come since the last line end */
    bool is_given;      /* what is in pending was returned as an event */
};

/* limit: largest block in bytes, e.g. 16 MiB. */
void sse_splitter_init(struct sse_splitter *s, size_t limit);
void sse_splitter_fini(struct sse_splitter *s);

/*
 * Takes the next complete block from *input and moves *input past it. 1 = an event, 0 = all of
 * *input was taken and is incomplete, or -ERR_x. Call again until 0. A block that lies whole in
 * *input is not copied. An event never waits for the LF that may follow its last CR: where a cut
 * falls between the two, that LF is the first byte of the next event's `raw`.
 */
int sse_next(struct sse_splitter *s, struct str *input, struct sse_event *event);
/* The stream has ended: 1 = an unterminated block was left and is in *event, 0 = none. (A browser
 * drops such a block; providers send it and SDKs read it.) */
int sse_finish(struct sse_splitter *s, struct sse_event *event);
/* Bytes that are held back. */
size_t sse_pending(const struct sse_splitter *s);

/* Writers: append one event, data split at line ends into several "data:" lines. `type` (empty =
 * none) is one line. */
void sse_write(struct buf *out, struct str type, struct str data);
/* The id of the event that sse_write appends next. */
void sse_write_id(struct buf *out, uint64_t id);
/* A block of comment lines: readers skip it. */
void sse_write_comment(struct buf *out, struct str text);

#endif
