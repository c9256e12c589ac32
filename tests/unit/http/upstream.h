/*
 * What the client's tests share: a loop on the test's thread, and scripted upstreams on that loop.
 * The test's thread only.
 * upstream_read and upstream_send yield: scripts are tasks.
 * An upstream belongs to the test; its connections to their tasks.
 * Failures end the test; nothing waits longer than PATIENCE_MS.
 */
#ifndef WEIR_TESTS_UNIT_HTTP_UPSTREAM_H
#define WEIR_TESTS_UNIT_HTTP_UPSTREAM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/client.h"
#include "rt/listener.h"
#include "rt/loop.h"

enum { PATIENCE_MS = 20000 };

struct upstream;

/* One connection, as its script sees it. */
struct served {
    struct upstream *upstream;
    struct io io;
    unsigned index;     /* of the connection, from 0 */
    unsigned requests;  /* read so far */
    struct buf request; /* the last one, head and body */
};

typedef void upstream_script(struct served *served);

struct upstream {
    upstream_script *script;
    const void *ctx;
    struct tls_context *tls;
    unsigned accepted; /* connections ever */
    unsigned open;     /* connections now */
    unsigned coming;   /* connections whose task has not begun */
    struct buf log;    /* all requests one after the other */
    unsigned ended_by; /* enum err_code that the last upstream_read failed with */
    struct listener *listener;
    struct net_addr addr;
};

/* A script that has this upstream's end of socket pairs (see http_origin.in_process). */
struct http_origin upstream_in_process(struct upstream *upstream);
/* The same on a port of 127.0.0.1; ends with upstream_stop. */
struct http_origin upstream_listen(struct upstream *upstream);
void upstream_stop(struct upstream *upstream);
void upstream_fini(struct upstream *upstream);

/* The next request with its body (by Content-Length); false when the client has gone. */
YIELDS bool upstream_read(struct served *served);
YIELDS bool upstream_send(struct served *served, struct str bytes);
/* Lets the poller and all others have their turn. */
YIELDS void settle(void);

int64_t in_ms(int64_t ms);
/* Runs fn(arg) as a task on a new loop with a pool of these settings (NULL = the defaults), ends
 * the pool and the loop, and sees to it that nothing is left over. */
void run_client(task_fn *fn, void *arg, const struct http_pool_settings *settings);
/* Turns the loop until *flag. */
void turn_until(const bool *flag);

#endif
