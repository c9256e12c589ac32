/*
 * What the strategies come to over many requests. Nothing sleeps; every run prints its seed, and
 * WEIR_SEED=n repeats one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <time.h>

#include "base/mem.h"
#include "route/plan.h"
#include "route/strategy.h"

enum { TARGETS_MAX = 8 };

static uint64_t seed, chance;

static int choose_seed(void **state)
{
    (void)state;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    seed = (uint64_t)now.tv_nsec * 1000003U + (uint64_t)now.tv_sec;
    const char *given = getenv("WEIR_SEED");
    if (given != NULL)
        assert_true(str_to_u64(str_c(given), &seed));
    chance = seed;
    print_message("seed %llu\n", (unsigned long long)seed);
    return 0;
}

static double even(void)
{
    return (double)(strategy_random(&chance) >> 11) * 0x1p-53;
}

/* One route over targets of one provider, and how they are doing. */
struct sim {
    struct plan_provider provider;
    struct route_target targets[TARGETS_MAX];
    struct route route;
    struct plan_health health[TARGETS_MAX];
    struct route_facts facts;
    struct arena *arena;
    unsigned order[TARGETS_MAX]; /* of the last plan, those that are in */
    unsigned count;
};

static const char *const names[TARGETS_MAX] = {"p/0", "p/1", "p/2", "p/3",
                                               "p/4", "p/5", "p/6", "p/7"};

static void sim_init(struct sim *sim, enum route_strategy strategy, unsigned n,
                     const uint32_t *weights)
{
    *sim = (struct sim){.provider = {.name = STR("p")}, .arena = arena_new(65536)};
    sim->route = (struct route){.name = STR("r"),
                                .strategy = strategy,
                                .targets = sim->targets,
                                .target_count = n,
                                .load_percent = 125};
    for (unsigned i = 0; i < n; i++) {
        sim->targets[i] = (struct route_target){.target = str_c(names[i]),
                                                .weight = weights == NULL ? 1 : weights[i]};
        sim->health[i] =
            (struct plan_health){.p95_ttft_ms = -1, .p95_duration_ms = -1, .price_per_request = -1};
    }
    sim->facts = (struct route_facts){.model = STR("r"), .is_stream = true};
    assert_int_equal(route_prepare(&sim->route, sim->arena), 0);
}

static void sim_fini(struct sim *sim)
{
    arena_free(sim->arena);
}

static void look(void *ctx, unsigned provider, struct str model, struct plan_health *out)
{
    (void)provider;
    struct sim *sim = ctx;
    *out = sim->health[model.ptr[0] - '0'];
}

/* Plans one request; returns the target that is first. */
static unsigned ask(struct sim *sim)
{
    struct plan_world world = {
        .providers = &sim->provider, .provider_count = 1, .routes = &sim->route, .route_count = 1};
    struct plan_view view = {look, sim};
    struct plan plan;
    struct arena_mark mark = arena_mark(sim->arena);
    assert_int_equal(
        plan_make(&world, &sim->facts, &view, 0, strategy_random(&chance), sim->arena, &plan), 0);
    assert_int_equal(plan.verdict, PLAN_OK);
    assert_int_equal(plan.step_count, sim->route.target_count);
    sim->count = plan.in_count;
    bool is_seen[TARGETS_MAX] = {false};
    for (unsigned i = 0; i < plan.step_count; i++) {
        unsigned index = (unsigned)(plan.steps[i].model.ptr[0] - '0');
        assert_false(is_seen[index]);
        is_seen[index] = true;
        sim->order[i] = index;
    }
    arena_rewind(sim->arena, mark);
    sim->facts.turn++;
    return sim->order[0];
}

/* Within five standard deviations of a binomial distribution. */
static void expect_share(unsigned count, unsigned of, double share)
{
    double expected = of * share, sigma = sqrt(of * share * (1 - share));
    if (fabs(count - expected) > 5 * sigma)
        fail_msg("%u of %u where %.0f +- %.0f were expected (seed %llu)", count, of, expected,
                 5 * sigma, (unsigned long long)seed);
}

