/*
 * What became of an attempt, in one table for all dialects, and what follows from it.
 * Any thread; nothing yields; no clock, no I/O: pure.
 * Owns nothing; what is read is looked at during the call only.
 * Cannot fail: what nobody knows is OUTCOME_TRANSIENT or, by its status, a client's fault.
 * An error inside a 200 stream is classified as if its status had said it.
 */
#ifndef WEIR_ROUTE_CLASSIFY_H
#define WEIR_ROUTE_CLASSIFY_H

#include "dialect/error.h"
#include "http/message.h"
#include "route/route.h"

enum outcome_class {
    OUTCOME_OK,
    OUTCOME_CLIENT_FAULT,   /* 400, 405, 413, 422: the same everywhere, return it */
    OUTCOME_CREDENTIAL,     /* 401, 402: this key is no good, for any model */
    OUTCOME_DENIED,         /* 403: this key may not have this model */
    OUTCOME_THROTTLED,      /* 429, 529, overloaded: later, or elsewhere */
    OUTCOME_QUOTA,          /* 429 that no waiting of a minute mends: insufficient_quota */
    OUTCOME_OVERSIZED,      /* 429, 413: alone more than the key's limit of a minute */
    OUTCOME_NO_MODEL,       /* 404: not here; another target may have it */
    OUTCOME_TRANSIENT,      /* 408, 5xx, connect, reset, TLS, timeout, truncated, undecodable */
    OUTCOME_CONTEXT_WINDOW, /* more tokens than the model takes */
    OUTCOME_CONTENT_POLICY, /* refused for what it says */
    OUTCOME_LOCAL,          /* weir's own: no memory, the dial guard, a full queue, a limit */
    OUTCOME_CANCELLED,      /* by the client, by a faster twin, by shutdown */
    OUTCOME_CLASS_COUNT
};

/* What an outcome takes out of service until a time. */
enum bench_scope {
    BENCH_NOTHING,
    BENCH_TARGET_KEY, /* this key for this model */
    BENCH_KEY         /* this key for all models of the provider */
};

struct outcome_rule {
    const char *name;         /* "client_fault", for logs, metrics and headers */
    bool tries_next_target;   /* the route's next target may do better */
    bool tries_next_key;      /* another key of the same target may */
    bool retries_same_target; /* so may the same target, a little later (retry_delay_ns) */
    bool counts_for_breaker;  /* as a failure; where not, and not OK, it counts as nothing */
    enum bench_scope benches;
    int64_t bench_ns;     /* where the provider tells no time; doubles each time in a row ... */
    int64_t bench_max_ns; /* ... up to this */
    enum route_fallback fallback; /* the list to go to once no target is left */
    bool has_fallback;
};
extern const struct outcome_rule outcome_rules[OUTCOME_CLASS_COUNT];

/* What a provider's error means; the dialect's read_error has filled it. Where read_error found
 * nothing that it knows, the kind that the status says is enough. */
enum outcome_class classify_error(const struct llm_error *error);
/* The same from a status alone (an error page). 2xx is OUTCOME_OK. */
enum outcome_class classify_status(unsigned status);
/* What a failure of our own calls means (base/err.h), negative or positive. 0 is OUTCOME_OK. */
enum outcome_class classify_failure(int err_code);

/* A Retry-After is believed up to here: a daily quota tells one of a day (24 h). */
#define RETRY_AFTER_MAX_NS (INT64_C(86400) * 1000000000)
/*
 * How long the provider asks to be left alone; -1 = it does not say. From retry-after-ms,
 * x-ms-retry-after-ms, Retry-After in seconds or as a date (RFC 9110 section 10.2.3), then the
 * body's own word, then its text ("Please try again in 7.66s"). At most RETRY_AFTER_MAX_NS.
 * For failed attempts only: Anthropic sends Retry-After with good answers, too. Each may be NULL.
 */
int64_t retry_after_ns(const struct http_headers *headers, const struct llm_error *error,
                       int64_t now_wall_ns);

/*
 * A duration as providers write it: "2", "0.5", "6m0s", "1h2m3.5s", "20ms", "1d". A bare number is
 * in seconds. False (and *out as it was) on anything else. At most some years; ns.
 */
bool duration_read(struct str text, int64_t *out_ns);
/* A date as "Sat, 21 Nov 2026 03:58:23 GMT" or "2026-11-21T03:58:23[.5](Z|+01:00)"; Unix ns. */
bool date_read(struct str text, int64_t *out_wall_ns);

#endif
