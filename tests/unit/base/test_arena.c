#include "base/arena.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/mem.h"

static void allocations_are_aligned_and_apart(void **state)
{
    (void)state;
    struct arena *arena = arena_new(512);
    unsigned char *blocks[300];
    size_t sizes[300];
    for (size_t i = 0; i < ARRAY_LEN(blocks); i++) {
        sizes[i] = i * 7 % 400;
        blocks[i] = arena_alloc(arena, sizes[i]);
        assert_non_null(blocks[i]);
        assert_int_equal((uintptr_t)blocks[i] % 16, 0);
        memset(blocks[i], (int)i, sizes[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(blocks); i++) {
        for (size_t j = 0; j < sizes[i]; j++)
            assert_int_equal(blocks[i][j], (unsigned char)i);
    }
    arena_free(arena);
    arena_free(NULL);
}

static void large_and_zeroed(void **state)
{
    (void)state;
    struct arena *arena = arena_new(512);
    size_t before = arena_bytes(arena);
    char *big = arena_alloc(arena, 1000000);
    assert_non_null(big);
    memset(big, 1, 1000000);
    assert_true(arena_bytes(arena) >= before + 1000000);
    const char *zero = arena_calloc(arena, 5000);
    for (size_t i = 0; i < 5000; i++)
        assert_int_equal(zero[i], 0);
    assert_null(arena_alloc(arena, SIZE_MAX));
    assert_null(arena_alloc(arena, SIZE_MAX / 2 + 1));
    arena_free(arena);
}

static void texts(void **state)
{
    (void)state;
    struct arena *arena = arena_new(512);
    struct str s = arena_dup(arena, STR("hello"));
    assert_true(str_eq(s, STR("hello")));
    assert_non_null(arena_dup(arena, STR_EMPTY).ptr);
    assert_string_equal(arena_cstr(arena, str_n("hello", 4)), "hell");
    assert_string_equal(arena_cstr(arena, STR_EMPTY), "");
    assert_true(str_eq(arena_printf(arena, "%d-%s", 42, "x"), STR("42-x")));
    struct str parts[] = {STR("a"), STR_EMPTY, STR("bc")};
    assert_true(str_eq(arena_concat(arena, parts, 3), STR("abc")));
    assert_int_equal(arena_concat(arena, parts, 0).len, 0);
    char big[3000];
    memset(big, 'x', sizeof(big));
    s = arena_printf(arena, "%.*s", (int)sizeof(big), big);
    assert_true(str_eq(s, str_n(big, sizeof(big))));
    arena_free(arena);
}

static char order[16];

static void note(void *arg)
{
    size_t n = strlen(order);
    order[n] = *(const char *)arg;
    order[n + 1] = '\0';
}

static void clean_ups_run_last_first(void **state)
{
    (void)state;
    order[0] = '\0';
    struct arena *arena = arena_new(512);
    static char a = 'a', b = 'b', c = 'c';
    assert_true(arena_defer(arena, note, &a));
    assert_true(arena_defer(arena, note, &b));
    assert_non_null(arena_alloc(arena, 100000));
    assert_true(arena_defer(arena, note, &c));
    assert_string_equal(order, "");
    arena_free(arena);
    assert_string_equal(order, "cba");
}

static void rewinding_gives_memory_back(void **state)
{
    (void)state;
    struct arena *arena = arena_new(512);
    char *kept = arena_cstr(arena, STR("kept"));
    size_t before = arena_bytes(arena);
    struct arena_mark mark = arena_mark(arena);
    void *first = NULL;
    for (int round = 0; round < 3; round++) {
        void *p = arena_alloc(arena, 64);
        for (int i = 0; i < 100; i++)
            memset(arena_alloc(arena, 1000), 0xee, 1000);
        assert_true(round == 0 || p == first);
        first = p;
        arena_rewind(arena, mark);
        assert_int_equal(arena_bytes(arena), before);
    }
    assert_string_equal(kept, "kept");
    arena_free(arena);
}

static char text[200];

static bool try_dup(struct arena *arena)
{
    return arena_dup(arena, str_n(text, sizeof(text))).ptr != NULL;
}

static bool try_cstr(struct arena *arena)
{
    return arena_cstr(arena, str_n(text, sizeof(text))) != NULL;
}

static bool try_printf(struct arena *arena)
{
    return arena_printf(arena, "%200d", 1).ptr != NULL;
}

static bool try_concat(struct arena *arena)
{
    struct str part = str_n(text, sizeof(text));
    return arena_concat(arena, &part, 1).ptr != NULL;
}

static bool try_calloc(struct arena *arena)
{
    return arena_calloc(arena, 200) != NULL;
}

static void do_nothing(void *arg)
{
    (void)arg;
}

static bool try_defer(struct arena *arena)
{
    return arena_defer(arena, do_nothing, NULL);
}

static void without_memory_all_say_so(void **state)
{
    (void)state;
    static bool (*const tries[])(struct arena *) = {try_dup,    try_cstr,   try_printf,
                                                    try_concat, try_calloc, try_defer};
    for (size_t i = 0; i < ARRAY_LEN(tries); i++) {
        struct arena *arena = arena_new(512);
        size_t done = 0;
        mem_fail_at(1); /* the block of the arena is full at some time, and there is no other */
        while (tries[i](arena))
            assert_true(++done < 512);
        /* It was the one that failed: the next succeeds. */
        assert_true(tries[i](arena));
        mem_fail_at(0);
        arena_free(arena);
    }
    mem_fail_at(1);
    assert_null(arena_new(512));
    mem_fail_at(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allocations_are_aligned_and_apart),
        cmocka_unit_test(large_and_zeroed),
        cmocka_unit_test(texts),
        cmocka_unit_test(clean_ups_run_last_first),
        cmocka_unit_test(rewinding_gives_memory_back),
        cmocka_unit_test(without_memory_all_say_so),
    };
    return cmocka_run_group_tests_name("base/arena", tests, NULL, NULL);
}
