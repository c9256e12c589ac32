/*
 * Connections to upstreams: the idle ones by origin, and the making of new ones.
 * Each loop thread has its own; http/client.h is what others use of it.
 * pool_open yields.
 * A connection belongs to who took or opened it until pool_put or pool_drop.
 * pool_open: as dial, and -ERR_NOMEM. Everything else cannot fail.
 */
#ifndef WEIR_HTTP_POOL_H
#define WEIR_HTTP_POOL_H

#include "http/client.h"

struct http_site;
struct h2_client;

struct http_conn {
    struct io io;
    struct h1_parser parser;
    struct http_site *site;
    struct list site_node; /* in the site's idle connections */
    struct list idle_node; /* in all idle connections */
    int64_t idle_since_ns;
    bool has_served;
    struct h2_client *h2; /* not NULL: many calls share it */
    uint32_t users;       /* calls on it, when it is shared */
};

/*
 * A connection to an equal origin: a shared one that has room, else the idle one that was used
 * last, or NULL. Where the first connection to an origin that may speak HTTP/2 is being opened, it
 * is waited for, for it may do for all.
 */
YIELDS int pool_take(const struct http_origin *origin, int64_t deadline_ns, struct http_conn **out);
/* A new one. The deadlines are absolute. */
YIELDS int pool_open(const struct http_origin *origin, int64_t connect_deadline_ns,
                     int64_t tls_deadline_ns, struct dial_timing *timing, struct http_conn **out);
/* Back, with nothing sent or expected on it. It is closed when it cannot be kept. */
void pool_put(struct http_conn *conn);
/* Closes it. With is_abrupt the peer gets RST, so that it stops at once what it does for us. */
void pool_drop(struct http_conn *conn, bool is_abrupt);
/* A shared connection takes no more calls; h2_client.c, before its end. */
void pool_retire(struct http_conn *conn);
/* A retired connection that nobody uses ends: its descriptor and itself. */
void pool_bury(struct http_conn *conn);
/* Counts a request that was sent again for free. */
void pool_note_free_retry(void);

#endif