static void test_weighted_is_in_proportion(void **state)
{
    (void)state;
    enum { N = 100000 };
    static const uint32_t weights[] = {5, 3, 1, 1, 0};
    struct sim sim;
    sim_init(&sim, ROUTE_WEIGHTED, 5, weights);
    unsigned firsts[5] = {0}, seconds[5] = {0};
    for (unsigned i = 0; i < N; i++) {
        firsts[ask(&sim)]++;
        if (sim.order[0] == 0)
            seconds[sim.order[1]]++;
        assert_int_equal(sim.order[4], 4);
    }
    for (unsigned i = 0; i < 5; i++)
        expect_share(firsts[i], N, weights[i] / 10.0);
    /* The next is drawn from those that are left. */
    expect_share(seconds[1], firsts[0], 3 / 5.0);
    expect_share(seconds[2], firsts[0], 1 / 5.0);
    /* A target that is down takes part in no lot. */
    sim.health[0].is_open = true;
    memset(firsts, 0, sizeof(firsts));
    for (unsigned i = 0; i < N; i++)
        firsts[ask(&sim)]++;
    assert_int_equal(firsts[0], 0);
    expect_share(firsts[1], N, 3 / 5.0);
    sim_fini(&sim);
}

static void test_round_robin_is_exact(void **state)
{
    (void)state;
    static const uint32_t weights[] = {5, 1, 1, 3};
    struct sim sim;
    sim_init(&sim, ROUTE_ROUND_ROBIN, 4, weights);
    unsigned counts[4] = {0};
    for (unsigned i = 0; i < 1000; i++) {
        counts[ask(&sim)]++;
        /* At no moment is anybody more than one turn from its share. */
        for (unsigned j = 0; j < 4; j++)
            assert_true(fabs(counts[j] - (i + 1) * weights[j] / 10.0) <= 1.5);
    }
    for (unsigned j = 0; j < 4; j++)
        assert_int_equal(counts[j], weights[j] * 100);
    /* With one gone its turns are shared out as the weights say. */
    sim.health[0].is_open = true;
    memset(counts, 0, sizeof(counts));
    for (unsigned i = 0; i < 1000; i++)
        counts[ask(&sim)]++;
    assert_int_equal(counts[0], 0);
    assert_int_equal(counts[1], 200);
    assert_int_equal(counts[2], 200);
    assert_int_equal(counts[3], 600);
    sim_fini(&sim);
}

static void test_two_targets_alternate(void **state)
{
    (void)state;
    struct sim sim;
    sim_init(&sim, ROUTE_ROUND_ROBIN, 2, NULL);
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(ask(&sim), i % 2);
        assert_int_equal(sim.order[1], (i + 1) % 2); /* to fail over to */
    }
    /* One at its limit for a while: the other takes all; then they go on in turn. */
    sim.health[0].is_limited = true;
    for (unsigned i = 0; i < 11; i++)
        assert_int_equal(ask(&sim), 1);
    sim.health[0].is_limited = false;
    unsigned last = ask(&sim);
    for (unsigned i = 0; i < 10; i++) {
        unsigned next = ask(&sim);
        assert_int_equal(next, 1 - last);
        last = next;
    }
    sim_fini(&sim);
}

