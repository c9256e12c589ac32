/*
 * What calls have in common on every HTTP version: times, and what a broken connection means.
 * The call's task.
 * Nothing yields.
 * Owns nothing.
 * The functions that judge return the -ERR_x to give up with.
 */
#ifndef WEIR_HTTP_CLIENT_CALL_H
#define WEIR_HTTP_CLIENT_CALL_H

#include "http/client.h"

/* So long after `from_ns`; CLOCK_NEVER for no span. */
int64_t call_span_from(int64_t from_ns, int64_t span_ns);
/* That time, or the end of the whole call. */
int64_t call_until(const struct http_call *call, int64_t deadline_ns);
/* "the upstream {what} within {span}" */
int call_timed_out(const struct http_call *call, const char *what, int64_t span_ns,
                   const char *which);
/* The connection has ended or failed: what that means for the caller. */
int call_broke_off(const struct http_call *call, int code, const char *when);
/* One more interim answer: 0 while there are few. */
int call_skip_interim(struct http_call *call, unsigned status);

#endif
