#include "base/mem.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

static void the_nth_allocation_fails_once(void **state)
{
    (void)state;
    mem_fail_at(3);
    void *a = mem_alloc(8), *b = mem_calloc(2, 4), *c = mem_alloc(8), *d = mem_alloc(8);
    assert_non_null(a);
    assert_non_null(b);
    assert_null(c);
    assert_non_null(d);
    assert_int_equal(mem_count(), 4);
    mem_fail_at(1);
    assert_null(mem_realloc(a, 100));
    a = mem_realloc(a, 100);
    assert_non_null(a);
    mem_fail_at(0);
    size_t size = 100;
    mem_fail_at(1);
    assert_null(mem_block_take(&size));
    mem_fail_at(0);
    assert_int_equal(mem_count(), 0);
    mem_free(a);
    mem_free(b);
    mem_free(d);
}

static void blocks_have_their_class_size(void **state)
{
    (void)state;
    static const struct {
        size_t wanted, got;
    } cases[] = {{0, 512},     {1, 512},         {512, 512},       {513, 1024},     {4096, 4096},
                 {4097, 8192}, {131072, 131072}, {131073, 131073}, {300000, 300000}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        size_t size = cases[i].wanted;
        char *block = mem_block_take(&size);
        assert_non_null(block);
        assert_int_equal(size, cases[i].got);
        memset(block, 1, size);
        mem_block_give(block, size);
    }
    mem_block_give(NULL, 512);
    mem_blocks_trim();
}

static void kept_blocks_can_fail_too(void **state)
{
    (void)state;
    /* A test that counts allocations must not depend on what the thread happens to have kept. */
    size_t size = 2048;
    void *block = mem_block_take(&size);
    mem_block_give(block, size);
    mem_fail_at(1);
    assert_null(mem_block_take(&size));
    block = mem_block_take(&size);
    assert_non_null(block);
    mem_fail_at(0);
    mem_block_give(block, size);
    mem_blocks_trim();
}

static void *take_many(void *arg)
{
    void **blocks = arg;
    for (size_t i = 0; i < 100; i++) {
        size_t size = 512u << i % 9;
        blocks[i] = mem_block_take(&size);
        memset(blocks[i], (int)i, size);
    }
    return NULL;
}

static void a_block_may_go_to_another_thread(void **state)
{
    (void)state;
    void *blocks[100];
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, take_many, blocks), 0);
    pthread_join(thread, NULL);
    for (size_t i = 0; i < ARRAY_LEN(blocks); i++) {
        assert_int_equal(*(unsigned char *)blocks[i], i);
        mem_block_give(blocks[i], 512u << i % 9);
    }
    mem_blocks_trim();
}

#if !defined(__SANITIZE_ADDRESS__)
enum { MANY = 600 };

static size_t resident(char *const *pages, size_t count)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        unsigned char is_in;
        assert_int_equal(mincore(pages[i], 4096, &is_in), 0);
        n += is_in & 1;
    }
    return n;
}

/* Blocks of one page go back to the kernel after a burst, whatever the bursts before it were. */
static void pages_of_a_burst_go_back(void **state)
{
    (void)state;
    static char *pages[MANY];
    static const size_t bursts[] = {MANY, 500, 400, 300, 200, 100, MANY};
    for (size_t b = 0; b < ARRAY_LEN(bursts); b++) {
        char *taken[MANY];
        for (size_t i = 0; i < bursts[b]; i++) {
            size_t size = 4096;
            taken[i] = mem_block_take(&size);
            memset(taken[i], 1, size);
        }
        if (b == 0)
            memcpy(pages, taken, sizeof(pages));
        for (size_t i = 0; i < bursts[b]; i++)
            mem_block_give(taken[i], 4096);
        assert_in_range(resident(pages, MANY), 1, 64);
    }
    mem_blocks_trim();
    assert_int_equal(resident(pages, MANY), 0);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_nth_allocation_fails_once),
        cmocka_unit_test(blocks_have_their_class_size),
        cmocka_unit_test(kept_blocks_can_fail_too),
        cmocka_unit_test(a_block_may_go_to_another_thread),
#if !defined(__SANITIZE_ADDRESS__)
        cmocka_unit_test(pages_of_a_burst_go_back),
#endif
    };
    return cmocka_run_group_tests_name("base/mem", tests, NULL, NULL);
}
