/*
 * HTTP/1.x as bytes in, events out: llhttp strict plus our message-framing gate. Sans-I/O.
 * One connection at a time; nothing yields.
 * Head strings are copied into the arena that is given per message; body pieces point into the
 * bytes fed. The parser owns nothing else.
 * -ERR_PROTOCOL / -ERR_LIMIT with h1_status telling which status a server answers with.
 * After any error the connection is not to be used again.
 */
#ifndef WEIR_HTTP_H1_H
#define WEIR_HTTP_H1_H

#include <llhttp.h>

#include "http/message.h"

enum h1_side { H1_REQUESTS, H1_RESPONSES };
enum h1_framing { H1_NO_BODY, H1_LENGTH, H1_CHUNKED, H1_UNTIL_CLOSE };

/* A parsed head. For requests status is 0; for responses method is not set. */
struct h1_head {
    enum http_method method;
    struct str method_name;
    struct str target;
    unsigned status;
    unsigned version_minor; /* HTTP/1.x */
    struct http_headers headers;
    enum h1_framing framing;
    uint64_t content_length; /* when framing is H1_LENGTH */
    bool is_keep_alive;      /* by version and Connection */
    bool expects_continue;   /* Expect: 100-continue */
    bool upgrades;           /* a 101 answer, or a request with Upgrade */
};

struct h1_parser {
    llhttp_t llhttp;
    enum h1_side side;
    unsigned state;        /* enum h1_state of h1.c */
    unsigned status;       /* for errors, see h1_status */
    bool response_to_head; /* no body follows whatever the head says */
    const struct http_limits *limits;
    struct arena *arena;
    struct h1_head *head;
    struct http_headers trailers;
    struct str gathered; /* the head, or a line of the trailers, as far as it came; in the arena */
    size_t gathered_cap;
    struct str name; /* of the header being read */
    struct str value;
    uint64_t left; /* bytes of the body, or of the chunk */
    uint32_t leading_bytes, trailer_bytes, ext_bytes, size_digits;
};

void h1_parser_init(struct h1_parser *p, enum h1_side side, const struct http_limits *limits);
/* Ready for the next message: its head goes to *head, its strings into the arena. */
void h1_parser_begin(struct h1_parser *p, struct arena *arena, struct h1_head *head,
                     bool response_to_head);

/* From now on trailers go there: the head's strings and their arena are not needed any more. */
void h1_parser_use_arena(struct h1_parser *p, struct arena *arena);

/*
 * Feeds bytes of the head. Returns how many were used: all of them while the head is incomplete,
 * up to the end of the head when it is complete (then *done), or -ERR_x. Empty lines before a
 * request line are skipped (RFC 9112 section 2.2).
 */
ssize_t h1_parse_head(struct h1_parser *p, struct str bytes, bool *done);
/*
 * Feeds bytes of the body. Decoded pieces are appended to *pieces; stops early when the list is
 * full. Returns how many bytes were used, or -ERR_x. pieces->is_last at the end of the message
 * (trailers, if any, are in p->trailers).
 */
ssize_t h1_parse_body(struct h1_parser *p, struct str bytes, struct http_pieces *pieces);
/* The peer closed its side: 0 when that ends the message (H1_UNTIL_CLOSE), else -ERR_PROTOCOL. */
int h1_parse_eof(struct h1_parser *p);

/*
 * For bodies of known length that are read straight to where they belong: how many bytes are still
 * to come (0 with any other framing), and that n of them were read past the parser. True when the
 * message ends with them.
 */
uint64_t h1_body_left(const struct h1_parser *p);
bool h1_body_took(struct h1_parser *p, uint64_t n);

/* 400, 413, 414, 417, 431, 501, 505 for a failed request; 502 for a failed response. */
unsigned h1_status(const struct h1_parser *p);

#endif
