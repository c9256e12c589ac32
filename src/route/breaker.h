/*
 * The breaker of one (provider, model, key): closed, degraded, open, probing.
 * One thread at a time (health.h holds its lock around it). Nothing yields; the time comes in.
 * A plain value; zeroed is closed.
 * Cannot fail.
 * While it is open nothing is let through; then one probe at a time, and the first that succeeds
 * closes it.
 */
#ifndef WEIR_ROUTE_BREAKER_H
#define WEIR_ROUTE_BREAKER_H

#include "route/route.h"

enum breaker_state {
    BREAKER_CLOSED,
    BREAKER_DEGRADED, /* half way to open: all is let through, others are to be preferred */
    BREAKER_OPEN,
    BREAKER_PROBING, /* the time is over and one attempt is under way to see */
    BREAKER_STATE_COUNT
};
extern const char *const breaker_state_names[BREAKER_STATE_COUNT];

/* Why it is in its state. */
enum breaker_why {
    BREAKER_WHY_NONE,
    BREAKER_WHY_IN_A_ROW,     /* breaker_failures one after the other */
    BREAKER_WHY_RATIO,        /* breaker_percent of the window */
    BREAKER_WHY_SLOW,         /* the last of them was a late first token */
    BREAKER_WHY_PROBE_DUE,    /* a probe is under way */
    BREAKER_WHY_PROBE_FAILED, /* open again, for longer */
    BREAKER_WHY_RECOVERED,
    BREAKER_WHY_COUNT
};
extern const char *const breaker_why_names[BREAKER_WHY_COUNT];

/* Attempts of a window. */
struct breaker_counts {
    uint32_t attempts, failures;
};

struct breaker {
    enum breaker_state state;
    enum breaker_why why;
    uint32_t failures_in_row;
    uint32_t failed_probes; /* in a row: each doubles the time to the next, up to 8 times */
    uint64_t openings;      /* ever */
    int64_t since_ns;       /* when the state began; 0 = from the start */
    int64_t closed_ns;      /* when it last closed; 0 = never */
    int64_t until_ns;       /* open: when a probe may go */
    bool is_probe_out;
    /* The sliding window: the one that runs and the one before, which fades as it runs. */
    int64_t window_start_ns, window_ns;
    struct breaker_counts current, previous;
};

enum breaker_verdict {
    BREAKER_GO,
    BREAKER_GO_PROBE, /* go, and tell breaker_record that it was the probe */
    BREAKER_STAY_OPEN,
    BREAKER_STAY_PROBING /* somebody else's probe is under way */
};

/* What breaker_ask would say, without taking the probe. */
enum breaker_verdict breaker_look(const struct breaker *breaker, int64_t now_ns);
/* May an attempt go? BREAKER_GO_PROBE is given to one at a time: who gets it must end it with
 * breaker_record or breaker_release. */
enum breaker_verdict breaker_ask(struct breaker *breaker, int64_t now_ns);
/* How an attempt came out. */
struct breaker_outcome {
    bool is_failure;
    bool is_slow; /* a failure because its first token came late */
    bool is_probe;
    int64_t
        begun_ns; /* what began before the breaker last closed tells of the outage, not of now */
};
/* While it is open only the probe's outcome changes anything. `seed`: for the jitter of the time
 * that it stays open (up to a quarter more). A policy with breaker_failures 0 counts only. */
void breaker_record(struct breaker *breaker, const struct route_policy *policy,
                    const struct breaker_outcome *outcome, int64_t now_ns, uint64_t seed);
/* The probe ended without telling anything (it was cancelled): the next may probe at once. */
void breaker_release(struct breaker *breaker);
/* Attempts and failures of the last window. */
struct breaker_counts breaker_recent(const struct breaker *breaker, int64_t now_ns);
/* The state as it is to be shown: degraded fades with its window. */
enum breaker_state breaker_shown(const struct breaker *breaker, int64_t now_ns);

#endif
