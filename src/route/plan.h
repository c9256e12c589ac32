/*
 * From the name a client asks for to the targets to try, in order. Pure: same inputs, same plan.
 * Any thread; nothing yields; no I/O, no clock; what is measured comes in through the view.
 * A plan lives in the arena it was made in and points into the names and routes it was given.
 * The verdict says why there is no target; the caller shapes the error. Out of memory: -ERR_NOMEM.
 * Names, in this order: a route, an alias, "provider/model", a bare model that exactly one provider
 * offers. A target of a route may be any of them.
 */
#ifndef WEIR_ROUTE_PLAN_H
#define WEIR_ROUTE_PLAN_H

#include "base/buf.h"
#include "route/condition.h"
#include "route/route.h"

/* What the plan needs to know of a provider. */
struct plan_provider {
    struct str name;
    const struct str *models; /* ids and globs */
    unsigned model_count;
    bool is_simulated; /* only when asked for by name */
};

struct plan_alias {
    struct str name;
    struct str target; /* "provider/model" */
};

struct plan_world {
    const struct plan_provider *providers;
    unsigned provider_count;
    const struct plan_alias *aliases;
    unsigned alias_count;
    const struct route *routes;
    unsigned route_count;
    const struct route_policy *policy; /* of names without a route; NULL = the default one */
};

/* --- names --- */

enum plan_verdict {
    PLAN_OK,
    PLAN_NO_SUCH_MODEL,
    PLAN_AMBIGUOUS, /* several providers offer it: candidates[] names them */
    PLAN_BAD_ALIAS, /* an alias leads nowhere: refused when a snapshot is built */
    PLAN_NO_TARGET, /* a route, none of whose targets is for this request */
    PLAN_FORBIDDEN, /* the key may use none of the targets (set by who checks that) */
    PLAN_VERDICT_COUNT
};

enum { PLAN_CANDIDATES_MAX = 8 };

struct plan_target {
    unsigned provider; /* index into the world */
    struct str model;  /* as the provider knows it */
    struct str route;  /* the alias, when one was asked for; else empty */
};

struct plan_resolution {
    enum plan_verdict verdict;
    struct plan_target target;
    unsigned candidates[PLAN_CANDIDATES_MAX];
    unsigned candidate_count;
};

/* What a name leads to where it is no route's. */
void plan_name(const struct plan_world *world, struct str asked, struct plan_resolution *plan);

/* An order that a suffix asks for in place of the route's strategy. */
enum plan_order {
    PLAN_BY_STRATEGY,
    PLAN_FLOOR, /* :floor: the cheapest first */
    PLAN_NITRO, /* :nitro: the fastest first, as measured */
};

/* The route of that name, exactly or before :floor or :nitro (model names hold colons, too: only
 * after a route's name they are suffixes). NULL: none. `order` may be NULL. */
const struct route *plan_route(const struct plan_world *world, struct str asked,
                               enum plan_order *order);

/* --- plans --- */

/* How a target is doing. A zeroed one with the three doubles at -1 is "nothing known". */
struct plan_health {
    bool is_open;      /* the breaker lets nothing through ... */
    bool is_probe_due; /* ... but one attempt, to see */
    bool is_limited;   /* every key is at its limit or was told to wait */
    uint32_t in_flight;
    int64_t open_until_ns, limited_until_ns; /* 0 = not known */
    double p95_ttft_ms, p95_duration_ms;     /* -1 = not known */
    double price_per_request;                /* USD for these facts; -1 = unpriced */
};

/* Fills *out, which is "nothing known" before. `look` may be NULL: nothing is known of any. */
struct plan_view {
    void (*look)(void *ctx, unsigned provider, struct str model, struct plan_health *out);
    void *ctx;
};

