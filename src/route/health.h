/*
 * How every (provider, model, key) is doing: one table for the process. It outlives the config's
 * snapshots, so a reload forgets nothing.
 * Any thread: one short lock (well below a microsecond) around each call. Nothing yields; times and
 * seeds come in. now_ns is monotonic (base/clock.h).
 * The table owns its entries and copies names; a lease keeps its entry until health_end. It is
 * bounded: idle targets leave, the longest unused first.
 * No errors: without memory or room an attempt goes on unobserved (HEALTH_GO).
 * Only for keys of the config: what a client's own key is refused says nothing about the provider.
 */
#ifndef WEIR_ROUTE_HEALTH_H
#define WEIR_ROUTE_HEALTH_H

#include "route/breaker.h"
#include "route/classify.h"
#include "route/latency.h"
#include "route/limits.h"
#include "route/retry.h"

enum {
    HEALTH_ENTRIES_DEFAULT = 4096,
    HEALTH_KEYS_MAX = 64, /* of a provider; what is beyond is not used */
    HEALTH_ROUTES_MAX = 1024,
};

/* Before any other call, once. `entries_max`: 0 = HEALTH_ENTRIES_DEFAULT. */
void health_init(unsigned entries_max);
/* No lease may be out. */
void health_fini(void);

enum health_verdict {
    HEALTH_GO,
    HEALTH_PROBE,   /* go: it is the one attempt that tells whether an open breaker may close */
    HEALTH_LIMITED, /* every key is at a limit or was told to wait */
    HEALTH_BENCHED, /* every key was refused by the provider */
    HEALTH_OPEN,    /* the breaker lets nothing through */
    HEALTH_PROBING, /* ... and somebody else's probe is under way */
    HEALTH_ALL_EXCLUDED,
    HEALTH_VERDICT_COUNT
};
extern const char *const health_verdict_names[HEALTH_VERDICT_COUNT];
static inline bool health_may_go(enum health_verdict verdict)
{
    return verdict <= HEALTH_PROBE;
}

/* A bench up to here is short. */
#define HEALTH_SHORT_BENCH_NS (INT64_C(60) * 1000000000)

/* How much of what is known of limits keeps an attempt from being made. An open breaker always
 * does. */
enum health_lenience {
    HEALTH_STRICT,      /* all of it: there are others to go to */
    HEALTH_LAST_RESORT, /* no guesses (a refusal without a time, a limit that is near): there is
                           nothing else; but what the provider said until when */
    HEALTH_ONLY_ONE, /* nothing but a bench that is long (a daily quota): the only key of the only
                        target, its provider may say itself */
};

/* Who asks, and for what. */
struct health_ask {
    struct str provider, model;
    unsigned key_count;      /* 0 (no credential) counts as one key */
    const uint32_t *weights; /* of the keys; NULL = all alike */
    uint64_t excluded;       /* keys that this request has tried: bit 0 is key 0 */
    int64_t tokens;          /* that it may take, estimated; 0 = not known */
    enum health_lenience lenience;
};

/* An attempt under way. Zeroed: none. */
struct health_lease {
    struct health_entry *entry; /* NULL = goes unobserved */
    unsigned key;               /* which key to use */
    bool is_probe;
    /* For health.c: whether the breaker knows already, and since when it is under way. */
    bool counted_ok, counted_failed;
    int64_t begun_ns;
};

/*
 * Picks a key, at random by weight among those that may be used now, and begins an attempt with it.
 * HEALTH_GO and HEALTH_PROBE fill the lease, which must go to health_end. Else *until_ns (may be
 * NULL) is when the first of the keys may be used again (CLOCK_NEVER = that cannot be said).
 */
enum health_verdict health_begin(const struct health_ask *ask, int64_t now_ns, uint64_t seed,
                                 struct health_lease *lease, int64_t *until_ns);
/* The first event with content came: records the time to it. A probe has succeeded with that, long
 * before its stream ends; what comes too late (`ttft_ns` > slow_ttft_ns) has failed. Once a lease.
 */
void health_first(struct health_lease *lease, const struct route_policy *policy, int64_t ttft_ns,
                  int64_t now_ns, uint64_t seed);
