#include "base/list.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct item {
    int number;
    struct list node;
};

/* The numbers in order, as digits of one number; the links backwards must agree. */
static int digits(const struct list *head)
{
    int forward = 0, backward = 0, scale = 1;
    LIST_FOR_EACH(node, (struct list *)(uintptr_t)head)
    forward = forward * 10 + CONTAINER_OF(node, struct item, node)->number;
    for (const struct list *node = head->prev; node != head; node = node->prev) {
        backward += CONTAINER_OF(node, struct item, node)->number * scale;
        scale *= 10;
    }
    assert_int_equal(forward, backward);
    return forward;
}

static void nodes_go_in_and_out(void **state)
{
    (void)state;
    struct list head, other;
    struct item items[6];
    list_init(&head);
    list_init(&other);
    assert_true(list_is_empty(&head));
    assert_null(list_pop(&head));
    for (int i = 0; i < 6; i++) {
        items[i].number = i + 1;
        list_init(&items[i].node);
    }
    list_push(&head, &items[0].node);
    list_push(&head, &items[1].node);
    list_push_front(&head, &items[2].node);
    assert_int_equal(digits(&head), 312);
    list_remove(&items[0].node);
    list_remove(&items[0].node); /* in no list now: harmless */
    assert_int_equal(digits(&head), 32);
    list_push(&other, &items[3].node);
    list_push(&other, &items[4].node);
    list_splice(&head, &other);
    assert_int_equal(digits(&head), 3245);
    assert_true(list_is_empty(&other));
    list_splice(&head, &other);
    assert_int_equal(digits(&head), 3245);
    list_splice(&other, &head);
    assert_int_equal(digits(&other), 3245);
    assert_ptr_equal(list_pop(&other), &items[2].node);
    assert_int_equal(digits(&other), 245);
}

static void the_current_node_may_be_removed(void **state)
{
    (void)state;
    struct list head;
    struct item items[9];
    list_init(&head);
    for (int i = 0; i < 9; i++) {
        items[i].number = i + 1;
        list_push(&head, &items[i].node);
    }
    LIST_FOR_EACH(node, &head)
    {
        if (CONTAINER_OF(node, struct item, node)->number % 3 != 0)
            list_remove(node);
    }
    assert_int_equal(digits(&head), 369);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_go_in_and_out),
        cmocka_unit_test(the_current_node_may_be_removed),
    };
    return cmocka_run_group_tests_name("base/list", tests, NULL, NULL);
}
