#include "rt/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rig.h"

/* --- the hook -------------------------------------------------------------------------------- */

static enum sys_call wanted;
static unsigned seen[SYS_CALL_COUNT];

static bool answer_wanted(void *ctx, enum sys_call call, int fd, int64_t *result)
{
    (void)fd;
    assert_string_equal((const char *)ctx, "ctx");
    seen[call]++;
    if (call != wanted)
        return false;
    errno = EOVERFLOW;
    *result = -1;
    return true;
}

/* Makes every call once; the result of `wanted`. Descriptors that come out are closed. */
static int64_t call_each(void)
{
    int pair[2] = {-1, -1};
    struct epoll_event event = {0};
    struct iovec iov = {.iov_base = (char[]){"x"}, .iov_len = 1};
    char byte;
    int value = 0;
    socklen_t len = sizeof(value);
    int64_t r[SYS_CALL_COUNT];
    r[SYS_SOCKET] = sys_socket(AF_INET, SOCK_STREAM, 0);
    r[SYS_BIND] = sys_bind(-1, NULL, 0);
    r[SYS_LISTEN] = sys_listen(-1, 1);
    r[SYS_ACCEPT] = sys_accept(-1, NULL, NULL);
    r[SYS_CONNECT] = sys_connect(-1, NULL, 0);
    r[SYS_RECV] = sys_recv(-1, &byte, 1, 0);
    r[SYS_WRITEV] = sys_writev(-1, &iov, 1);
    r[SYS_SHUTDOWN] = sys_shutdown(-1, SHUT_WR);
    r[SYS_SETSOCKOPT] = sys_setsockopt(-1, 0, 0, &value, len);
    r[SYS_GETSOCKOPT] = sys_getsockopt(-1, 0, 0, &value, &len);
    r[SYS_SOCKETPAIR] = sys_socketpair(pair);
    r[SYS_CLOSE] = sys_close(-1);
    r[SYS_EPOLL_CTL] = sys_epoll_ctl(-1, EPOLL_CTL_ADD, -1, &event);
    r[SYS_EPOLL_WAIT] = sys_epoll_wait(-1, &event, 1, 0);
    r[SYS_EVENTFD] = sys_eventfd();
    r[SYS_OPEN] = sys_open("/dev/null", O_RDONLY, 0);
    r[SYS_READ] = sys_read(-1, &byte, 1);
    r[SYS_WRITE] = sys_write(-1, &byte, 1);
    void *map = sys_mmap(4096);
    r[SYS_MMAP] = map == MAP_FAILED ? -1 : 0;
    if (map != MAP_FAILED)
        munmap(map, 4096);
    const int64_t opened[] = {r[SYS_SOCKET], pair[0], pair[1], r[SYS_EVENTFD], r[SYS_OPEN]};
    for (size_t i = 0; i < ARRAY_LEN(opened); i++) {
        if (opened[i] >= 0)
            close((int)opened[i]);
    }
    return r[wanted];
}

static void each_call_can_be_answered(void **state)
{
    (void)state;
    static char ctx[] = "ctx";
    for (unsigned call = 0; call < SYS_CALL_COUNT; call++) {
        wanted = (enum sys_call)call;
        memset(seen, 0, sizeof(seen));
        sys_hook(answer_wanted, ctx);
        assert_int_equal(call_each(), -1);
        sys_hook(NULL, NULL);
        for (unsigned i = 0; i < SYS_CALL_COUNT; i++)
            assert_int_equal(seen[i], 1);
        for (unsigned i = 0; i < call; i++)
            assert_string_not_equal(sys_call_name((enum sys_call)i), sys_call_name(wanted));
    }
    assert_string_equal(sys_call_name(SYS_CALL_COUNT), "unknown");
}

/* --- the calls themselves -------------------------------------------------------------------- */

static void expect_flags(int fd)
{
    assert_true(fd >= 0);
    assert_true((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
}

static void descriptors_never_block_and_are_not_inherited(void **state)
{
    (void)state;
    int fd = sys_socket(AF_INET, SOCK_STREAM, 0);
    expect_flags(fd);
    sys_close(fd);
    int pair[2];
    assert_int_equal(sys_socketpair(pair), 0);
    expect_flags(pair[0]);
    expect_flags(pair[1]);
    sys_close(pair[0]);
    sys_close(pair[1]);
    fd = sys_eventfd();
    expect_flags(fd);
    sys_close(fd);
    struct net_addr addr;
    int listener = rig_listen(&addr);
    int client = rig_connect(&addr);
    fd = sys_accept(listener, NULL, NULL);
    expect_flags(fd);
    sys_close(fd);
    close(client);
    close(listener);
    fd = sys_open("/dev/null", O_RDONLY, 0);
    assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    sys_close(fd);
}

static void writing_to_nobody_is_an_error_not_a_signal(void **state)
{
    (void)state;
    int pair[2];
    assert_int_equal(sys_socketpair(pair), 0);
    sys_close(pair[1]);
    struct iovec iov[] = {{(char[]){"a"}, 1}, {(char[]){"b"}, 1}};
    for (int count = 1; count <= 2; count++) {
        assert_int_equal(sys_writev(pair[0], iov, count), -1);
        assert_int_equal(errno, EPIPE);
    }
    sys_close(pair[0]);
}

static atomic_uint signals;

static void on_signal(int number)
{
    (void)number;
    atomic_fetch_add(&signals, 1);
}

struct disturber {
    pthread_t victim;
    int pipe;
};

static void *disturb(void *arg)
{
    const struct disturber *d = arg;
    /* Until the read has surely been interrupted: the handler runs in it or before it. */
    while (atomic_load(&signals) < 20) {
        pthread_kill(d->victim, SIGUSR1);
        usleep(1000);
    }
    assert_int_equal(write(d->pipe, "x", 1), 1);
    return NULL;
}

static void interrupted_calls_go_on(void **state)
{
    (void)state;
    struct sigaction action = {.sa_handler = on_signal}, before;
    sigaction(SIGUSR1, &action, &before);
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    struct disturber d = {.victim = pthread_self(), .pipe = fds[1]};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, disturb, &d), 0);
    char byte = 0;
    assert_int_equal(sys_read(fds[0], &byte, 1), 1);
    assert_int_equal(byte, 'x');
    pthread_join(thread, NULL);
    sigaction(SIGUSR1, &before, NULL);
    close(fds[0]);
    close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_call_can_be_answered),
        cmocka_unit_test(descriptors_never_block_and_are_not_inherited),
        cmocka_unit_test(writing_to_nobody_is_an_error_not_a_signal),
        cmocka_unit_test(interrupted_calls_go_on),
    };
    return cmocka_run_group_tests_name("rt/sys", tests, NULL, NULL);
}
