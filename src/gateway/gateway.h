/*
 * The gateway as the process sees it: snapshots of settings, and one serving side a loop thread.
 * snapshot_* in the main thread; gateway_thread_* on the loop thread named in each comment.
 * The handler yields; everything else here does not.
 * A snapshot owns its settings; it is freed when the main thread and all loops have let go of it.
 * -ERR_INVALID with a message for people when settings contradict themselves.
 */
#ifndef WEIR_GATEWAY_GATEWAY_H
#define WEIR_GATEWAY_GATEWAY_H

#include "gateway/settings.h"
#include "http/server.h"

struct snapshot;
struct gateway_thread;

/*
 * Builds what the request path needs from the settings (TLS contexts, key table, model names) and
 * takes them over on success. *message (in the error slot's words) tells what does not fit
 * together otherwise; the settings stay the caller's then. `generation` counts from 1.
 */
struct snapshot *snapshot_new(struct settings *settings, uint64_t generation);
const struct settings *snapshot_settings(const struct snapshot *snapshot);
uint64_t snapshot_generation(const struct snapshot *snapshot);
/* References between threads (atomic); a request's own hold is a per-thread count. */
void snapshot_ref(struct snapshot *snapshot);
void snapshot_unref(struct snapshot *snapshot);
/* True when at least one target could be called. */
bool snapshot_is_usable(const struct snapshot *snapshot);

/* On its loop thread, before the first request. NULL with the error slot set. */
struct gateway_thread *gateway_thread_new(struct snapshot *first);
/* On its loop thread, between requests of the turn (from a mail): requests that run keep the
 * snapshot they began with. */
void gateway_thread_swap(struct gateway_thread *thread, struct snapshot *next);
/* After the loop's tasks have ended. */
void gateway_thread_free(struct gateway_thread *thread);
/* Settings for http_serve that follow the current snapshot. */
const struct http_server_settings *gateway_http_settings(struct gateway_thread *thread);

/* The handler for http_serve; ctx is the gateway_thread. */
YIELDS void gateway_handle(struct http_request *r, void *ctx);

/* Any thread: /readyz says no from now on (draining), or yes again. */
void gateway_set_draining(bool is_draining);

#endif
