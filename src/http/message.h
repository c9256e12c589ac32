/*
 * What requests and responses are made of: methods, header lists, limits.
 * One task at a time; nothing yields.
 * Lists live in an arena; names and values point into whatever the arena or the connection holds.
 * false / empty str when there is no memory or no such header.
 * Names compare without case (RFC 9110 section 5.1).
 */
#ifndef WEIR_HTTP_MESSAGE_H
#define WEIR_HTTP_MESSAGE_H

#include <sys/uio.h>

#include "base/arena.h"
#include "base/str.h"

enum http_method {
    METHOD_GET,
    METHOD_HEAD,
    METHOD_POST,
    METHOD_PUT,
    METHOD_PATCH,
    METHOD_DELETE,
    METHOD_OPTIONS,
    METHOD_CONNECT,
    METHOD_OTHER,
};

struct http_header {
    struct str name;
    struct str value;
};

struct http_headers {
    struct http_header *items;
    uint32_t count;
    uint32_t cap;
};

/* Appends; the strings are not copied. */
bool http_headers_add(struct http_headers *headers, struct arena *arena, struct str name,
                      struct str value);
/* The first value of that name; ptr NULL when there is none. */
struct str http_headers_get(const struct http_headers *headers, struct str name);
/* How often the name occurs. */
unsigned http_headers_count(const struct http_headers *headers, struct str name);
/* True when one of the comma-separated items of any such header equals `token` (no case). */
bool http_headers_has_token(const struct http_headers *headers, struct str name, struct str token);
/* True for what belongs to one hop only (RFC 9110 section 7.6.1): Connection, Keep-Alive,
 * Proxy-*, TE, Trailer, Transfer-Encoding, Upgrade, and what `headers` names in Connection. */
bool http_header_is_hop_by_hop(const struct http_headers *headers, struct str name);
/* A token (RFC 9110 section 5.6.2): what names and methods are made of. */
bool http_name_is_safe(struct str name);
/* A field value without control characters but tabs (RFC 9110 section 5.5): what we write must
 * pass. */
bool http_value_is_safe(struct str value);

struct str http_method_name(enum http_method method);
/* "Not Found" for 404; "" for an unknown status. */
struct str http_reason(unsigned status);

/* Bounds on what a peer may send; 0 is not "no limit". Bytes unless named otherwise. */
struct http_limits {
    uint32_t head_bytes;      /* request or status line and headers, default 64 KiB */
    uint32_t target_bytes;    /* default 16 KiB */
    uint32_t header_count;    /* default 128 */
    uint32_t trailer_bytes;   /* default 8 KiB */
    uint32_t chunk_ext_bytes; /* of a whole body, default 1 KiB */
    uint32_t pipeline_bytes;  /* read ahead of the request being served, default 64 KiB */
    uint64_t body_bytes;      /* decoded request body, default 32 MiB */
};
extern const struct http_limits http_limits_default;

/* Body bytes as they came with one read; pointers into the read buffer, valid until the next
 * yield. */
enum { HTTP_PIECES_MAX = 64 };
struct http_pieces {
    struct iovec *v; /* HTTP_PIECES_MAX entries */
    int count;
    size_t bytes;
    bool is_last; /* the body ends with these (there may be none) */
};

#endif
