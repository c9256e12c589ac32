#include "rt/stack.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "base/mem.h"
#include "rt/sys.h"
#include "rt/task.h"

enum { PAGE = 4096, MANY = 700 };

static char *slots[MANY];

static void take_all(void)
{
    for (int i = 0; i < MANY; i++) {
        slots[i] = stack_take();
        assert_non_null(slots[i]);
    }
}

static void give_all(void)
{
    for (int i = 0; i < MANY; i++)
        stack_give(slots[i]);
}

/* Pages of the slot above its guard that take memory. */
static unsigned resident_pages(const char *slot)
{
    static unsigned char pages[TASK_STACK_BYTES / PAGE];
    assert_int_equal(mincore((char *)(uintptr_t)slot, TASK_STACK_BYTES, pages), 0);
    unsigned n = 0;
    for (size_t i = 1; i < sizeof(pages); i++)
        n += pages[i] & 1;
    return n;
}

static void slots_are_apart_and_usable(void **state)
{
    (void)state;
    take_all();
    for (int i = 0; i < MANY; i++) {
        assert_int_equal((uintptr_t)slots[i] % PAGE, 0);
        memset(slots[i] + PAGE, i, TASK_STACK_BYTES - PAGE);
    }
    for (int i = 0; i < MANY; i++) {
        assert_int_equal((unsigned char)slots[i][PAGE], (unsigned char)i);
        assert_int_equal((unsigned char)slots[i][TASK_STACK_BYTES - 1], (unsigned char)i);
        assert_true(stack_is_guard(slots[i]));
        assert_true(stack_is_guard(slots[i] + PAGE - 1));
        assert_false(stack_is_guard(slots[i] + PAGE));
        assert_false(stack_is_guard(slots[i] + TASK_STACK_BYTES - 1));
    }
    assert_false(stack_is_guard(slots));
    assert_false(stack_is_guard(NULL));
    give_all();
    stacks_release();
    assert_false(stack_is_guard(slots[0]));
}

static void a_burst_gives_its_memory_back(void **state)
{
    (void)state;
    for (int round = 0; round < 3; round++) {
        take_all();
        for (int i = 0; i < MANY; i++)
            memset(slots[i] + TASK_STACK_BYTES - 2 * PAGE, 1, 2 * PAGE);
        give_all();
        unsigned warm = 0;
        for (int i = 0; i < MANY; i++)
            warm += resident_pages(slots[i]) > 0;
        assert_in_range(warm, 1, 64);
    }
    stacks_release();
}

static void a_deep_stack_gives_its_depth_back(void **state)
{
    (void)state;
    char *slot = stack_take();
    memset(slot + PAGE, 1, TASK_STACK_BYTES - PAGE);
    assert_int_equal(resident_pages(slot), TASK_STACK_BYTES / PAGE - 1);
    stack_give(slot);
    assert_in_range(resident_pages(slot), 1, 4);
    /* The one given back last is taken first. */
    assert_ptr_equal(stack_take(), slot);
    stack_give(slot);
    stacks_release();
}

static bool fail_mmap(void *ctx, enum sys_call call, int fd, int64_t *result)
{
    (void)ctx;
    (void)fd;
    (void)result;
    errno = ENOMEM;
    return call == SYS_MMAP;
}

static void no_memory_is_no_slot(void **state)
{
    (void)state;
    sys_hook(fail_mmap, NULL);
    assert_null(stack_take());
    sys_hook(NULL, NULL);
    for (uint64_t n = 1; n <= 2; n++) {
        mem_fail_at(n);
        assert_null(stack_take());
    }
    mem_fail_at(0);
    char *slot = stack_take();
    assert_non_null(slot);
    stack_give(slot);
    stacks_release();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_are_apart_and_usable),
        cmocka_unit_test(a_burst_gives_its_memory_back),
        cmocka_unit_test(a_deep_stack_gives_its_depth_back),
        cmocka_unit_test(no_memory_is_no_slot),
    };
    return cmocka_run_group_tests_name("rt/stack", tests, NULL, NULL);
}
