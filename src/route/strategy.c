#include "route/strategy.h"

#include <math.h>

#include "base/err.h"

uint64_t strategy_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static double weight_of(const struct strategy_unit *unit)
{
    return MAX(unit->target->weight, 1U);
}

/*
 * An exponentially distributed number from 64 even bits. The smallest of several, each divided by
 * its weight, is each one's with a probability in proportion to its weight; sorting by it is
 * drawing without replacement (Efraimidis and Spirakis), and, with bits that come from a hash,
 * weighted rendezvous hashing.
 */
static double exponential(uint64_t bits)
{
    return -log(((double)(bits >> 11) + 0.5) * 0x1p-53);
}

static double draw(const struct strategy_input *input, const struct strategy_unit *unit)
{
    return exponential(strategy_random(input->random)) / weight_of(unit);
}

static bool is_before(const struct strategy_unit *a, const struct strategy_unit *b)
{
    if (a->band != b->band)
        return a->band < b->band;
    return a->rank < b->rank;
}

/* Stable; routes are short. */
static void sort_units(struct strategy_unit *units, unsigned n)
{
    for (unsigned i = 1; i < n; i++) {
        struct strategy_unit unit = units[i];
        unsigned at = i;
        for (; at > 0 && is_before(&unit, &units[at - 1]); at--)
            units[at] = units[at - 1];
        units[at] = unit;
    }
}

static void set_why(struct strategy_unit *unit, enum plan_why why, double value, double other)
{
    unit->why = why;
    unit->value = value;
    unit->other = other;
}

/* --- one function a strategy: ranks units that are all to be had, and says why --- */

typedef void rank_fn(const struct strategy_input *input, struct strategy_unit *units, unsigned n);

static void rank_as_written(const struct strategy_input *input, struct strategy_unit *units,
                            unsigned n)
{
    bool is_conditional = input->route->strategy == ROUTE_CONDITIONAL;
    for (unsigned i = 0; i < n; i++) {
        units[i].rank = units[i].index;
        set_why(&units[i], is_conditional ? PLAN_WHY_HOLDS : PLAN_WHY_WRITTEN,
                units[i].target->when != NULL, 0);
    }
}

static unsigned place_of(const struct strategy_unit *units, unsigned n, unsigned index)
{
    unsigned i = 0;
    while (i < n && units[i].index != index)
        i++;
    return i;
}

/*
 * Whose turn it is among these units; its place. The turns of targets that are not among them are
 * dealt out to those that are, each by its share: going on to the next in the ring would give
 * everything to the one behind.
 */
static unsigned find_turn(const struct strategy_input *input, const struct strategy_unit *units,
                          unsigned n)
{
    const struct route *route = input->route;
    CHECK(n > 0); /* no group is empty */
    if (route->turn_count == 0)
        return (unsigned)(input->turn % n);
    unsigned slot = (unsigned)(input->turn % route->turn_count);
    unsigned place = place_of(units, n, route->turns[slot]);
    if (place < n)
        return place;
    uint16_t places[PLAN_STEPS_MAX]; /* by index in the route; n = not among the units */
    for (unsigned i = 0; i < route->target_count; i++)
        places[i] = (uint16_t)n;
    for (unsigned i = 0; i < n; i++)
        places[units[i].index] = (uint16_t)i;
    unsigned alive = 0, dead_before = 0;
    for (unsigned i = 0; i < route->turn_count; i++) {
        bool is_alive = places[route->turns[i]] < n;
        alive += is_alive;
        dead_before += !is_alive && i < slot;
    }
    if (alive == 0)
        return (unsigned)(input->turn % n);
    unsigned dead = route->turn_count - alive;
    uint64_t nth = (input->turn / route->turn_count * dead + dead_before) % alive;
    unsigned at = 0;
    while (places[route->turns[at]] == n || nth-- > 0)
        at++;
    return places[route->turns[at]];
}

static void rank_in_turn(const struct strategy_input *input, struct strategy_unit *units,
                         unsigned n)
{
    unsigned first = find_turn(input, units, n);
    for (unsigned i = 0; i < n; i++) {
        units[i].rank = (i + n - first) % n;
        set_why(&units[i], i == first ? PLAN_WHY_TURN : PLAN_WHY_NEXT, (double)input->turn, 0);
    }
}

static void rank_by_lot(const struct strategy_input *input, struct strategy_unit *units, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        units[i].rank = draw(input, &units[i]);
        set_why(&units[i], PLAN_WHY_DRAWN, weight_of(&units[i]), 0);
    }
}

