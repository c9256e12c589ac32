#include "rt/listener.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "rig.h"
#include "rt/random.h"
#include "rt/sys.h"

/* What accept_fn keeps of one thread. */
struct site {
    struct loop *loop;
    unsigned count;
    int fds[256];
    uint16_t ports[256];
    bool has_nodelay;
};

static void on_accept(void *ctx, int fd, const struct net_addr *peer)
{
    struct site *site = ctx;
    assert_ptr_equal(loop_self(), site->loop);
    assert_true(site->count < ARRAY_LEN(site->fds));
    int on = 0;
    socklen_t len = sizeof(on);
    getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &len);
    site->has_nodelay = on != 0;
    site->ports[site->count] = net_addr_port(peer);
    site->fds[site->count++] = fd;
    atomic_int_fast64_t *load = &loop_stats(site->loop)->load;
    atomic_store_explicit(load, atomic_load_explicit(load, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

static void site_close(struct site *site)
{
    for (unsigned i = 0; i < site->count; i++)
        close(site->fds[i]);
}

static struct net_addr local(const char *text)
{
    struct net_addr addr;
    assert_true(net_addr_parse_listen(str_c(text), &addr));
    return addr;
}

static struct listener *start_alone(struct site *site, int fd)
{
    site->loop = loop_self();
    void *ctx = site;
    struct loop *loop = site->loop;
    return listener_start(fd, on_accept, &loop, &ctx, 1);
}

static void connections_arrive_with_their_address(void **state)
{
    (void)state;
    struct loop *loop = loop_new(0);
    struct net_addr addr = local(":0"), bound;
    int fd;
    assert_int_equal(listen_open(&addr, 1, &fd, &bound), 0);
    assert_int_not_equal(net_addr_port(&bound), 0);
    struct site site = {0};
    struct listener *l = start_alone(&site, fd);
    assert_non_null(l);
    int client = rig_connect(&bound);
    struct net_addr mine = {.len = sizeof(mine.u)};
    getsockname(client, &mine.u.any, &mine.len);
    for (int i = 0; i < 100 && site.count == 0; i++)
        loop_turn(loop, 20 * NS_PER_MS);
    assert_int_equal(site.count, 1);
    assert_int_equal(site.ports[0], net_addr_port(&mine));
    assert_true(site.has_nodelay);
    listener_stop(l, true);
    site_close(&site);
    close(client);
    loop_free(loop);
}

static void a_dual_stack_socket_reports_ipv4(void **state)
{
    (void)state;
    struct loop *loop = loop_new(0);
    struct net_addr addr = local("[::]:0"), bound;
    int fd;
    if (listen_open(&addr, 1, &fd, &bound) < 0) {
        loop_free(loop);
        skip(); /* no IPv6 here */
    }
    struct net_addr v4;
    assert_true(net_addr_parse(STR("127.0.0.1"), net_addr_port(&bound), &v4));
    int client = rig_connect(&v4);
    struct site site = {0};
    struct listener *l = start_alone(&site, fd);
    listener_stop(l, true);
    assert_int_equal(site.count, 1);
    site_close(&site);
    close(client);
    loop_free(loop);
}

static void an_address_in_use_is_refused(void **state)
{
    (void)state;
    for (unsigned count = 1; count <= 2; count++) {
        struct net_addr addr = local(":0"), bound, again;
        int fds[2], more[2];
        assert_int_equal(listen_open(&addr, count, fds, &bound), 0);
        char text[NET_ADDR_TEXT_BYTES];
        net_addr_format(&bound, true, text);
        for (unsigned other = 1; other <= 2; other++) {
            assert_int_equal(listen_open(&bound, other, more, &again), -ERR_IO);
            assert_int_equal(err_slot()->errno_value, EADDRINUSE);
            assert_non_null(strstr(err_slot()->message, text));
            assert_non_null(strstr(err_slot()->message, "another program"));
        }
        for (unsigned i = 0; i < count; i++)
            close(fds[i]);
        /* And free again at once. */
        assert_int_equal(listen_open(&bound, count, fds, &again), 0);
        for (unsigned i = 0; i < count; i++)
            close(fds[i]);
    }
}

static unsigned long open_descriptors(void)
{
    unsigned long n = 0;
    for (int fd = 0; fd < 256; fd++)
        n += dup2(fd, fd) == fd;
    return n;
}

static unsigned fail_at_call;
static unsigned calls;

static bool fail_nth(void *ctx, enum sys_call call, int fd, int64_t *result)
{
    (void)ctx;
    (void)fd;
    if (call == SYS_CLOSE || ++calls != fail_at_call)
        return false;
    errno = ENOBUFS;
    *result = -1;
    return true;
}

static void a_failed_call_leaves_nothing_open(void **state)
{
    (void)state;
    struct net_addr addr = local(":0"), bound;
    int fds[3];
    assert_int_equal(listen_open(&addr, 3, fds, &bound), 0);
    for (int i = 0; i < 3; i++)
        close(fds[i]);
    unsigned long before = open_descriptors();
    unsigned failures = 0;
    for (fail_at_call = 1;; fail_at_call++) {
        calls = 0;
        sys_hook(fail_nth, NULL);
        struct net_addr again;
        int r = listen_open(&bound, 3, fds, &again);
        sys_hook(NULL, NULL);
        if (r == 0)
            break;
        failures++;
        assert_int_equal(r, -ERR_IO);
        assert_int_equal(open_descriptors(), before);
    }
    assert_true(failures >= 12);
    for (int i = 0; i < 3; i++)
        close(fds[i]);
}

static void a_full_backlog_is_taken_in_portions(void **state)
{
    (void)state;
    struct loop *loop = loop_new(0);
    struct net_addr addr = local(":0"), bound;
    int fd, clients[200];
    assert_int_equal(listen_open(&addr, 1, &fd, &bound), 0);
    for (size_t i = 0; i < ARRAY_LEN(clients); i++)
        clients[i] = rig_connect(&bound);
    struct site site = {0};
    struct listener *l = start_alone(&site, fd);
    unsigned before = 0;
    for (int i = 0; i < 100 && site.count < ARRAY_LEN(clients); i++) {
        loop_turn(loop, 0);
        assert_true(site.count - before <= 64);
        before = site.count;
    }
    assert_int_equal(site.count, ARRAY_LEN(clients));
    listener_stop(l, true);
    site_close(&site);
    for (size_t i = 0; i < ARRAY_LEN(clients); i++)
        close(clients[i]);
    loop_free(loop);
}

static void closing_takes_in_who_waits(void **state)
{
    (void)state;
    struct loop *loop = loop_new(0);
    struct net_addr addr = local(":0"), bound;
    int fd, clients[5];
    assert_int_equal(listen_open(&addr, 1, &fd, &bound), 0);
    struct site site = {0};
    struct listener *l = start_alone(&site, fd);
    for (size_t i = 0; i < ARRAY_LEN(clients); i++)
        clients[i] = rig_connect(&bound);
    listener_stop(l, true);
    assert_int_equal(site.count, ARRAY_LEN(clients));
    site_close(&site);
    for (size_t i = 0; i < ARRAY_LEN(clients); i++)
        close(clients[i]);
    loop_free(loop);
}

static void stopping_leaves_the_socket_to_the_next(void **state)
{
    (void)state;
    struct loop *loop = loop_new(0);
    struct net_addr addr = local(":0"), bound;
    int fd;
    assert_int_equal(listen_open(&addr, 1, &fd, &bound), 0);
    struct site site = {0};
    listener_stop(start_alone(&site, fd), false);
    int client = rig_connect(&bound);
    loop_turn(loop, 0);
    assert_int_equal(site.count, 0);
    listener_stop(start_alone(&site, fd), true);
    assert_int_equal(site.count, 1);
    site_close(&site);
    close(client);
    loop_free(loop);
}

static unsigned accept_calls;
static bool has_run_out;

static bool run_out(void *ctx, enum sys_call call, int fd, int64_t *result)
{
    (void)ctx;
    (void)fd;
    if (call != SYS_ACCEPT)
        return false;
    accept_calls++;
    if (!has_run_out)
        return false;
    errno = EMFILE;
    *result = -1;
    return true;
}

static unsigned log_lines;

static void count_line(struct str line)
{
    log_lines += str_find(line, STR("ulimit -n")) >= 0;
}

static void running_out_of_descriptors_pauses(void **state)
{
    (void)state;
    clock_fake(NS_PER_SEC, 0);
    struct loop *loop = loop_new(0);
    struct net_addr addr = local(":0"), bound;
    int fd;
    assert_int_equal(listen_open(&addr, 1, &fd, &bound), 0);
    struct site site = {0};
    struct listener *l = start_alone(&site, fd);
    sys_hook(run_out, NULL);
    log_set_sink(count_line);
    has_run_out = true;
    uint64_t pauses = listener_pauses();
    int first = rig_connect(&bound);
    for (int i = 0; i < 50; i++) {
        loop_turn(loop, 0);
        if (i == 25)
            close(rig_connect(&bound)); /* a new edge does not end the pause */
    }
    assert_int_equal(accept_calls, 1);
    assert_int_equal(listener_pauses() - pauses, 1);
    for (int i = 0; i < 5; i++) {
        clock_fake_advance(101 * NS_PER_MS);
        loop_turn(loop, 0);
        loop_turn(loop, 0);
    }
    assert_int_equal(accept_calls, 6);
    has_run_out = false;
    clock_fake_advance(101 * NS_PER_MS);
    loop_turn(loop, 0);
    loop_turn(loop, 0);
    assert_int_equal(site.count, 2);
    assert_in_range(log_lines, 1, 2);
    log_set_sink(NULL);
    sys_hook(NULL, NULL);
    listener_stop(l, true);
    site_close(&site);
    close(first);
    loop_free(loop);
    clock_real();
}

/* A second loop on a thread of its own. */
struct other {
    struct site site;
    pthread_barrier_t is_up;
    pthread_t thread;
};

static void *other_main(void *arg)
{
    struct other *other = arg;
    other->site.loop = loop_new(1);
    pthread_barrier_wait(&other->is_up);
    loop_run(other->site.loop);
    loop_free(other->site.loop);
    return NULL;
}

static void a_burst_spreads_over_the_threads(void **state)
{
    (void)state;
    struct loop *loop = loop_new(0);
    struct other other = {0};
    pthread_barrier_init(&other.is_up, NULL, 2);
    assert_int_equal(pthread_create(&other.thread, NULL, other_main, &other), 0);
    pthread_barrier_wait(&other.is_up);

    struct site here = {.loop = loop};
    struct loop *peers[] = {loop, other.site.loop};
    void *ctxs[] = {&here, &other.site};
    struct net_addr addr = local(":0"), bound;
    int fd, clients[60];
    assert_int_equal(listen_open(&addr, 1, &fd, &bound), 0);
    for (size_t i = 0; i < ARRAY_LEN(clients); i++)
        clients[i] = rig_connect(&bound);
    random_fake(11);
    struct listener *l = listener_start(fd, on_accept, peers, ctxs, 2);
    struct loop_stats *stats[] = {loop_stats(loop), loop_stats(other.site.loop)};
    int64_t give_up_ns = rig_in_ms(20000);
    int64_t sum;
    do {
        loop_turn(loop, NS_PER_MS);
        sum = atomic_load(&stats[0]->load) + atomic_load(&stats[1]->load);
        assert_true(clock_mono_ns() < give_up_ns);
    } while (sum < (int64_t)ARRAY_LEN(clients) || atomic_load(&stats[1]->load_incoming) != 0);
    listener_stop(l, true);
    loop_stop(other.site.loop);
    pthread_join(other.thread, NULL);
    /* Half each, but for the moments in which a connection counts as under way and as arrived. */
    assert_in_range(here.count, 24, 40);
    assert_int_equal(here.count + other.site.count, ARRAY_LEN(clients));
    site_close(&here);
    site_close(&other.site);
    for (size_t i = 0; i < ARRAY_LEN(clients); i++)
        close(clients[i]);
    random_fake(0);
    loop_free(loop);
}

static void without_memory_a_connection_stays_here(void **state)
{
    (void)state;
    struct loop *loop = loop_new(0);
    struct other other = {0};
    pthread_barrier_init(&other.is_up, NULL, 2);
    assert_int_equal(pthread_create(&other.thread, NULL, other_main, &other), 0);
    pthread_barrier_wait(&other.is_up);
    struct site here = {.loop = loop};
    struct loop *peers[] = {loop, other.site.loop};
    void *ctxs[] = {&here, &other.site};
    atomic_store(&loop_stats(loop)->load, 100);
    struct net_addr addr = local(":0"), bound;
    int fd;
    assert_int_equal(listen_open(&addr, 1, &fd, &bound), 0);
    int client = rig_connect(&bound);
    mem_fail_at(1);
    assert_null(listener_start(fd, on_accept, peers, ctxs, 2));
    struct listener *l = listener_start(fd, on_accept, peers, ctxs, 2);
    mem_fail_at(1);
    listener_stop(l, true);
    mem_fail_at(0);
    assert_int_equal(here.count, 1);
    loop_stop(other.site.loop);
    pthread_join(other.thread, NULL);
    site_close(&here);
    close(client);
    loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connections_arrive_with_their_address),
        cmocka_unit_test(a_dual_stack_socket_reports_ipv4),
        cmocka_unit_test(an_address_in_use_is_refused),
        cmocka_unit_test(a_failed_call_leaves_nothing_open),
        cmocka_unit_test(a_full_backlog_is_taken_in_portions),
        cmocka_unit_test(closing_takes_in_who_waits),
        cmocka_unit_test(stopping_leaves_the_socket_to_the_next),
        cmocka_unit_test(running_out_of_descriptors_pauses),
        cmocka_unit_test(a_burst_spreads_over_the_threads),
        cmocka_unit_test(without_memory_a_connection_stays_here),
    };
    return cmocka_run_group_tests_name("rt/listener", tests, NULL, NULL);
}
