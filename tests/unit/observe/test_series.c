#include "observe/series.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/mem.h"

enum { PLAIN, SPARING, KINDS };
enum { THREADS = 4, LIMIT = 80 };

static const struct series_kind kinds[KINDS] = {
    [PLAIN] = {.label_count = 1, .word_count = 2, .spare_label = -1},
    [SPARING] = {.label_count = 2, .word_count = 1, .spare_label = 1},
};

static int set_up(void **state)
{
    (void)state;
    series_init(kinds, KINDS, THREADS, LIMIT);
    series_thread_init(0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    mem_fail_at(0);
    series_thread_fini();
    series_fini();
    return 0;
}

/* What the series of a kind add up to, and the value of the one that is looked for. */
struct seen {
    unsigned series;
    uint64_t total;
    struct str first, second; /* labels looked for */
    uint64_t found;
};

static void see(void *ctx, const struct str labels[], const uint64_t sums[])
{
    struct seen *seen = ctx;
    seen->series++;
    seen->total += sums[0];
    if (str_eq(labels[0], seen->first) &&
        (seen->second.ptr == NULL || str_eq(labels[1], seen->second)))
        seen->found += sums[0];
}

static uint64_t value_of(unsigned kind, const char *first, const char *second)
{
    struct seen seen = {.first = str_c(first), .second = str_c(second)};
    series_visit(kind, see, &seen);
    return seen.found;
}

static uint64_t total_of(unsigned kind)
{
    struct seen seen = {0};
    series_visit(kind, see, &seen);
    return seen.total;
}

static void count_one(unsigned kind, const char *first, const char *second)
{
    struct str labels[] = {str_c(first), str_c(second)};
    metric_add(series_find(kind, labels, true), 1);
}

static void equal_labels_are_one_series(void **state)
{
    (void)state;
    char copy[] = "chat";
    count_one(PLAIN, "chat", NULL);
    count_one(PLAIN, copy, NULL);
    count_one(PLAIN, "chats", NULL);
    count_one(PLAIN, "", NULL);
    memset(copy, 'x', 4); /* the series keeps its own copy */
    assert_int_equal(value_of(PLAIN, "chat", NULL), 2);
    assert_int_equal(value_of(PLAIN, "chats", NULL), 1);
    assert_int_equal(value_of(PLAIN, "", NULL), 1);
    /* Labels that read the same when they stand side by side are still two series. */
    count_one(SPARING, "ab", "c");
    count_one(SPARING, "a", "bc");
    assert_int_equal(value_of(SPARING, "ab", "c"), 1);
}

static void a_series_that_must_not_be_made_is_not(void **state)
{
    (void)state;
    struct str labels[] = {STR("p"), STR("m")};
    unsigned before = series_count();
    assert_null(series_find(SPARING, labels, false));
    assert_int_equal(series_count(), before);
    metric_word *words = series_find(SPARING, labels, true);
    assert_ptr_equal(series_find(SPARING, labels, false), words);
}

static void odd_labels_count_as_other(void **state)
{
    (void)state;
    char longest[129];
    memset(longest, 'x', sizeof(longest));
    longest[128] = '\0';
    count_one(PLAIN, longest, NULL);
    assert_int_equal(value_of(PLAIN, longest, NULL), 1);
    char too_long[130];
    memset(too_long, 'x', sizeof(too_long));
    too_long[129] = '\0';
    count_one(PLAIN, too_long, NULL);
    count_one(PLAIN, "line\nbreak", NULL);
    count_one(PLAIN, "caf\xc3\xa9", NULL);
    count_one(PLAIN, "\x7f", NULL);
    assert_int_equal(value_of(PLAIN, "other", NULL), 4);
}

static void there_are_never_more_than_the_limit(void **state)
{
    (void)state;
    enum { MANY = 10000 };
    for (unsigned i = 0; i < MANY; i++) {
        char name[32];
        snprintf(name, sizeof(name), "model-%u", i);
        count_one(SPARING, i % 2 == 0 ? "p" : "q", name);
    }
    assert_int_equal(series_limit(), LIMIT);
    assert_true(series_count() <= LIMIT);
    assert_true(series_refused() > 0);
    assert_int_equal(total_of(SPARING), MANY);
    assert_int_equal(value_of(SPARING, "p", "model-0"), 1);
    /* What is too much is told apart as far as the other labels go. */
    uint64_t p = value_of(SPARING, "p", "other"), q = value_of(SPARING, "q", "other");
    assert_true(p > MANY / 2 - LIMIT && q > MANY / 2 - LIMIT);
    /* And when even these are too many, everything is "other". */
    for (unsigned i = 0; i < MANY; i++) {
        char name[32];
        snprintf(name, sizeof(name), "provider-%u", i);
        count_one(SPARING, name, "m");
    }
    assert_true(series_count() <= LIMIT);
    assert_int_equal(total_of(SPARING), 2 * MANY);
    assert_true(value_of(SPARING, "other", "other") > MANY - LIMIT);
}

static void nothing_is_lost_without_memory(void **state)
{
    (void)state;
    for (unsigned n = 1; n < 20; n++) {
        char name[32];
        snprintf(name, sizeof(name), "model-%u", n);
        mem_fail_at(n % 4 + 1);
        count_one(SPARING, "p", name);
        mem_fail_at(0);
        assert_int_equal(total_of(SPARING), n);
    }
}

enum { ROUNDS = 20000, NAMES = 25 };

static void *count_many(void *arg)
{
    series_thread_init((unsigned)(uintptr_t)arg);
    for (unsigned i = 0; i < ROUNDS; i++) {
        char name[32];
        snprintf(name, sizeof(name), "name-%u", i % NAMES);
        count_one(PLAIN, name, NULL);
    }
    series_thread_fini();
    return NULL;
}

static void threads_add_up_while_they_are_read(void **state)
{
    (void)state;
    pthread_t threads[THREADS - 1];
    for (uintptr_t t = 1; t < THREADS; t++)
        assert_int_equal(pthread_create(&threads[t - 1], NULL, count_many, (void *)t), 0);
    uint64_t before = 0;
    for (unsigned i = 0; i < 200; i++) {
        uint64_t now = total_of(PLAIN);
        assert_true(now >= before);
        before = now;
    }
    for (unsigned t = 1; t < THREADS; t++)
        pthread_join(threads[t - 1], NULL);
    assert_int_equal(total_of(PLAIN), (THREADS - 1) * ROUNDS);
    assert_int_equal(value_of(PLAIN, "name-7", NULL), total_of(PLAIN) / NAMES);
    /* A new thread of the same number goes on with the words of the old one. */
    assert_int_equal(pthread_create(&threads[0], NULL, count_many, (void *)1), 0);
    pthread_join(threads[0], NULL);
    assert_int_equal(total_of(PLAIN), THREADS * ROUNDS);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(equal_labels_are_one_series),    CASE(a_series_that_must_not_be_made_is_not),
        CASE(odd_labels_count_as_other),      CASE(there_are_never_more_than_the_limit),
        CASE(nothing_is_lost_without_memory), CASE(threads_add_up_while_they_are_read),
    };
    return cmocka_run_group_tests_name("observe/series", tests, NULL, NULL);
}
