/*
 * Listening sockets: one per loop thread and address by SO_REUSEPORT, and the hand-off of fresh
 * connections to the less loaded of two threads.
 * listen_open in the main thread; listener_start/stop on a loop thread.
 * Nothing yields; the callback runs on the loop's stack of the thread that gets the connection.
 * Descriptors belong to the caller of listen_open; an accepted descriptor to the callback.
 * 0 or -ERR_x with the address in the message.
 */
#ifndef WEIR_RT_LISTENER_H
#define WEIR_RT_LISTENER_H

#include "rt/addr.h"
#include "rt/loop.h"

/* Opens and binds `count` sockets to the same address (the port of the first where it asks for
 * port 0) and listens. *bound gets the real address. An address where another process listens is
 * refused, also when that one would share it. On failure nothing stays open. */
int listen_open(const struct net_addr *addr, unsigned count, int *fds, struct net_addr *bound);

typedef void listener_accept_fn(void *ctx, int fd, const struct net_addr *peer);

struct listener;
/*
 * Accepts from fd on this thread. Each fresh descriptor (TCP_NODELAY set) goes to accept_fn here,
 * or by mailbox to a peer thread whose loop_stats.load is lower: `peers` are all loops that have a
 * listener for the same address, `ctxs[i]` is what accept_fn gets there. EMFILE and the like pause
 * accepting for 100 ms and are counted, never spun on. accept_fn adds the connection to the load of
 * its thread before it returns. Both arrays are copied; this thread's loop must be one of `peers`.
 * A ctx must live until every listener that names it was stopped and its loop's
 * loop_stats.load_incoming is 0. NULL with the error slot set.
 */
struct listener *listener_start(int fd, listener_accept_fn *accept_fn, struct loop *const *peers,
                                void *const *ctxs, unsigned peer_count);
/* Stops accepting; the descriptor stays open (a new process may have it) unless close_fd. What is
 * still in the backlog is accepted first when it is to be closed. */
void listener_stop(struct listener *listener, bool close_fd);

/* Any thread: how often accepting had to pause, since the start. */
uint64_t listener_pauses(void);

#endif
