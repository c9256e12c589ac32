/*
 * Routes as data: names that clients ask for, the targets behind them, and how a request is kept
 * alive on its way (retries, deadlines, streams that survive). What the config says, nothing else.
 * Immutable once a snapshot holds it; any thread may read it.
 * Nothing yields.
 * Everything lives in the settings' arena.
 * No errors here: the reader of the config and route_check (plan.h) report them.
 */
#ifndef WEIR_ROUTE_ROUTE_H
#define WEIR_ROUTE_ROUTE_H

#include "base/str.h"

enum route_strategy {
    ROUTE_PRIORITY,      /* in the order written; the next when the one before cannot */
    ROUTE_ROUND_ROBIN,   /* in turn, by weight, evenly spread */
    ROUTE_WEIGHTED,      /* at random, by weight */
    ROUTE_LEAST_LATENCY, /* the faster of two at random, measured */
    ROUTE_LEAST_BUSY,    /* fewest requests under way, by weight */
    ROUTE_COST,          /* the cheapest that meets the route's quality */
    ROUTE_CONDITIONAL,   /* the first whose `when` holds */
    ROUTE_HASH,          /* the same key to the same target, with bounded loads */
    ROUTE_STICKY,        /* the same key to the same target, while it is up */
    ROUTE_STRATEGY_COUNT
};
extern const char *const route_strategy_names[ROUTE_STRATEGY_COUNT + 1]; /* ends with NULL */

/* What a hash or sticky route goes by. */
enum route_key {
    ROUTE_KEY_SESSION, /* x-weir-session, or metadata.session_id; else as USER */
    ROUTE_KEY_USER,    /* the end user that the body names; else the virtual key */
    ROUTE_KEY_PROMPT,  /* the beginning of the prompt: keeps providers' prompt caches warm */
    ROUTE_KEY_HEADER,  /* the header `key_header` */
    ROUTE_KEY_COUNT
};
extern const char *const route_key_names[ROUTE_KEY_COUNT + 1];

/* What happens when a stream breaks after content was delivered. */
enum route_mid_stream {
    MID_STREAM_CONTINUE,  /* the next target goes on where it broke */
    MID_STREAM_TERMINATE, /* the client gets its dialect's error event */
    MID_STREAM_COUNT
};
extern const char *const route_mid_stream_names[MID_STREAM_COUNT + 1];

enum route_resume {
    RESUME_ON_REQUEST, /* clients that send x-weir-resume: true */
    RESUME_ALWAYS,     /* every stream */
    RESUME_NEVER,
    RESUME_COUNT
};
extern const char *const route_resume_names[RESUME_COUNT + 1];

/* What a request does when every key of its target is at its limit. */
enum route_when_limited {
    LIMITED_NEXT, /* goes to the next target; waits where there is none, but for the only key of
                     the only target, which is asked unless its bench is long */
    LIMITED_WAIT, /* waits in the queue, then goes on */
    LIMITED_FAIL, /* goes to the next target; 429 where there is none */
    LIMITED_COUNT
};
extern const char *const route_when_limited_names[LIMITED_COUNT + 1];

/* Fallbacks by what went wrong. */
enum route_fallback {
    FALLBACK_GENERAL,        /* every target of the route failed */
    FALLBACK_CONTEXT_WINDOW, /* more tokens than the model takes */
    FALLBACK_CONTENT_POLICY, /* refused for what it says */
    FALLBACK_COUNT
};
extern const char *const route_fallback_names[FALLBACK_COUNT + 1];

/*
 * How a request is kept alive. `routing` in the config holds the policy of names without a route
 * and what routes inherit; a route writes what differs. Times in ns.
 */
struct route_policy {
    uint32_t retries; /* further attempts after the first, fallbacks not counted */
    int64_t backoff_ns, backoff_max_ns;
    uint32_t retry_budget_percent; /* of recent requests; beyond, no retries; 100+ = no budget */
    /* Deadlines; 0 = that of `timeouts`. */
    int64_t connect_ns, first_byte_ns, stall_ns, total_ns;
    /* The breaker of each (provider, model, key). */
    uint32_t breaker_failures; /* in a row; 0 = no breaker */
    uint32_t breaker_percent;  /* of the window's requests, from breaker_least on */
    uint32_t breaker_least;
    int64_t breaker_window_ns, breaker_open_ns;
    int64_t slow_ttft_ns; /* a first token later than this is a failure; 0 = never */
    /* Streams. */
    enum route_mid_stream mid_stream;
    enum route_resume resume;
    int64_t resume_grace_ns; /* how long the upstream call lives on without a client */
    int64_t early_head_ns;   /* the head leaves after so long without an event; 0 = never */
    /* Hedging: 0 and 0 = off. */
    int64_t hedge_after_ns;
    uint32_t hedge_percentile; /* of the target's time to first token: 95 */
    /* Mirroring. */
    struct str mirror_target;    /* provider/model or a route; empty = none */
    uint32_t mirror_per_million; /* of requests */
    /* Keys at their limit. */
    enum route_when_limited when_limited;
    uint32_t queue_length; /* most requests that wait, per target */
    int64_t queue_wait_ns;
    /* Active probes; 0 = none. */
    int64_t probe_interval_ns;
};
/* What holds where nothing is written. */
extern const struct route_policy route_policy_default;

/* A member of the request's body as it is sent to the provider, in the provider's dialect; dots
 * lead into objects ("generationConfig.temperature"). */
struct route_param {
    struct str name;
    struct str json;
};

struct condition; /* condition.h */

struct route_target {
    struct str target;             /* provider/model, a bare model, or another route */
    uint32_t weight;               /* 1 .. 1000; 0 takes nothing but failures of others */
    uint32_t quality;              /* for ROUTE_COST: 0 .. 100 */
    const struct condition *when;  /* NULL = always */
    struct route_param *overrides; /* replace what the client says */
    unsigned override_count;
    struct route_param *defaults; /* where the client says nothing */
    unsigned default_count;
};

struct route_names {
    struct str *names;
    unsigned count;
};

struct route {
    struct str name;
    enum route_strategy strategy;
    struct route_target *targets;
    unsigned target_count;
    enum route_key key;
    struct str key_header;
    uint32_t load_percent;  /* ROUTE_HASH: most load of a target, of the average; 125 */
    uint32_t least_quality; /* ROUTE_COST */
    struct route_names fallbacks[FALLBACK_COUNT];
    struct route_policy policy;
    /* ROUTE_ROUND_ROBIN: the order of turns, made by route_prepare. */
    uint16_t *turns;
    unsigned turn_count;
};

#endif
