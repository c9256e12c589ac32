/*
 * Answers that outlive their connection: a client that lost it comes back for the rest, and a
 * request that is sent twice (Idempotency-Key) is paid for once.
 * The request's task; resume_cancel_all on the loop thread whose answers it ends.
 * resume_run and streams_get yield.
 * A request that is taken is served by a task of its own, to a journal; the client's task reads it.
 * Every failure is answered in the client's dialect.
 */
#ifndef WEIR_GATEWAY_RESUME_H
#define WEIR_GATEWAY_RESUME_H

#include "rt/task.h"

struct exchange;

/* After the body was scanned: true when the answer goes to a journal; then resume_run is all that
 * is left to do. */
bool resume_takes(struct exchange *ex);
YIELDS void resume_run(struct exchange *ex);
/* x-weir-resume: restart: an answer may begin again where it cannot go on. */
bool resume_wants_restart(const struct exchange *ex);

/* GET /v1/streams/{id} */
YIELDS void streams_get(struct exchange *ex);

/* Ends what runs for clients on this thread, as a shutdown does: they are told so. */
void resume_cancel_all(void);

#endif
