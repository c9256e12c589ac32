/*
 * What signing a request and judging a signature have in common: the canonical request, the string
 * that is signed, and the key that is made of the secret.
 * Any thread; nothing yields; for the files of sigv4 alone.
 * Scratch lives in the caller's arena.
 * False when out of memory.
 */
#ifndef WEIR_HTTP_SIGV4_CANONICAL_H
#define WEIR_HTTP_SIGV4_CANONICAL_H

#include "http/sigv4.h"

enum { SIGV4_HASH_BYTES = 32, SIGV4_HEX_BYTES = 2 * SIGV4_HASH_BYTES, SIGV4_TIME_BYTES = 16 };

#define SIGV4_ALGORITHM "AWS4-HMAC-SHA256"
#define SIGV4_TERMINATOR "aws4_request"

/* A header (its name in lower case) or a query parameter. */
struct sigv4_field {
    struct str name, value;
    unsigned place; /* among those of its name */
};

struct sigv4_fields {
    struct sigv4_field *items;
    unsigned count;
};

/* What goes into one signature. */
struct sigv4_signing {
    struct str secret;
    struct str time, date, region, service;
    struct str scope;
    struct str signed_headers;
    struct str body_hash;
    struct str skipped_parameter; /* of the query: the signature itself */
    struct sigv4_fields headers;
};

/* Appends to a list that has room for it. */
void sigv4_add_field(struct sigv4_fields *fields, struct str name, struct str value);
/* By name, and those of one name as they came: for qsort. */
int sigv4_compare_fields(const void *a, const void *b);

/* The SHA-256 of all parts, one after the other, in hexadecimal digits. */
void sigv4_hash_body(const struct iovec *parts, unsigned count, char hex[SIGV4_HEX_BYTES]);
/* The signature's 64 hexadecimal digits. False when out of memory. */
bool sigv4_compute(const struct sigv4_request *request, const struct sigv4_signing *signing,
                   struct arena *arena, char hex[SIGV4_HEX_BYTES]);

#endif
