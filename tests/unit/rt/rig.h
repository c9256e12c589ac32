/*
 * What the runtime's tests share: a loop on the test's own thread, and plain blocking peers.
 * The test's thread only, except where a function says otherwise.
 * Nothing here yields.
 * What rig_* opens belongs to the caller.
 * Failures end the test; nothing waits longer than RIG_PATIENCE_NS.
 */
#ifndef WEIR_TESTS_UNIT_RT_RIG_H
#define WEIR_TESTS_UNIT_RT_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "rt/addr.h"
#include "rt/loop.h"
#include "rt/task.h"

#define RIG_PATIENCE_NS (30 * NS_PER_SEC)

/* Makes a loop, runs fn(arg) as its first task until no task is left, and frees the loop. */
void rig_run(task_fn *fn, void *arg);
/* Turns this thread's loop until *flag is true. */
void rig_turn_until(const bool *flag);
/* Turns this thread's loop until no task is left. */
void rig_turn_until_idle(void);

/* A moment that is `ms` from now, on the loop's clock. */
int64_t rig_in_ms(int64_t ms);

/* A blocking socket that listens on 127.0.0.1; *addr gets its address. */
int rig_listen(struct net_addr *addr);
/* A blocking connection. */
int rig_connect(const struct net_addr *addr);
/* An address on 127.0.0.1 where nobody listens. */
struct net_addr rig_closed_port(void);

#endif
