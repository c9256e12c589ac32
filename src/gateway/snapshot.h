/*
 * Snapshots from the inside: what all threads share, and one thread's own part of it.
 * The shared part is immutable; a thread_snapshot is touched by its loop thread alone.
 * Nothing yields.
 * A request holds the thread_snapshot it began with by a plain count (thread_snapshot_hold).
 * Errors as in gateway.h.
 */
#ifndef WEIR_GATEWAY_SNAPSHOT_H
#define WEIR_GATEWAY_SNAPSHOT_H

#include "gateway/gateway.h"
#include "gateway/upstream.h"
#include "route/plan.h"

struct snapshot {
    atomic_uint refs;
    uint64_t generation;
    struct settings *settings;
    struct key_table *keys;
    struct plan_world world;
    bool is_open; /* no key is asked for */
    bool is_usable;
};

/* A provider's model list as it was last fetched. */
struct model_list {
    struct buf body;
    int64_t fresh_until_ns;
};

struct thread_snapshot {
    struct snapshot *shared;
    struct arena *arena;
    struct upstream *upstreams;     /* one a provider, same order */
    struct model_list *model_lists; /* the same */
    unsigned holds;
    bool is_retired;
};

struct gateway_thread {
    struct thread_snapshot *current;
    struct http_server_settings http;
};

struct thread_snapshot *thread_snapshot_hold(struct gateway_thread *thread);
/* Once more, for whoever else works with one that is held. */
struct thread_snapshot *thread_snapshot_share(struct thread_snapshot *ts);
void thread_snapshot_release(struct thread_snapshot *ts);

bool gateway_is_draining(void);

#endif
