/*
 * From the name a client asks for to the targets to try, in order. Pure: same inputs, same plan.
 * Any thread; nothing yields; no I/O, no clock.
 * The plan points into the names it was given; nothing is allocated.
 * The verdict says why there is no target; the caller shapes the error.
 * Names: "provider/model", an alias, or a bare model that exactly one provider offers.
 */
#ifndef WEIR_ROUTE_PLAN_H
#define WEIR_ROUTE_PLAN_H

#include "base/str.h"

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
};

enum plan_verdict {
    PLAN_OK,
    PLAN_NO_SUCH_MODEL,
    PLAN_AMBIGUOUS, /* several providers offer it: candidates[] names them */
    PLAN_BAD_ALIAS, /* an alias leads nowhere: refused when a snapshot is built */
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

void plan_name(const struct plan_world *world, struct str asked, struct plan_resolution *plan);

#endif
