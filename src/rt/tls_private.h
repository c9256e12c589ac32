/*
 * What tls.c and tls_context.c share. No other file includes this.
 * As rt/tls.h says of contexts and sessions.
 * tls_context_ready yields.
 * A part belongs to its context and to one loop thread.
 * Errors as rt/tls.h.
 */
#ifndef WEIR_RT_TLS_PRIVATE_H
#define WEIR_RT_TLS_PRIVATE_H

#include <openssl/ssl.h>

#include "rt/tls.h"
#include "rt/tls_resume.h"

enum { TLS_LOOPS_MAX = 256 };

/* What one loop thread has of a client context: OpenSSL's locks are never contended. */
struct tls_part {
    SSL_CTX *ctx; /* NULL until a handshake needs it */
    struct tls_resume resume;
    bool is_loading;
    struct list waiters;
};

struct tls_context {
    uint32_t magic;
    atomic_uint refs;
    bool offer_h2;
    char *ca_file;
    char *cert_file;
    char *key_file;
    SSL_CTX *server_ctx;                   /* NULL = a client context */
    struct tls_part *parts[TLS_LOOPS_MAX]; /* by loop_index; of client contexts */
};

/* Makes *part usable on this thread; reads the context's files on a helper thread if need be. */
YIELDS int tls_context_part(struct tls_context *context, struct tls_part **part,
                            int64_t deadline_ns);

/* "h2" and "http/1.1" as ALPN wants them (RFC 7301 section 3.1). */
struct str tls_alpn_list(bool with_h2);

/* OpenSSL's new-session callback of client contexts; in tls.c. */
int tls_on_new_session(SSL *ssl, SSL_SESSION *session);

#endif
