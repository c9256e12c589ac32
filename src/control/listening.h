/*
 * The addresses that the process listens on, and how they follow the settings.
 * Main thread; connections are accepted on the workers.
 * Nothing yields; opening and closing block for a turn of the loops.
 * It owns the sockets and the server's TLS contexts.
 * -ERR_x with the error slot set when an address or a certificate cannot be had; nothing has
 * changed then.
 */
#ifndef WEIR_CONTROL_LISTENING_H
#define WEIR_CONTROL_LISTENING_H

#include "base/buf.h"
#include "control/inherit.h"
#include "control/worker.h"

struct listening;
struct listening_plan;

/* `threads` sockets are opened for each address. NULL = no memory. */
struct listening *listening_new(unsigned threads);
/* After the workers have stopped. */
void listening_free(struct listening *listening);

/*
 * Makes ready what the settings ask for: sockets for addresses that are not open yet (from the
 * inheritance if that has some; NULL = none) and TLS contexts. What is open goes on as it is.
 */
int listening_prepare(struct listening *listening, const struct settings *settings,
                      struct inheritance *inheritance, struct listening_plan **plan);
/* Throws a plan away and closes what it opened. */
void listening_abandon(struct listening_plan *plan);
/* Carries a plan out: new addresses are accepted on, certificates change for new connections, and
 * addresses that are not in the settings any more are closed once their queues are empty. -ERR_x
 * when a thread could not begin to accept: all others do. */
int listening_commit(struct listening *listening, struct listening_plan *plan,
                     struct workers *workers);

/* Stops accepting. With `close_queues` what waits in the queues is accepted first; without, another
 * process has the sockets too and takes it from there. */
void listening_stop(struct listening *listening, struct workers *workers, bool close_queues);

unsigned listening_count(const struct listening *listening);
/* The real address of the n-th listener, in the settings' order. */
const struct net_addr *listening_address(const struct listening *listening, unsigned n,
                                         bool *has_tls);

/* Every socket: the text of WEIR_LISTEN_FDS, and the descriptors themselves in the arena. */
unsigned listening_describe(const struct listening *listening, struct buf *text, int **fds,
                            struct arena *arena);

#endif
