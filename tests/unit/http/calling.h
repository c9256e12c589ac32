/*
 * Whole calls for the client's tests: what one came to, and the scripts that most need.
 * The test's thread, in a task.
 * The calling_ functions and scripts yield.
 * An outcome belongs to the test: outcome_fini.
 * Failures end the test where told.
 */
#ifndef WEIR_TESTS_UNIT_HTTP_CALLING_H
#define WEIR_TESTS_UNIT_HTTP_CALLING_H

#include "upstream.h"

/* Longer than any test runs. */
extern const struct http_timeouts patient;

struct outcome {
    int result;
    struct err err;
    unsigned status;
    struct buf body;
    bool was_reused, was_retried;
    bool went_back; /* the connection can serve another call */
    unsigned reads;
};

void outcome_fini(struct outcome *o);
struct http_call_request get_request(void);
/* Reads the body to its end: 0 or -ERR_x. */
YIELDS int read_all(struct http_call *call, struct outcome *o);
YIELDS void call_with(struct outcome *o, const struct http_origin *origin,
                      const struct http_call_request *request,
                      const struct http_timeouts *timeouts);
YIELDS void call_get(struct outcome *o, const struct http_origin *origin);
/* Fails the test unless the call went well with this answer. */
void expect_body(const struct outcome *o, unsigned status, const char *body);
/* Closes what is idle and waits until the upstream's connections have ended. */
YIELDS void part_from(struct upstream *upstream);

#define OK_HI "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"

/* "hi" to every request. */
void script_ok(struct served *served);
/* The text upstream.ctx to every request. */
void script_same(struct served *served);

#endif
