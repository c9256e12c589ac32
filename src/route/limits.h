/*
 * What is known of a key's limits at a provider: learned from the headers of its answers, so that
 * the key is passed over before it fails.
 * One thread at a time (health.h locks); limits_read: any thread. Nothing yields; times come in.
 * A plain value; zeroed is "nothing known".
 * Cannot fail: headers that make no sense teach nothing.
 * Forms: OpenAI, Groq, Azure, Cerebras, Mistral, Together, Anthropic, RateLimit-* of the IETF
 * draft.
 */
#ifndef WEIR_ROUTE_LIMITS_H
#define WEIR_ROUTE_LIMITS_H

#include "http/message.h"

enum limits_kind {
    LIMITS_REQUESTS,
    LIMITS_REQUESTS_LONG, /* of an hour or a day */
    LIMITS_TOKENS,
    LIMITS_TOKENS_LONG,
    LIMITS_INPUT_TOKENS,
    LIMITS_OUTPUT_TOKENS,
    LIMITS_KIND_COUNT
};
extern const char *const limits_kind_names[LIMITS_KIND_COUNT];

/* One limit as it was last told. */
struct limits_window {
    bool is_known;
    bool refills_evenly; /* a token bucket: a bit comes back all the time; else all at the reset */
    int64_t limit;       /* -1 = not told */
    int64_t remaining;
    int64_t taken; /* by attempts that began since it was told */
    int64_t told_ns, reset_ns;
};

/* Why a key is on the bench. */
enum bench_why {
    BENCH_NONE,
    BENCH_TOLD,    /* the provider said until when */
    BENCH_GUESSED, /* it refused without a time */
    BENCH_WHY_COUNT
};
extern const char *const bench_why_names[BENCH_WHY_COUNT];

struct limits {
    struct limits_window windows[LIMITS_KIND_COUNT];
    int64_t bench_until_ns;
    enum bench_why bench_why;
    uint32_t benched_in_row; /* without a good answer between */
};

/* Reads the headers of an answer, good or bad: told->windows, nothing else of it. False when they
 * tell nothing. */
bool limits_read(const struct http_headers *headers, int64_t now_ns, int64_t now_wall_ns,
                 struct limits *told);
/* Takes over what limits_read has read. */
void limits_merge(struct limits *limits, const struct limits *told);
/* Both. */
void limits_learn(struct limits *limits, const struct http_headers *headers, int64_t now_ns,
                  int64_t now_wall_ns);

/* An attempt begins: it takes one request and so many tokens, as estimated. */
void limits_take(struct limits *limits, int64_t tokens);
/* No attempt before then. A shorter time than there is changes nothing, unless it is told and the
 * other was guessed. */
void limits_bench(struct limits *limits, int64_t until_ns, enum bench_why why);
/* A good answer: guesses are forgotten. */
void limits_unbench(struct limits *limits);
/* On the bench now; *until_ns (may be NULL) is when it ends. */
bool limits_is_benched(const struct limits *limits, int64_t now_ns, int64_t *until_ns);
/* Would an attempt of so many tokens go over a limit, as far as is known? *until_ns (may be NULL)
 * gets when it would not. Windows whose reset is past are not asked. */
bool limits_is_near(const struct limits *limits, int64_t tokens, int64_t now_ns, int64_t *until_ns);
/* What is left of a window now, refill included; -1 = not known. */
int64_t limits_remaining(const struct limits *limits, enum limits_kind kind, int64_t now_ns);

#endif