/* The fastest gets the most, and yet not all; what is as fast gets as much. */
static void test_two_choices_spread_the_herd(void **state)
{
    (void)state;
    enum { N = 40000 };
    struct sim sim;
    sim_init(&sim, ROUTE_LEAST_LATENCY, 4, NULL);
    static const double speeds[] = {100, 200, 400, 800};
    for (unsigned i = 0; i < 4; i++)
        sim.health[i].p95_ttft_ms = speeds[i];
    unsigned counts[4] = {0};
    for (unsigned i = 0; i < N; i++)
        counts[ask(&sim)]++;
    expect_share(counts[0], N, 3 / 6.0);
    expect_share(counts[1], N, 2 / 6.0);
    expect_share(counts[2], N, 1 / 6.0);
    assert_int_equal(counts[3], 0);
    sim.health[1].p95_ttft_ms = 105;
    memset(counts, 0, sizeof(counts));
    for (unsigned i = 0; i < N; i++)
        counts[ask(&sim)]++;
    expect_share(counts[0], N, 2.5 / 6.0);
    expect_share(counts[1], N, 2.5 / 6.0);
    /* Durations count where nothing is streamed: none is known, so all are equal. */
    sim.facts.is_stream = false;
    memset(counts, 0, sizeof(counts));
    for (unsigned i = 0; i < N; i++)
        counts[ask(&sim)]++;
    for (unsigned i = 0; i < 4; i++)
        expect_share(counts[i], N, 1 / 4.0);
    sim_fini(&sim);
}

/*
 * Targets that slow down the more is under way, measured only now and then: whoever goes by the
 * last number sends everybody to one target until the next measurement.
 */
static void test_nobody_is_overrun(void **state)
{
    (void)state;
    enum { N = 5, ROUNDS = 400, BATCH = 50 };
    struct sim sim;
    sim_init(&sim, ROUTE_LEAST_LATENCY, N, NULL);
    unsigned worst = 0;
    for (unsigned i = 0; i < N; i++)
        sim.health[i].p95_ttft_ms = 100 + 50 * even();
    for (unsigned round = 0; round < ROUNDS; round++) {
        unsigned counts[N] = {0};
        for (unsigned i = 0; i < BATCH; i++)
            counts[ask(&sim)]++;
        for (unsigned i = 0; i < N; i++) {
            worst = MAX(worst, counts[i]);
            sim.health[i].p95_ttft_ms = 100 + 20 * counts[i] + 10 * even();
        }
    }
    /* The fastest of five is drawn by 2 of 5; five sigma more. */
    if (worst > BATCH * 2 / 5 + 18)
        fail_msg("%u of %u at one target (seed %llu)", worst, BATCH, (unsigned long long)seed);
    sim_fini(&sim);
}

static void test_what_is_not_measured_is_tried_by_one(void **state)
{
    (void)state;
    struct sim sim;
    sim_init(&sim, ROUTE_LEAST_LATENCY, 2, NULL);
    sim.health[0].p95_ttft_ms = 100;
    assert_int_equal(ask(&sim), 1);
    sim.health[1].in_flight = 1;
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(ask(&sim), 0);
    sim.health[1].in_flight = 0;
    sim.health[1].p95_ttft_ms = 50;
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(ask(&sim), 1);
    sim_fini(&sim);
}

static void test_least_busy_evens_out(void **state)
{
    (void)state;
    static const uint32_t weights[] = {1, 2, 5};
    struct sim sim;
    sim_init(&sim, ROUTE_LEAST_BUSY, 3, weights);
    for (unsigned i = 0; i < 80; i++)
        sim.health[ask(&sim)].in_flight++;
    for (unsigned i = 0; i < 3; i++)
        assert_true(fabs(sim.health[i].in_flight - 10.0 * weights[i]) <= weights[i]);
    /* Whatever ends, the next goes where there is most room. */
    for (unsigned i = 0; i < 2000; i++) {
        unsigned ending = (unsigned)(even() * 3);
        if (sim.health[ending].in_flight > 0)
            sim.health[ending].in_flight--;
        unsigned chosen = ask(&sim);
        for (unsigned j = 0; j < 3; j++)
            assert_true(sim.health[chosen].in_flight * weights[j] <=
                        sim.health[j].in_flight * weights[chosen]);
        sim.health[chosen].in_flight++;
    }
    /* Idle ones share by weight, so that a client that asks one by one does not always get one. */
    unsigned counts[3] = {0};
    for (unsigned i = 0; i < 3; i++)
        sim.health[i].in_flight = 0;
    for (unsigned i = 0; i < 20000; i++)
        counts[ask(&sim)]++;
    for (unsigned i = 0; i < 3; i++)
        expect_share(counts[i], 20000, weights[i] / 8.0);
    sim_fini(&sim);
}