/* Why a target is where it is. What `value` and `other` are stands beside it. */
enum plan_why {
    PLAN_WHY_ASKED,    /* by its own name */
    PLAN_WHY_WRITTEN,  /* as the config has them */
    PLAN_WHY_TURN,     /* its turn (the number) */
    PLAN_WHY_NEXT,     /* the next ones in the ring */
    PLAN_WHY_DRAWN,    /* by lot (weight) */
    PLAN_WHY_FASTER,   /* of two drawn (p95, the other's p95; -1 = not measured) */
    PLAN_WHY_EXPLORED, /* not measured and idle, so that it is */
    PLAN_WHY_SPEED,    /* (p95, -1) */
    PLAN_WHY_BUSY,     /* (under way, weight) */
    PLAN_WHY_PRICE,    /* (USD; -1 = unpriced) */
    PLAN_WHY_HOLDS,    /* its condition holds, or it has none (1, 0) */
    PLAN_WHY_HASHED,   /* the key's own */
    PLAN_WHY_HASHED_NEXT,
    PLAN_WHY_FULL,      /* passed over (under way, at most) */
    PLAN_WHY_NO_KEY,    /* nothing to hash: by lot */
    PLAN_WHY_SPARE,     /* weight 0: only where others fail */
    PLAN_OUT_CONDITION, /* `when` does not hold */
    PLAN_OUT_QUALITY,   /* (its quality, the least) */
    PLAN_OUT_BREAKER,
    PLAN_OUT_REPEATED, /* it stands further up */
    PLAN_OUT_OFF,      /* the client wants the first or none */
};

enum { PLAN_DEPTH_MAX = 8, PLAN_STEPS_MAX = 256 };

/* One of the targets that lead to a step: a route's own, or a nested route's. */
struct plan_via {
    const struct route *route;
    const struct route_target *target;
    enum plan_why why;
    float value, other;
};

enum plan_part {
    PLAN_PRIMARY,
    PLAN_FALLBACK_GENERAL,
    PLAN_FALLBACK_CONTEXT_WINDOW,
    PLAN_FALLBACK_CONTENT_POLICY,
    PLAN_PART_COUNT
};
extern const char *const plan_part_names[PLAN_PART_COUNT];

struct plan_step {
    unsigned provider; /* index into the world */
    struct str model;
    const struct route *route;         /* the innermost that holds the target; NULL = none */
    const struct route_target *target; /* of that route; NULL = a name without a route */
    enum plan_part part;
    bool is_out;           /* not to be tried */
    bool is_forbidden;     /* out: the key may not use it (set by who checks that) */
    bool is_limited;       /* behind those that are not, unless the policy says to wait */
    bool is_probe;         /* its breaker is open and lets one through */
    enum plan_why out_why; /* PLAN_OUT_x when is_out */
    float out_value, out_other;
    struct str name; /* of the alias or model where there is no route */
    /* From the asked route's target down to `target`. Parameters: defaults of the last win over
     * those before it, overrides of the first over those behind it. */
    struct plan_via via[PLAN_DEPTH_MAX];
    unsigned via_count;
    struct plan_health health;
};

struct plan {
    enum plan_verdict verdict;
    struct str asked;
    const struct route *route; /* NULL: a name without a route */
    enum plan_order order;
    struct str alias;                  /* when the name was one */
    const struct route_policy *policy; /* never NULL */
    /* By part; in each part first those that are in, then the limited, then those that are out. */
    struct plan_step *steps;
    unsigned step_count;
    unsigned in_count;       /* of the primary part and its general fallbacks */
    struct str bad_fallback; /* the first of the request's fallbacks that leads nowhere */
    unsigned candidates[PLAN_CANDIDATES_MAX];
    unsigned candidate_count;
    bool is_stream;
    int64_t now_ns;
};

/*
 * Which targets to try, and in which order. `seed` is all its randomness. A target whose breaker
 * is open is out, also when all are: then in_count is 0 and nothing is to be tried. 0, or
 * -ERR_NOMEM (the verdict then is of no use).
 */
int plan_make(const struct plan_world *world, const struct route_facts *facts,
              const struct plan_view *view, int64_t now_ns, uint64_t seed, struct arena *arena,
              struct plan *plan);

/* Why the step is where it is: one line for people, without a newline. */
void plan_reason(const struct plan *plan, const struct plan_step *step, struct buf *out);
/* The whole plan, for people. */
void plan_explain(const struct plan *plan, const struct plan_world *world, struct buf *out);
/* The same as one JSON object. */
void plan_explain_json(const struct plan *plan, const struct plan_world *world, struct buf *out);

/* --- routes, when the config is loaded --- */

enum { ROUTE_TURNS_MAX = 4096 };

/* Makes the table of turns of a round-robin route: smooth weighted round-robin, so that a b a c
 * rather than a a b c. Weights whose table would be too long are rounded. 0 or -ERR_NOMEM. */
int route_prepare(struct route *route, struct arena *arena);

/* What is wrong with the routes of that world: names that lead nowhere, circles, too deep or too
 * many. One line a problem is appended; returns how many. */
unsigned route_check(const struct plan_world *world, struct buf *problems);

#endif
