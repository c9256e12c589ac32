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

struct operation {
    const char *name;    /* for metrics and logs: "chat", ... */
    const char *dialect; /* the client's */
    enum http_method method;
    const char *path; /* a last '*' stands for one or more segments */
    bool needs_key;
    enum provider_operation upstream;
    operation_fn *run;
};

/* *tail gets what '*' matched. NULL when nothing fits; then *allow lists the methods of the path
 * ("GET, POST"), empty when the path itself is unknown. */
const struct operation *operation_find(enum http_method method, struct str path, struct str *tail,
                                       struct str *allow, struct arena *arena);

#endif