static void set_session(struct sim *sim, char text[24], unsigned number)
{
    sim->facts.session = str_n(text, (size_t)snprintf(text, 24, "session-%u", number));
}

/* Keys are spread by weight; when a target leaves only its own keys move, when it comes back they
 * come back. */
static void expect_only_its_own_keys_to_move(enum route_strategy strategy)
{
    enum { KEYS = 20000 };
    static const uint32_t weights[] = {1, 2, 1, 4};
    struct sim sim;
    sim_init(&sim, strategy, 4, weights);
    unsigned char *homes = mem_alloc(KEYS);
    unsigned counts[4] = {0};
    char text[24];
    for (unsigned i = 0; i < KEYS; i++) {
        set_session(&sim, text, i);
        homes[i] = (unsigned char)ask(&sim);
        assert_int_equal(ask(&sim), homes[i]);
        counts[homes[i]]++;
    }
    for (unsigned i = 0; i < 4; i++)
        expect_share(counts[i], KEYS, weights[i] / 8.0);
    sim.health[1].is_open = true;
    unsigned heirs[4] = {0};
    for (unsigned i = 0; i < KEYS; i++) {
        set_session(&sim, text, i);
        unsigned home = ask(&sim);
        if (homes[i] == 1)
            heirs[home]++;
        else
            assert_int_equal(home, homes[i]);
    }
    expect_share(heirs[3], counts[1], 4 / 6.0);
    sim.health[1].is_open = false;
    for (unsigned i = 0; i < KEYS; i++) {
        set_session(&sim, text, i);
        assert_int_equal(ask(&sim), homes[i]);
    }
    /* Written in another order or with one more behind, nothing else changes. */
    struct route_target first = sim.targets[0];
    sim.targets[0] = sim.targets[3];
    sim.targets[3] = first;
    for (unsigned i = 0; i < KEYS; i++) {
        set_session(&sim, text, i);
        assert_int_equal(ask(&sim), homes[i]);
    }
    mem_free(homes);
    sim_fini(&sim);
}

static void test_only_its_own_keys_move(void **state)
{
    (void)state;
    expect_only_its_own_keys_to_move(ROUTE_STICKY);
    expect_only_its_own_keys_to_move(ROUTE_HASH);
}

static void test_without_a_key_it_is_by_lot(void **state)
{
    (void)state;
    struct sim sim;
    sim_init(&sim, ROUTE_STICKY, 2, NULL);
    unsigned counts[2] = {0};
    for (unsigned i = 0; i < 10000; i++)
        counts[ask(&sim)]++;
    expect_share(counts[0], 10000, 0.5);
    sim.facts.key_name = STR("a key stands in for the session");
    unsigned home = ask(&sim);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(ask(&sim), home);
    sim_fini(&sim);
}

/* Few keys, so that they would all go to few targets: never more than its bound at any. */
static void test_loads_are_bounded_at_every_step(void **state)
{
    (void)state;
    enum { N = 6 };
    static const uint32_t weights[N] = {1, 1, 2, 2, 3, 3};
    struct sim sim;
    sim_init(&sim, ROUTE_HASH, N, weights);
    unsigned total = 0, planned = 0;
    char text[24];
    for (unsigned step = 0; step < 20000; step++) {
        unsigned ending = (unsigned)(even() * N);
        if (even() < 0.45 && sim.health[ending].in_flight > 0) {
            sim.health[ending].in_flight--;
            total--;
        }
        if (total > 500)
            continue;
        set_session(&sim, text, (unsigned)(even() * even() * 8));
        unsigned chosen = ask(&sim);
        sim.health[chosen].in_flight++;
        total++;
        double bound = ceil(1.25 * total * weights[chosen] / 12.0);
        if (sim.health[chosen].in_flight > bound)
            fail_msg("%u under way at %u, at most %.0f (seed %llu)", sim.health[chosen].in_flight,
                     chosen, bound, (unsigned long long)seed);
        planned++;
    }
    assert_true(planned > 1000);
    sim_fini(&sim);
}

