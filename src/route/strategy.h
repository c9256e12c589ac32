/*
 * In which order a route's targets are tried: one function a strategy.
 * Any thread; nothing yields; no clock, no I/O: pure. Randomness comes from the state given in.
 * Works on the units it is given, in place.
 * Cannot fail.
 * A unit is a target, or a nested route seen as one.
 */
#ifndef WEIR_ROUTE_STRATEGY_H
#define WEIR_ROUTE_STRATEGY_H

#include "route/plan.h"

struct strategy_unit {
    const struct route_target *target;
    uint16_t index;             /* in the route */
    uint16_t first_step, count; /* its steps in the planner's list */
    bool is_out;                /* none of its steps is to be tried ... */
    bool is_late;               /* ... or only behind the others, since it is at its limit */
    uint32_t in_flight;
    double speed_ms; /* p95 of the first token for streams, of the whole otherwise; -1 */
    double price;    /* USD; -1 = unpriced */
    enum plan_why why;
    double value, other; /* see enum plan_why */
    double rank;         /* smaller is earlier */
    unsigned band;       /* smaller is earlier whatever the rank */
};

struct strategy_input {
    const struct route *route;
    uint64_t turn;
    struct str key; /* what hash and sticky go by; empty = nothing */
    uint64_t *random;
};

/* Ranks the units by the route's strategy, sorts them and says why. Units that are out come last,
 * as written. */
void strategy_order(const struct strategy_input *input, struct strategy_unit *units, unsigned n);

/* The same by what a suffix asks for. */
void strategy_order_by(enum plan_order order, struct strategy_unit *units, unsigned n);

/* A number of the sequence whose state is *state (splitmix64). */
uint64_t strategy_random(uint64_t *state);

#endif
