#include "rig.h"

#include <time.h>
#include <unistd.h>

/* The tests' own patience is real time, also where the clock is faked. */
static int64_t real_now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * NS_PER_SEC + ts.tv_nsec;
}

void rig_turn_until(const bool *flag)
{
    int64_t give_up_ns = real_now_ns() + RIG_PATIENCE_NS;
    while (!*flag) {
        loop_turn(loop_self(), NS_PER_MS);
        if (real_now_ns() > give_up_ns)
            fail_msg("what the test waits for did not come");
    }
}

void rig_turn_until_idle(void)
{
    int64_t give_up_ns = real_now_ns() + RIG_PATIENCE_NS;
    while (task_count() > 0) {
        loop_turn(loop_self(), NS_PER_MS);
        if (real_now_ns() > give_up_ns)
            fail_msg("%zu tasks did not end", task_count());
    }
}

void rig_run(task_fn *fn, void *arg)
{
    struct loop *loop = loop_new(0);
    assert_non_null(loop);
    assert_non_null(task_spawn(RUN_NORMAL, "test", fn, arg));
    rig_turn_until_idle();
    loop_free(loop);
}

int64_t rig_in_ms(int64_t ms)
{
    return clock_mono_ns() + ms * NS_PER_MS;
}

int rig_listen(struct net_addr *addr)
{
    assert_true(net_addr_parse(STR("127.0.0.1"), 0, addr));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, &addr->u.any, addr->len), 0);
    assert_int_equal(listen(fd, 128), 0);
    addr->len = sizeof(addr->u);
    assert_int_equal(getsockname(fd, &addr->u.any, &addr->len), 0);
    return fd;
}

int rig_connect(const struct net_addr *addr)
{
    int fd = socket(addr->u.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, &addr->u.any, addr->len), 0);
    return fd;
}

struct net_addr rig_closed_port(void)
{
    struct net_addr addr;
    close(rig_listen(&addr));
    return addr;
}
