/*
 * Active probes: where a route wants them, the gateway asks the route's targets for a sign of life
 * by itself, so that a dead one is known before a client meets it and a breaker closes without one.
 * Loop threads; only the first of them probes, for the whole process.
 * Nothing yields: each probe runs in a task of its own, and waits in a timer until then.
 * The probes own a copy of what they need and hold the config's snapshot that they came from.
 * Cannot fail: without memory nothing is probed.
 */
#ifndef WEIR_GATEWAY_PROBE_TARGETS_H
#define WEIR_GATEWAY_PROBE_TARGETS_H

struct gateway_thread;

/* The thread has a config from now on: its routes' targets are probed, those of the last are not.
 */
void probe_targets_follow(struct gateway_thread *thread);
/* No probe begins any more, and those under way are cancelled. */
void probe_targets_stop(void);

#endif
