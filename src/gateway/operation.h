/*
 * The endpoints, as data: which method and path is which operation, in which dialect.
 * Any thread; operation_find does not yield; what an operation's `run` does may.
 * Rows are static.
 * By path, never by sniffing the body.
 * No match: which methods the path would have (for Allow).
 */
#ifndef WEIR_GATEWAY_OPERATION_H
#define WEIR_GATEWAY_OPERATION_H

#include "gateway/exchange.h"
#include "gateway/path_pattern.h"
#include "stream/frames.h"

/* How the path says whether the answer is a stream. */
enum operation_stream {
    STREAM_BY_BODY, /* "stream": true */
    STREAM_NEVER,
    STREAM_ALWAYS,
    STREAM_GEMINI, /* always; alt=sse in the query, else a JSON array */
};

struct operation {
    const char *name;        /* for metrics and logs: "chat", ... */
    enum dialect_id dialect; /* the client's */
    enum http_method method;
    const char *path; /* path_pattern.h */
    bool needs_key;
    enum provider_operation upstream; /* that of the row's own dialect */
    operation_fn *run;
    enum operation_stream stream;
    enum stream_framing framing;
};

/* *match gets what the places of the path stand for. NULL when nothing fits; then *allow lists the
 * methods of the path ("GET, POST"), empty when the path itself is unknown; *dialect is the one
 * that an error is written in. */
const struct operation *operation_find(const struct http_request *http, struct path_match *match,
                                       struct str *allow, enum dialect_id *dialect,
                                       struct arena *arena);

/* The endpoints for people: "POST /v1/chat/completions, ...". */
struct str operation_list(struct arena *arena);

#endif
