/*
 * AWS Signature Version 4, both ways: signing a request for AWS, and judging one that an AWS client
 * has signed for us. (AWS, "Signature Version 4 signing process"; paths as all services but S3 want
 * them: dot segments resolved, empty ones dropped, what is encoded encoded once more.)
 * Any thread; nothing yields; no clock, no I/O: the time is told.
 * Results live in the caller's arena, a claim points into the request.
 * -ERR_NOMEM when signing; when judging, a verdict with words for the client.
 */
#ifndef WEIR_HTTP_SIGV4_H
#define WEIR_HTTP_SIGV4_H

#include "http/message.h"

struct sigv4_request {
    struct str method;
    struct str path;  /* as it stands on the request line, percent-encoded */
    struct str query; /* the same, without '?' */
    struct str host;  /* what Host says; empty = it is among the headers */
    const struct http_headers *headers;
    const struct iovec *body; /* as it is sent: after any content coding */
    unsigned body_count;
    bool sends_body_hash; /* signing: adds X-Amz-Content-Sha256 */
};

/* --- signing --- */

struct sigv4_credentials {
    struct str access_key_id, secret_access_key;
    struct str session_token; /* empty = none */
};

/*
 * Adds X-Amz-Date, X-Amz-Security-Token (with a session token), X-Amz-Content-Sha256 (where asked
 * for) and Authorization to *out. Signed are Host and all of request->headers that proxies leave
 * alone; *out may be that list. `now_s` is Unix time. -ERR_NOMEM.
 */
int sigv4_sign(const struct sigv4_request *request, const struct sigv4_credentials *credentials,
               struct str service, struct str region, int64_t now_s, struct arena *arena,
               struct http_headers *out);

/* --- judging --- */

enum sigv4_verdict {
    SIGV4_OK,
    SIGV4_ABSENT,        /* the request is not signed this way */
    SIGV4_MALFORMED,     /* what says so cannot be read */
    SIGV4_UNSUPPORTED,   /* signed in a way that is not taken: SigV4a, streamed or unsigned body */
    SIGV4_UNKNOWN_KEY,   /* for the caller, who looks the access key id up */
    SIGV4_SKEW,          /* signed at a time too far from now */
    SIGV4_EXPIRED,       /* a presigned URL after its time */
    SIGV4_BODY_MISMATCH, /* the body is not the one whose hash was signed */
    SIGV4_BAD_SIGNATURE,
    SIGV4_NO_MEMORY,
    SIGV4_VERDICT_COUNT
};

/* What a request says of its signature. */
struct sigv4_claim {
    struct str access_key_id;
    struct str scope; /* date/region/service/aws4_request */
    struct str date, region, service;
    struct str signed_headers; /* a;b;c: in order, each once */
    struct str signature;      /* 64 hex digits */
    struct str time;           /* YYYYMMDDTHHMMSSZ */
    struct str session_token;  /* empty = none */
    int64_t signed_at_s;
    int64_t expires_s; /* presigned: how long it holds */
    bool is_presigned; /* in the query, not in Authorization */
    const char *words; /* after a verdict other than OK: what is wrong, for the client */
};

struct sigv4_policy {
    int64_t skew_s; /* 0 = SIGV4_SKEW_DEFAULT_S */
    bool allows_unsigned_body;
    struct str service; /* must be signed for this one; empty = any */
};
enum { SIGV4_SKEW_DEFAULT_S = 300 };

/*
 * Reads what the request says: Authorization, or the X-Amz-* parameters of a presigned URL, never
 * both. OK, ABSENT, MALFORMED, UNSUPPORTED or NO_MEMORY. Of the body nothing is looked at yet.
 */
enum sigv4_verdict sigv4_parse(const struct sigv4_request *request, struct arena *arena,
                               struct sigv4_claim *claim);
/*
 * Judges the claim by the secret that belongs to its access_key_id. The same request as was parsed,
 * now with its body. Comparison takes the same time wherever the difference is.
 */
enum sigv4_verdict sigv4_check(const struct sigv4_request *request, struct sigv4_claim *claim,
                               struct str secret_access_key, const struct sigv4_policy *policy,
                               int64_t now_s, struct arena *arena);

/* General words for a verdict, and the name that AWS gives such an error
 * ("InvalidSignatureException"). Never NULL. */
const char *sigv4_verdict_words(enum sigv4_verdict verdict);
const char *sigv4_verdict_type(enum sigv4_verdict verdict);

#endif