static void rank_by_speed(const struct strategy_input *input, struct strategy_unit *units,
                          unsigned n)
{
    (void)input;
    for (unsigned i = 0; i < n; i++) {
        units[i].rank = units[i].speed_ms >= 0 ? units[i].speed_ms : INFINITY;
        set_why(&units[i], PLAN_WHY_SPEED, units[i].speed_ms, 0);
    }
}

/* Measured speeds nearer than that are the same: the histograms are no finer. */
#define SPEED_TOLERANCE 0.1

/*
 * Is `b` to be preferred to `a`, which was drawn first? What is not measured goes first while
 * nobody tries it, so that it becomes known and yet not everybody goes there.
 */
static bool is_better(const struct strategy_unit *a, const struct strategy_unit *b)
{
    bool a_is_known = a->speed_ms >= 0, b_is_known = b->speed_ms >= 0;
    if (a_is_known && b_is_known)
        return b->speed_ms < a->speed_ms * (1 - SPEED_TOLERANCE);
    if (!a_is_known && !b_is_known)
        return b->in_flight / weight_of(b) < a->in_flight / weight_of(a);
    return b_is_known ? a->in_flight > 0 : b->in_flight == 0;
}

/* The better of two drawn, then the others by their speed. */
static void rank_by_two_choices(const struct strategy_input *input, struct strategy_unit *units,
                                unsigned n)
{
    unsigned first = 0, second = n;
    for (unsigned i = 0; i < n; i++)
        units[i].value = draw(input, &units[i]);
    for (unsigned i = 1; i < n; i++) {
        if (units[i].value < units[first].value)
            first = i;
    }
    for (unsigned i = 0; i < n; i++) {
        if (i != first && (second == n || units[i].value < units[second].value))
            second = i;
    }
    rank_by_speed(input, units, n);
    if (second == n)
        return;
    bool is_second = is_better(&units[first], &units[second]);
    struct strategy_unit *winner = &units[is_second ? second : first];
    const struct strategy_unit *loser = &units[is_second ? first : second];
    winner->rank = -1;
    bool is_explored = winner->speed_ms < 0 && winner->in_flight == 0;
    set_why(winner, is_explored ? PLAN_WHY_EXPLORED : PLAN_WHY_FASTER, winner->speed_ms,
            loser->speed_ms);
}

/* Among equals by lot, so that idle targets share what comes by their weight. */
static void rank_by_load(const struct strategy_input *input, struct strategy_unit *units,
                         unsigned n)
{
    rank_by_lot(input, units, n);
    sort_units(units, n);
    for (unsigned i = 0; i < n; i++) {
        units[i].rank = units[i].in_flight / weight_of(&units[i]);
        set_why(&units[i], PLAN_WHY_BUSY, units[i].in_flight, weight_of(&units[i]));
    }
}

static void rank_by_price(const struct strategy_input *input, struct strategy_unit *units,
                          unsigned n)
{
    (void)input;
    for (unsigned i = 0; i < n; i++) {
        units[i].rank = units[i].price >= 0 ? units[i].price : INFINITY;
        set_why(&units[i], PLAN_WHY_PRICE, units[i].price, 0);
    }
}

/* By weighted rendezvous hashing: when a target comes or goes, only the keys that it gains or loses
 * move. */
static void rank_by_key(const struct strategy_input *input, struct strategy_unit *units, unsigned n)
{
    if (input->key.len == 0) {
        rank_by_lot(input, units, n);
        for (unsigned i = 0; i < n; i++)
            units[i].why = PLAN_WHY_NO_KEY;
        return;
    }
    uint64_t key = str_hash(input->key);
    for (unsigned i = 0; i < n; i++) {
        uint64_t state = key ^ str_hash(units[i].target->target);
        units[i].rank = exponential(strategy_random(&state)) / weight_of(&units[i]);
        set_why(&units[i], PLAN_WHY_HASHED_NEXT, 0, 0);
    }
    unsigned own = 0;
    for (unsigned i = 1; i < n; i++) {
        if (units[i].rank < units[own].rank)
            own = i;
    }
    units[own].why = PLAN_WHY_HASHED;
}

/* ... where no target takes more than load_percent of its share of what is under way, this request
 * included. The bounds add up to more than that, so there is room somewhere. */
static void rank_by_key_bounded(const struct strategy_input *input, struct strategy_unit *units,
                                unsigned n)
{
    rank_by_key(input, units, n);
    double under_way = 1, weights = 0;
    for (unsigned i = 0; i < n; i++) {
        under_way += units[i].in_flight;
        weights += weight_of(&units[i]);
    }
    double load = MAX(input->route->load_percent, 100U) / 100.0;
    for (unsigned i = 0; i < n; i++) {
        double most = ceil(load * under_way * weight_of(&units[i]) / weights);
        if (units[i].in_flight + 1.0 <= most)
            continue;
        units[i].band = 1;
        set_why(&units[i], PLAN_WHY_FULL, units[i].in_flight, most);
    }
}