static void test_floor_and_nitro_are_sorted(void **state)
{
    (void)state;
    struct sim sim;
    sim_init(&sim, ROUTE_WEIGHTED, TARGETS_MAX, NULL);
    for (unsigned round = 0; round < 500; round++) {
        for (unsigned i = 0; i < TARGETS_MAX; i++) {
            sim.health[i].price_per_request = even() < 0.2 ? -1 : floor(even() * 5);
            sim.health[i].p95_ttft_ms = even() < 0.2 ? -1 : floor(even() * 5);
        }
        bool is_floor = round % 2 == 0;
        sim.facts.model = is_floor ? STR("r:floor") : STR("r:nitro");
        ask(&sim);
        for (unsigned i = 1; i < TARGETS_MAX; i++) {
            const struct plan_health *a = &sim.health[sim.order[i - 1]],
                                     *b = &sim.health[sim.order[i]];
            double x = is_floor ? a->price_per_request : a->p95_ttft_ms;
            double y = is_floor ? b->price_per_request : b->p95_ttft_ms;
            if (x < 0 ? y >= 0 : y >= 0 && y < x)
                fail_msg("%g before %g (seed %llu)", x, y, (unsigned long long)seed);
            if (x == y) /* equals as written */
                assert_true(sim.order[i - 1] < sim.order[i]);
        }
    }
    sim_fini(&sim);
}

/* The same inputs give the same plan, whatever the strategy. */
static void test_plans_are_pure(void **state)
{
    (void)state;
    for (unsigned strategy = 0; strategy < ROUTE_STRATEGY_COUNT; strategy++) {
        struct sim sim;
        sim_init(&sim, strategy, TARGETS_MAX, NULL);
        for (unsigned round = 0; round < 100; round++) {
            for (unsigned i = 0; i < TARGETS_MAX; i++)
                sim.health[i] = (struct plan_health){.is_open = even() < 0.2,
                                                     .is_limited = even() < 0.2,
                                                     .in_flight = (uint32_t)(even() * 10),
                                                     .p95_ttft_ms = even() * 1000 - 200,
                                                     .price_per_request = even() - 0.2};
            uint64_t before = chance, turn = sim.facts.turn;
            ask(&sim);
            unsigned order[TARGETS_MAX];
            memcpy(order, sim.order, sizeof(order));
            chance = before;
            sim.facts.turn = turn;
            ask(&sim);
            assert_memory_equal(order, sim.order, sizeof(order));
            /* In, then limited, then out. */
            unsigned last = 0;
            for (unsigned i = 0; i < TARGETS_MAX; i++) {
                const struct plan_health *health = &sim.health[order[i]];
                unsigned group = health->is_open ? 2 : health->is_limited;
                assert_true(group >= last);
                last = group;
            }
        }
        sim_fini(&sim);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weighted_is_in_proportion),
        cmocka_unit_test(test_round_robin_is_exact),
        cmocka_unit_test(test_two_targets_alternate),
        cmocka_unit_test(test_two_choices_spread_the_herd),
        cmocka_unit_test(test_nobody_is_overrun),
        cmocka_unit_test(test_what_is_not_measured_is_tried_by_one),
        cmocka_unit_test(test_least_busy_evens_out),
        cmocka_unit_test(test_only_its_own_keys_move),
        cmocka_unit_test(test_without_a_key_it_is_by_lot),
        cmocka_unit_test(test_loads_are_bounded_at_every_step),
        cmocka_unit_test(test_floor_and_nitro_are_sorted),
        cmocka_unit_test(test_plans_are_pure),
    };
    return cmocka_run_group_tests(tests, choose_seed, NULL);
}