/* What the headers of its answer tell of the key's limits; bad answers tell, too. */
void health_learn(struct health_lease *lease, const struct http_headers *headers, int64_t now_ns,
                  int64_t now_wall_ns);

struct health_result {
    enum outcome_class outcome;
    unsigned status;        /* 0 = none came */
    int64_t duration_ns;    /* of the whole attempt; counted for OUTCOME_OK; -1 = do not count */
    int64_t retry_after_ns; /* -1 = none */
};
/* The attempt has come out, by all that classify.h says of its class; the lease is empty then. An
 * empty lease is let pass. */
void health_end(struct health_lease *lease, const struct route_policy *policy,
                const struct health_result *result, int64_t now_ns, uint64_t seed);

/* --- for the planner --- */

/* A target as it is now, all its keys together. */
struct health_view {
    bool is_known;               /* there was an attempt, and it is not forgotten */
    enum health_verdict verdict; /* what health_begin would say */
    enum breaker_state state;    /* of the best key */
    int64_t until_ns;            /* as of health_begin; 0 where it may go */
    uint32_t in_flight;
    unsigned usable_keys;
    int64_t last_used_ns; /* when an attempt last began with one of these; 0 = never */
    /* Times of good answers in the last minute or two; -1 = none. */
    int64_t ttft_p50_ns, ttft_p95_ns;
    int64_t duration_p50_ns, duration_p95_ns;
    uint32_t ttft_samples, duration_samples;
};
void health_look(const struct health_ask *ask, int64_t now_ns, struct health_view *view);
/* The time to first token that `percent` of the target's answers keep; -1 = not known. */
int64_t health_ttft_ns(struct str provider, struct str model, unsigned percent, int64_t now_ns);
/* The same of the time to the end of an answer in one piece. */
int64_t health_duration_ns(struct str provider, struct str model, unsigned percent, int64_t now_ns);

/* --- routes --- */

/*
 * What a route keeps between requests. The budget is the route's own: a route whose targets are all
 * down must not take the retries of one that has a single bad minute. Names without a route share
 * the one of the empty name. Valid until health_fini; never NULL: beyond HEALTH_ROUTES_MAX, or
 * without memory, all share the one of the empty name.
 */
struct health_route;
struct health_route *health_route(struct str name);
/* 0, 1, 2 ...: whose turn it is. */
uint64_t health_turn(struct health_route *route);
/* What health_turn would say next; takes nobody's turn. */
uint64_t health_next_turn(struct health_route *route);
void health_count_request(struct health_route *route, int64_t now_ns);
/* May it try again, another target or the same? True: health_retry_end must follow. */
bool health_retry_begin(struct health_route *route, uint32_t budget_percent, int64_t now_ns);
void health_retry_end(struct health_route *route, bool is_ok, int64_t now_ns);

/* --- for people: GET /v1/weir/health --- */

struct health_row {
    struct str provider, model; /* in the arena */
    unsigned key;
    enum health_verdict verdict;
    struct breaker breaker;
    enum breaker_state state; /* as breaker_shown */
    struct limits limits;
    /* The key is refused for all models of the provider until then; 0 = it is not. */
    int64_t key_bench_until_ns;
    uint32_t in_flight;
    uint64_t attempts;                      /* ever, as far as it is remembered */
    uint64_t outcomes[OUTCOME_CLASS_COUNT]; /* of those that have come out */
    struct breaker_counts recent;           /* of the breaker's window: the error ratio */
    enum outcome_class last_error;          /* OUTCOME_OK = none yet */
    unsigned last_error_status;
    int64_t last_error_ns, last_used_ns;
    /* Of the target, all keys together. */
    int64_t ttft_p50_ns, ttft_p95_ns, duration_p50_ns, duration_p95_ns;
    uint32_t ttft_samples;
};
/* Rows are numbered 0 .. health_rows() - 1, some of them empty (false). A row is a consistent copy;
 * two rows may be of different moments, so that a long table holds nobody up. */
unsigned health_rows(void);
bool health_row(unsigned index, int64_t now_ns, struct arena *arena, struct health_row *row);

/* Benches and limits of a provider's keys are forgotten, breakers closed: its keys have changed. */
void health_forget(struct str provider);

#endif