static rank_fn *const rank_of[ROUTE_STRATEGY_COUNT] = {
    [ROUTE_PRIORITY] = rank_as_written,    [ROUTE_ROUND_ROBIN] = rank_in_turn,
    [ROUTE_WEIGHTED] = rank_by_lot,        [ROUTE_LEAST_LATENCY] = rank_by_two_choices,
    [ROUTE_LEAST_BUSY] = rank_by_load,     [ROUTE_COST] = rank_by_price,
    [ROUTE_CONDITIONAL] = rank_as_written, [ROUTE_HASH] = rank_by_key_bounded,
    [ROUTE_STICKY] = rank_by_key,
};

/* --- all units --- */

enum group { GROUP_READY, GROUP_SPARE, GROUP_LATE, GROUP_OUT };

static enum group group_of(const struct strategy_unit *unit)
{
    if (unit->is_out)
        return GROUP_OUT;
    if (unit->is_late)
        return GROUP_LATE;
    return unit->target->weight == 0 ? GROUP_SPARE : GROUP_READY;
}

/* A strategy is asked about each of the groups for itself, so that what cannot be had takes part in
 * no turn, no lot and no sum. */
static void order_groups(rank_fn *rank, const struct strategy_input *input,
                         struct strategy_unit *units, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        units[i].band = group_of(&units[i]);
        units[i].rank = units[i].index;
        set_why(&units[i], PLAN_WHY_WRITTEN, 0, 0);
    }
    sort_units(units, n);
    for (unsigned first = 0, end; first < n; first = end) {
        enum group group = group_of(&units[first]);
        for (end = first; end < n && group_of(&units[end]) == group; end++)
            units[end].band = 0;
        if (group == GROUP_READY || group == GROUP_LATE) {
            rank(input, units + first, end - first);
            sort_units(units + first, end - first);
        } else if (group == GROUP_SPARE) {
            for (unsigned i = first; i < end; i++)
                set_why(&units[i], PLAN_WHY_SPARE, 0, 0);
        }
    }
}

void strategy_order(const struct strategy_input *input, struct strategy_unit *units, unsigned n)
{
    order_groups(rank_of[input->route->strategy], input, units, n);
}

void strategy_order_by(enum plan_order order, struct strategy_unit *units, unsigned n)
{
    order_groups(order == PLAN_FLOOR ? rank_by_price : rank_by_speed, NULL, units, n);
}

/* --- turns --- */

static uint32_t gcd(uint32_t a, uint32_t b)
{
    while (b != 0) {
        uint32_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* The weights as the smallest whole numbers in proportion to them, rounded where their sum would be
 * too much; returns that sum. */
static uint32_t reduce_weights(const struct route *route, uint32_t *weights)
{
    uint32_t divisor = 0;
    uint64_t sum = 0;
    for (unsigned i = 0; i < route->target_count; i++)
        divisor = gcd(route->targets[i].weight, divisor);
    if (divisor == 0)
        return 0;
    for (unsigned i = 0; i < route->target_count; i++)
        sum += weights[i] = route->targets[i].weight / divisor;
    if (sum <= ROUTE_TURNS_MAX)
        return (uint32_t)sum;
    /* Each keeps one turn at least, so the others share what is left. */
    uint64_t room = ROUTE_TURNS_MAX - route->target_count, all = sum;
    sum = 0;
    for (unsigned i = 0; i < route->target_count; i++) {
        if (weights[i] > 0)
            weights[i] = (uint32_t)MAX(weights[i] * room / all, UINT64_C(1));
        sum += weights[i];
    }
    return (uint32_t)sum;
}

int route_prepare(struct route *route, struct arena *arena)
{
    route->turns = NULL;
    route->turn_count = 0;
    if (route->strategy != ROUTE_ROUND_ROBIN || route->target_count > PLAN_STEPS_MAX)
        return 0;
    uint32_t weights[PLAN_STEPS_MAX];
    int64_t credit[PLAN_STEPS_MAX] = {0};
    uint32_t sum = reduce_weights(route, weights);
    route->turns = arena_calloc(arena, sum * sizeof(*route->turns));
    if (route->turns == NULL)
        return -ERR_NOMEM;
    for (; route->turn_count < sum; route->turn_count++) {
        unsigned best = 0;
        for (unsigned i = 0; i < route->target_count; i++) {
            credit[i] += weights[i];
            if (credit[i] > credit[best])
                best = i;
        }
        credit[best] -= sum;
        route->turns[route->turn_count] = (uint16_t)best;
    }
    return 0;
}
