/* The table under several threads: nothing is lost, probes stay alone, entries leave in use by
 * none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "route/health.h"

enum { THREADS = 4, ROUNDS = 20000, MODELS = 12, KEYS = 3, HELD = 8 };

static const char *const models[MODELS] = {"a", "b", "c", "d", "e", "f",
                                           "g", "h", "i", "j", "k", "l"};
static atomic_uint_fast64_t begun, ended, turns;
static atomic_uint probes[MODELS][KEYS];
static atomic_bool had_two_probes;
/* One clock for all, moved by whoever comes by. */
static atomic_int_fast64_t clock_ns = 1000 * NS_PER_SEC;

struct held {
    struct health_lease lease;
    unsigned model, key;
    bool is_probe;
};

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    return z ^ z >> 31;
}

static void end_one(struct held *held, uint64_t random, int64_t now)
{
    static const enum outcome_class outcomes[] = {
        OUTCOME_OK,        OUTCOME_OK,        OUTCOME_TRANSIENT,  OUTCOME_TRANSIENT,
        OUTCOME_CANCELLED, OUTCOME_THROTTLED, OUTCOME_CREDENTIAL, OUTCOME_NO_MODEL,
    };
    struct health_result result = {
        .outcome = outcomes[random % ARRAY_LEN(outcomes)],
        .duration_ns = (int64_t)(random % (uint64_t)NS_PER_SEC),
        .retry_after_ns = random % 5 == 0 ? NS_PER_SEC : -1,
    };
    if (held->is_probe)
        atomic_fetch_sub(&probes[held->model][held->key], 1);
    health_end(&held->lease, &route_policy_default, &result, now, random);
    atomic_fetch_add(&ended, 1);
}

static bool begin_one(struct held *held, uint64_t random, int64_t now)
{
    held->model = (unsigned)(random % MODELS);
    struct health_ask ask = {
        .provider = random & 1024 ? STR("p") : STR("q"),
        .model = str_c(models[held->model]),
        .key_count = KEYS,
    };
    struct health_view view;
    health_look(&ask, now, &view);
    enum health_verdict verdict = health_begin(&ask, now, random, &held->lease, NULL);
    if (!health_may_go(verdict))
        return false;
    held->key = held->lease.key;
    /* Those of p only: the two providers share the names of models. */
    held->is_probe = verdict == HEALTH_PROBE && (random & 1024) != 0;
    if (held->is_probe && atomic_fetch_add(&probes[held->model][held->key], 1) > 0)
        atomic_store(&had_two_probes, true);
    atomic_fetch_add(&begun, 1);
    return true;
}

static void look_around(struct arena *arena, uint64_t random, int64_t now)
{
    char name[16];
    struct health_row row;
    struct arena_mark mark = arena_mark(arena);
    for (unsigned i = 0; i < health_rows(); i++)
        (void)health_row(i, now, arena, &row);
    arena_rewind(arena, mark);
    snprintf(name, sizeof(name), "r%u", (unsigned)(random % 20));
    struct health_route *route = health_route(str_c(name));
    health_turn(route);
    atomic_fetch_add(&turns, 1);
    health_count_request(route, now);
    if (health_retry_begin(route, 20, now))
        health_retry_end(route, random % 2 == 0, now);
    if (random % 64 == 0)
        health_forget(STR("q"));
}

struct worker {
    pthread_t thread;
    uint64_t seed;
    struct arena *arena;
};

static void *work(void *arg)
{
    struct worker *worker = arg;
    uint64_t state = worker->seed;
    struct held held[HELD] = {0};
    bool is_held[HELD] = {false};
    struct http_header header = {STR("x-ratelimit-remaining-requests"), STR("100")};
    struct http_headers headers = {&header, 1, 1};
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t random = next_random(&state);
        unsigned i = (unsigned)(random >> 32) % HELD;
        int64_t now = atomic_fetch_add(&clock_ns, NS_PER_MS);
        if (is_held[i] && random % 3 == 0)
            health_learn(&held[i].lease, &headers, now, 0);
        if (is_held[i])
            end_one(&held[i], random, now);
        is_held[i] = !is_held[i] && begin_one(&held[i], random, now);
        if (random % 16 == 0)
            look_around(worker->arena, random, now);
    }
    for (unsigned i = 0; i < HELD; i++) {
        if (is_held[i])
            end_one(&held[i], 0, atomic_load(&clock_ns));
    }
    return NULL;
}

static void play(unsigned entries)
{
    struct worker workers[THREADS];
    struct arena *arena = arena_new(4096);
    uint64_t attempts = 0, outcomes = 0, seen_turns = 0;
    char name[16];
    atomic_store(&begun, 0);
    atomic_store(&ended, 0);
    atomic_store(&turns, 0);
    atomic_store(&had_two_probes, false);
    health_init(entries);
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.seed = i + 1, .arena = arena_new(16384)};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
        arena_free(workers[i].arena);
    }
    assert_int_equal(atomic_load(&begun), atomic_load(&ended));
    assert_true(atomic_load(&begun) > 1000);
    for (unsigned i = 0; i < health_rows(); i++) {
        struct health_row row;
        if (!health_row(i, atomic_load(&clock_ns), arena, &row))
            continue;
        assert_int_equal(row.in_flight, 0);
        attempts += row.attempts;
        for (int o = 0; o < OUTCOME_CLASS_COUNT; o++)
            outcomes += row.outcomes[o];
    }
    assert_int_equal(attempts, outcomes);
    if (entries == 0) {
        /* Room for all: each attempt is there, and no breaker had two probes. */
        assert_int_equal(attempts, atomic_load(&begun));
        assert_false(atomic_load(&had_two_probes));
    }
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof(name), "r%d", i);
        seen_turns += health_turn(health_route(str_c(name)));
    }
    assert_int_equal(seen_turns, atomic_load(&turns));
    health_fini();
    arena_free(arena);
}

static void with_room_for_all_nothing_is_lost(void **state)
{
    (void)state;
    play(0);
}

static void with_little_room_entries_come_and_go(void **state)
{
    (void)state;
    play(16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(with_room_for_all_nothing_is_lost),
        cmocka_unit_test(with_little_room_entries_come_and_go),
    };
    return cmocka_run_group_tests_name("route/health-threads", tests, NULL, NULL);
}
