#include "observe/ring.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"

static void put(struct ring *ring, const char *text)
{
    size_t len = strlen(text);
    char *place = ring_reserve(ring, len);
    assert_non_null(place);
    memcpy(place, text, len);
    ring_commit(ring);
}

static void expect(struct ring *ring, const char *text)
{
    size_t size = 0;
    const void *record = ring_peek(ring, &size);
    assert_non_null(record);
    assert_int_equal(size, strlen(text));
    assert_memory_equal(record, text, size);
    ring_release(ring);
}

static void records_come_out_as_they_went_in(void **state)
{
    (void)state;
    struct ring *ring = ring_new(1024);
    size_t size;
    assert_null(ring_peek(ring, &size));
    put(ring, "one");
    put(ring, "");
    put(ring, "a longer one than the others");
    assert_true(ring_used(ring) > 0);
    expect(ring, "one");
    expect(ring, "");
    expect(ring, "a longer one than the others");
    assert_null(ring_peek(ring, &size));
    assert_int_equal(ring_used(ring), 0);
    ring_free(ring);
}

static void what_is_not_committed_is_not_seen(void **state)
{
    (void)state;
    struct ring *ring = ring_new(1024);
    size_t size;
    assert_non_null(ring_reserve(ring, 100));
    assert_null(ring_peek(ring, &size));
    put(ring, "kept");
    expect(ring, "kept");
    ring_free(ring);
}

static void a_full_ring_refuses_and_recovers(void **state)
{
    (void)state;
    struct ring *ring = ring_new(1024);
    assert_null(ring_reserve(ring, 513));
    assert_null(ring_reserve(ring, SIZE_MAX));
    unsigned held = 0;
    for (char *place; (place = ring_reserve(ring, 100)) != NULL; held++) {
        memset(place, 'x', 100);
        ring_commit(ring);
    }
    assert_true(held >= 7);
    ring_drop(ring);
    assert_int_equal(ring_dropped(ring), 1);
    size_t size;
    assert_non_null(ring_peek(ring, &size));
    ring_release(ring);
    assert_non_null(ring_reserve(ring, 100));
    ring_free(ring);
}

static void every_size_survives_the_end_of_the_memory(void **state)
{
    (void)state;
    struct ring *ring = ring_new(1024);
    char text[400];
    for (unsigned round = 0; round < 2000; round++) {
        size_t len = round * 7 % 390;
        memset(text, 'a' + (int)(round % 26), len);
        text[len] = '\0';
        put(ring, text);
        expect(ring, text);
    }
    ring_free(ring);
}

enum { RECORDS = 200000 };

static void *produce(void *arg)
{
    struct ring *ring = arg;
    for (uint32_t i = 0; i < RECORDS;) {
        size_t size = sizeof(i) * (1 + i % 40);
        uint32_t *place = ring_reserve(ring, size);
        if (place == NULL) {
            sched_yield();
            continue;
        }
        for (size_t n = 0; n < size / sizeof(i); n++)
            place[n] = i;
        ring_commit(ring);
        i++;
    }
    return NULL;
}

static void two_threads_lose_and_mix_nothing(void **state)
{
    (void)state;
    struct ring *ring = ring_new(4096);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, produce, ring), 0);
    for (uint32_t i = 0; i < RECORDS;) {
        size_t size;
        const uint32_t *record = ring_peek(ring, &size);
        if (record == NULL) {
            sched_yield();
            continue;
        }
        assert_int_equal(size, sizeof(i) * (1 + i % 40));
        for (size_t n = 0; n < size / sizeof(i); n++)
            assert_int_equal(record[n], i);
        ring_release(ring);
        i++;
    }
    pthread_join(thread, NULL);
    ring_free(ring);
}

static void without_memory_there_is_no_ring(void **state)
{
    (void)state;
    mem_fail_at(1);
    assert_null(ring_new(1024));
    mem_fail_at(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_come_out_as_they_went_in),
        cmocka_unit_test(what_is_not_committed_is_not_seen),
        cmocka_unit_test(a_full_ring_refuses_and_recovers),
        cmocka_unit_test(every_size_survives_the_end_of_the_memory),
        cmocka_unit_test(two_threads_lose_and_mix_nothing),
        cmocka_unit_test(without_memory_there_is_no_ring),
    };
    return cmocka_run_group_tests_name("observe/ring", tests, NULL, NULL);
}
