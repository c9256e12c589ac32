/*
 * Client sessions kept for resumption, by host.
 * One loop thread; nothing yields.
 * The cache owns its sessions; tls_resume_take hands a reference to the caller.
 * Bounded: the hosts used longest ago are forgotten.
 * Cannot fail: without memory nothing is kept.
 */
#ifndef WEIR_RT_TLS_RESUME_H
#define WEIR_RT_TLS_RESUME_H

#include <openssl/ssl.h>

#include "base/list.h"
#include "base/str.h"

enum { TLS_RESUME_BUCKETS = 32, TLS_RESUME_HOSTS = 128, TLS_RESUME_PER_HOST = 4 };

struct tls_resume {
    struct list buckets[TLS_RESUME_BUCKETS];
    struct list by_use; /* longest ago first */
    unsigned count;
};

void tls_resume_init(struct tls_resume *cache);
void tls_resume_fini(struct tls_resume *cache);
/* Takes over the reference. */
void tls_resume_put(struct tls_resume *cache, struct str host, SSL_SESSION *session);
/* A session for `host`, or NULL. A TLS 1.3 ticket is given out once (RFC 8446 appendix C.4). */
SSL_SESSION *tls_resume_take(struct tls_resume *cache, struct str host);

#endif
