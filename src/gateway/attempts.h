/*
 * The tries of one request: the targets of its plan, one after the other, until one answers. A try
 * that fails before anything was sent is not seen by the client.
 * The request's task.
 * attempts_run yields; what reports a failure does not.
 * Lives in the exchange's arena.
 * The last failure is answered by who saw it, in the client's dialect.
 */
#ifndef WEIR_GATEWAY_ATTEMPTS_H
#define WEIR_GATEWAY_ATTEMPTS_H

#include "dialect/error.h"
#include "rt/task.h"

struct exchange;

/* After the plan: tries until a target has answered or none is left; the client has its answer. */
YIELDS void attempts_run(struct exchange *ex);

/*
 * What a try came to, told by who sees it first. True: another try follows, and the client is to
 * hear nothing of this one. False where this was the last, or the operation is tried once.
 */
bool attempts_error(struct exchange *ex, const struct llm_error *error);
/* -ERR_x of the call or of the answer's reading. */
bool attempts_failure(struct exchange *ex, int code);
/* The target cannot be asked this at all (it offers no such operation, its dialect has no place for
 * it): another may. */
bool attempts_unfit(struct exchange *ex);

/* What was told last leads to another try. */
bool attempts_goes_on(const struct exchange *ex);

/* The head of the answer is here: it tells of limits. */
void attempts_head(struct exchange *ex);
/* The try is over: what it came to is counted. Once a try; a second call does nothing. */
void attempts_settle(struct exchange *ex);

/* Content has come. */
void attempts_first_token(struct exchange *ex, int64_t now_ns);

/* The step that a failure now would lead to next, or -1: none is left that may be asked. */
int attempts_untried(const struct exchange *ex);

/* Another try could follow, as far as the policy goes. */
bool attempts_has_more(const struct exchange *ex);
/*
 * A stream broke after its beginning was sent, which was told above: makes the next target that may
 * go on with it the exchange's, when its time has come. False: there is none, or the client went.
 */
YIELDS bool attempts_continue(struct exchange *ex);

#endif
