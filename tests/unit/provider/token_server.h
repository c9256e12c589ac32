/*
 * What the credentials' tests share: a loop on the test's thread, a service on 127.0.0.1 that plays
 * every token service there is, and an environment that knows of no other.
 * The test's thread; the function of a test runs as a task.
 * What applies a credential or waits yields.
 * The service belongs to the run.
 * Failures end the test; nothing waits longer than 20 s of real time.
 */
#ifndef WEIR_TESTS_UNIT_PROVIDER_TOKEN_SERVER_H
#define WEIR_TESTS_UNIT_PROVIDER_TOKEN_SERVER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/server.h"
#include "provider/credential.h"

struct service;
/* Writes the answer's body and returns its status. `body` is the request's. */
typedef unsigned service_fn(struct service *service, const struct http_request *request,
                            struct str body, struct buf *answer);

struct service {
    service_fn *answer;
    char url[64];      /* http://127.0.0.1:PORT */
    char *host;        /* 127.0.0.1:PORT */
    unsigned asked;    /* requests so far */
    bool is_held;      /* answers wait until this is false */
    unsigned fails;    /* so many are answered with 500 */
    bool lacks_memory; /* the test makes allocations fail, the services among them */
    unsigned state;    /* the test's */
    struct buf last;   /* "METHOD target\nname: value\n...\n\nbody" */
};
extern struct service service;

/* Runs fn as a task with the service answering, a clock that stands (wall time 2026-11-21
 * 08:00:00), an empty home folder and no variable of a cloud; checks that nothing is left. */
void with_service(service_fn *answer, task_fn *fn);
/* A file in the home folder; returns its path, which lasts as long as the run. */
const char *home_file(const char *name, const char *content);
/* A POST to Bedrock. */
const struct credential_request *a_request(void);
/* Applies once; returns the Authorization in a static buffer, or NULL on failure. */
YIELDS const char *authorize(struct credential *c, struct arena *arena, struct http_headers *out);
YIELDS void expect_authorization(struct credential *c, const char *expected);
/* The error's words have this part. */
YIELDS void expect_failure(struct credential *c, const char *part);

/* Moves the clock. */
YIELDS void pass_s(int64_t seconds);
/* Turns until the service was asked so often in all and all answers are there. */
YIELDS void service_wait(unsigned asked);
/* Lets everything else run on. */
YIELDS void let_run(void);
/* The last request has this text in it. */
void assert_asked(const char *text);
/* Waits until this was logged. */
YIELDS void wait_logged(const char *text);
/* What was logged since the run began. */
struct str logged(void);

#endif
