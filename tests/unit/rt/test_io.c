#include "rt/io.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "base/mem.h"
#include "rig.h"
#include "rt/sys.h"

/* An io, and the far end as a plain descriptor of the test. */
struct end {
    struct io io;
    int far;
    int result;
    bool is_over;
    const char *bytes;
    size_t len;
};

static struct loop *loop;

static int rig_up(void **state)
{
    (void)state;
    loop = loop_new(0);
    return 0;
}

static int rig_down(void **state)
{
    (void)state;
    sys_hook(NULL, NULL);
    rig_turn_until_idle();
    loop_free(loop);
    return 0;
}

static void open_pair(struct end *end)
{
    int pair[2];
    *end = (struct end){.far = -1};
    assert_int_equal(sys_socketpair(pair), 0);
    assert_int_equal(io_open(&end->io, pair[0]), 0);
    end->far = pair[1];
}

/* The same over TCP, where a reset can be had. */
static void open_tcp(struct end *end)
{
    struct net_addr addr;
    int listener = rig_listen(&addr);
    int fd = rig_connect(&addr);
    *end = (struct end){.far = accept(listener, NULL, NULL)};
    assert_true(end->far >= 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(io_open(&end->io, fd), 0);
    close(listener);
}

static void end_close(struct end *end)
{
    io_close(&end->io);
    if (end->far >= 0)
        close(end->far);
}

static void far_resets(struct end *end)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    assert_int_equal(setsockopt(end->far, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
    close(end->far);
    end->far = -1;
}

static void turns(int count)
{
    for (int i = 0; i < count; i++)
        loop_turn(loop, NS_PER_MS);
}

static struct task *spawn(task_fn *fn, void *arg)
{
    struct task *task = task_spawn(RUN_NORMAL, "test", fn, arg);
    assert_non_null(task);
    return task;
}

/* --- reading --------------------------------------------------------------------------------- */

static void recv_once(void *arg)
{
    struct end *end = arg;
    struct str s;
    end->result = (int)io_recv(&end->io, &s, rig_in_ms(10000));
    assert_int_equal(s.len, MAX(end->result, 0));
    end->bytes = s.ptr;
    end->len = s.len;
    end->is_over = true;
}

static void a_read_waits_for_bytes(void **state)
{
    (void)state;
    struct end end;
    open_pair(&end);
    spawn(recv_once, &end);
    turns(3);
    assert_false(end.is_over);
    assert_int_equal(write(end.far, "hello", 5), 5);
    rig_turn_until(&end.is_over);
    assert_int_equal(end.result, 5);
    assert_memory_equal(end.bytes, "hello", 5);
    assert_int_equal(end.io.bytes_in, 5);
    end_close(&end);
}

static void read_in_pieces(void *arg)
{
    struct end *end = arg;
    char byte[3];
    struct str s;
    assert_int_equal(io_read(&end->io, byte, 3, rig_in_ms(10000)), 3);
    assert_memory_equal(byte, "abc", 3);
    assert_int_equal(io_recv(&end->io, &s, rig_in_ms(10000)), 4);
    assert_int_equal(io_try_recv(&end->io, &s), 0);
    assert_int_equal(io_try_read(&end->io, byte, 3), 0);
    /* The end is told after the bytes, and again and again. */
    assert_int_equal(write(end->far, "z", 1), 1);
    close(end->far);
    end->far = -1;
    assert_int_equal(io_recv(&end->io, &s, rig_in_ms(10000)), 1);
    for (int i = 0; i < 3; i++)
        assert_int_equal(io_recv(&end->io, &s, rig_in_ms(10000)), -ERR_CLOSED);
    end->is_over = true;
}

static void reads_take_what_is_there(void **state)
{
    (void)state;
    struct end end;
    open_pair(&end);
    assert_int_equal(write(end.far, "abcdefg", 7), 7);
    spawn(read_in_pieces, &end);
    rig_turn_until(&end.is_over);
    end_close(&end);
}

static void bytes_and_end_at_once_lose_nothing(void **state)
{
    (void)state;
    /* FIN may come with the last bytes, after them, or before the first read. */
    for (int round = 0; round < 3; round++) {
        struct end end;
        open_tcp(&end);
        if (round > 0)
            turns(2);
        assert_int_equal(write(end.far, "last", 4), 4);
        if (round > 1)
            turns(2);
        close(end.far);
        end.far = -1;
        spawn(recv_once, &end);
        rig_turn_until(&end.is_over);
        assert_int_equal(end.result, 4);
        end.is_over = false;
        spawn(recv_once, &end);
        rig_turn_until(&end.is_over);
        assert_int_equal(end.result, -ERR_CLOSED);
        end_close(&end);
    }
}

static void a_reset_is_no_orderly_end(void **state)
{
    (void)state;
    struct end end;
    open_tcp(&end);
    spawn(recv_once, &end);
    turns(2);
    far_resets(&end);
    rig_turn_until(&end.is_over);
    assert_int_equal(end.result, -ERR_RESET);
    end_close(&end);
}

static void read_late(void *arg)
{
    struct end *end = arg;
    struct str s;
    end->result = (int)io_recv(&end->io, &s, rig_in_ms(20));
    assert_int_equal(end->result, -ERR_TIMEOUT);
    /* Bytes that come later are read by a later call. */
    assert_int_equal(write(end->far, "x", 1), 1);
    assert_int_equal(io_wait_readable(&end->io, rig_in_ms(10000)), 0);
    assert_int_equal(io_recv(&end->io, &s, rig_in_ms(10000)), 1);
    assert_int_equal(io_wait_readable(&end->io, rig_in_ms(20)), -ERR_TIMEOUT);
    end->is_over = true;
}

static void waits_have_deadlines(void **state)
{
    (void)state;
    struct end end;
    open_pair(&end);
    spawn(read_late, &end);
    rig_turn_until(&end.is_over);
    end_close(&end);
}

static void a_cancelled_reader_leaves(void **state)
{
    (void)state;
    struct end end;
    open_pair(&end);
    struct task *task = spawn(recv_once, &end);
    turns(2);
    task_cancel(task, ERR_TIMEOUT);
    turns(1);
    assert_int_equal(end.result, -ERR_CANCELED);
    /* The io is not hurt by it. */
    end.is_over = false;
    assert_int_equal(write(end.far, "hello", 5), 5);
    spawn(recv_once, &end);
    rig_turn_until(&end.is_over);
    assert_int_equal(end.result, 5);
    end_close(&end);
}

/* --- hang-ups -------------------------------------------------------------------------------- */

static void wait_long(void *arg)
{
    struct end *end = arg;
    io_watch_hangup(&end->io, task_self());
    end->result = task_sleep_until(rig_in_ms(20000));
    assert_int_equal(task_cancel_reason(task_self()), ERR_RESET);
    io_watch_hangup(&end->io, NULL);
    end->is_over = true;
}

static void a_hang_up_cancels_whoever_cares(void **state)
{
    (void)state;
    for (int round = 0; round < 3; round++) {
        struct end end;
        open_tcp(&end);
        if (round == 1) {
            /* It has hung up before anyone asks. */
            close(end.far);
            end.far = -1;
            turns(2);
            assert_true(io_is_hung_up(&end.io));
        }
        spawn(wait_long, &end);
        turns(2);
        if (round == 0) {
            assert_false(end.is_over);
            close(end.far);
            end.far = -1;
        } else if (round == 2) {
            far_resets(&end);
        }
        rig_turn_until(&end.is_over);
        assert_int_equal(end.result, -ERR_CANCELED);
        end_close(&end);
    }
}

/* --- writing --------------------------------------------------------------------------------- */

enum { BIG = 2 * 1024 * 1024 };

static char *big;

static void write_big(void *arg)
{
    struct end *end = arg;
    /* More parts than one call takes, of many sizes. */
    enum { PARTS = 3000 };
    static struct iovec iov[PARTS];
    size_t at = 0;
    for (int i = 0; i < PARTS; i++) {
        size_t n = i == PARTS - 1 ? BIG - at : (size_t)(i * 7 % 1200);
        n = MIN(n, BIG - at);
        iov[i] = (struct iovec){.iov_base = big + at, .iov_len = n};
        at += n;
    }
    assert_int_equal(at, BIG);
    end->result = io_writev(&end->io, iov, PARTS, rig_in_ms(20000));
    end->is_over = true;
}

struct drain {
    int fd;
    size_t got;
    bool is_equal;
};

static void *drain_main(void *arg)
{
    struct drain *d = arg;
    char bytes[5000];
    d->is_equal = true;
    fcntl(d->fd, F_SETFL, 0);
    for (ssize_t n; d->got < BIG && (n = read(d->fd, bytes, sizeof(bytes))) > 0;) {
        d->is_equal &= memcmp(bytes, big + d->got, (size_t)n) == 0;
        d->got += (size_t)n;
    }
    return NULL;
}

static void long_writes_go_out_whole(void **state)
{
    (void)state;
    big = malloc(BIG);
    for (size_t i = 0; i < BIG; i++)
        big[i] = (char)(i * 31 >> 3);
    struct end end;
    open_pair(&end);
    struct drain drain = {.fd = end.far};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, drain_main, &drain), 0);
    spawn(write_big, &end);
    rig_turn_until(&end.is_over);
    pthread_join(thread, NULL);
    assert_int_equal(end.result, 0);
    assert_int_equal(drain.got, BIG);
    assert_true(drain.is_equal);
    assert_int_equal(end.io.bytes_out, BIG);
    end_close(&end);
    free(big);
}

static void write_to_nobody(void *arg)
{
    struct end *end = arg;
    static char bytes[4 * 1024 * 1024];
    end->result = io_write(&end->io, bytes, sizeof(bytes), rig_in_ms(30));
    end->is_over = true;
}

static void a_peer_that_does_not_read_times_the_writer_out(void **state)
{
    (void)state;
    struct end end;
    open_pair(&end);
    spawn(write_to_nobody, &end);
    rig_turn_until(&end.is_over);
    assert_int_equal(end.result, -ERR_TIMEOUT);
    end_close(&end);

    open_pair(&end);
    close(end.far);
    end.far = -1;
    spawn(write_to_nobody, &end);
    rig_turn_until(&end.is_over);
    assert_int_equal(end.result, -ERR_RESET);
    end_close(&end);
}

static void finish(void *arg)
{
    struct end *end = arg;
    assert_int_equal(io_write(&end->io, "bye", 3, rig_in_ms(10000)), 0);
    assert_int_equal(io_finish(&end->io, rig_in_ms(10000)), 0);
    /* The other direction is still open. */
    recv_once(end);
}

static void the_sending_side_can_end_alone(void **state)
{
    (void)state;
    struct end end;
    open_tcp(&end);
    spawn(finish, &end);
    turns(3);
    char bytes[8];
    assert_int_equal(read(end.far, bytes, sizeof(bytes)), 3);
    assert_int_equal(read(end.far, bytes, sizeof(bytes)), 0);
    assert_int_equal(write(end.far, "ok", 2), 2);
    rig_turn_until(&end.is_over);
    assert_int_equal(end.result, 2);
    end_close(&end);
}

static void closing_sends_the_rest_and_aborting_does_not(void **state)
{
    (void)state;
    struct end end;
    char bytes[8];
    struct iovec iov = {(char[]){"rest"}, 4};
    open_tcp(&end);
    assert_int_equal(io_try_writev(&end.io, &iov, 1), 4);
    io_close(&end.io);
    io_close(&end.io);
    assert_false(io_is_open(&end.io));
    assert_int_equal(read(end.far, bytes, sizeof(bytes)), 4);
    assert_int_equal(read(end.far, bytes, sizeof(bytes)), 0);
    end_close(&end);
    open_tcp(&end);
    io_abort(&end.io);
    assert_int_equal(read(end.far, bytes, sizeof(bytes)), -1);
    assert_int_equal(errno, ECONNRESET);
    end_close(&end);
}

/* --- another thread -------------------------------------------------------------------------- */

static void *echo_elsewhere(void *arg)
{
    struct loop *own = loop_new(1);
    struct end end = {.far = -1};
    assert_int_equal(io_open(&end.io, *(int *)arg), 0);
    spawn(recv_once, &end);
    rig_turn_until(&end.is_over);
    assert_int_equal(end.result, 5);
    io_close(&end.io);
    rig_turn_until_idle();
    loop_free(own);
    return NULL;
}

static void a_detached_descriptor_lives_elsewhere(void **state)
{
    (void)state;
    struct end end;
    open_pair(&end);
    turns(1);
    int fd = io_detach(&end.io);
    assert_true(fd >= 0);
    assert_false(io_is_open(&end.io));
    assert_int_equal(write(end.far, "hello", 5), 5);
    turns(2);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, echo_elsewhere, &fd), 0);
    pthread_join(thread, NULL);
    end_close(&end);
}

/* --- a layer --------------------------------------------------------------------------------- */

/* Turns letters by one, and holds back what it is given until it is flushed. */
static struct {
    char held[256];
    size_t held_len;
    size_t hold_max;
    bool is_finished;
    unsigned closes;
} layer;

static ssize_t shift_recv(struct io *io, char *out, size_t cap)
{
    assert_null(task_self());
    ssize_t n = io_raw_recv(io, out, MIN(cap, 4));
    for (ssize_t i = 0; i < n; i++)
        out[i]--;
    return n;
}

static int shift_flush(struct io *io)
{
    assert_null(task_self());
    while (layer.held_len > 0) {
        struct iovec iov = {layer.held, layer.held_len};
        ssize_t n = io_raw_writev(io, &iov, 1);
        if (n < 0)
            return (int)n;
        if (n == 0)
            return 1;
        layer.held_len -= (size_t)n;
        memmove(layer.held, layer.held + n, layer.held_len);
    }
    return 0;
}

static ssize_t shift_writev(struct io *io, const struct iovec *iov, int count)
{
    (void)io;
    ssize_t taken = 0;
    for (int i = 0; i < count; i++) {
        for (size_t j = 0; j < iov[i].iov_len && layer.held_len < layer.hold_max; j++, taken++)
            layer.held[layer.held_len++] = (char)(((const char *)iov[i].iov_base)[j] + 1);
    }
    if (taken == 0)
        shift_flush(io);
    return taken;
}

static bool shift_has_pending(struct io *io)
{
    assert_null(task_self());
    return (io->flags & IO_READABLE) != 0;
}

static void shift_finish(struct io *io)
{
    layer.is_finished = true;
    layer.held[layer.held_len++] = '.';
    shift_flush(io);
}

static void shift_close(struct io *io)
{
    assert_null(task_self());
    layer.closes++;
    shift_flush(io);
}

static const struct io_layer shift = {.recv = shift_recv,
                                      .writev = shift_writev,
                                      .flush = shift_flush,
                                      .has_pending = shift_has_pending,
                                      .finish = shift_finish,
                                      .close = shift_close};

static void use_layer(void *arg)
{
    struct end *end = arg;
    struct iovec iov[] = {{(char[]){"ab"}, 2}, {NULL, 0}, {(char[]){"cdefg"}, 5}};
    assert_int_equal(io_writev(&end->io, iov, 3, rig_in_ms(10000)), 0);
    assert_int_equal(layer.held_len, 0);
    struct str s;
    assert_int_equal(io_wait_readable(&end->io, rig_in_ms(10000)), 0);
    assert_int_equal(io_recv(&end->io, &s, rig_in_ms(10000)), 4);
    assert_memory_equal(s.ptr, "wxyz", 4);
    assert_int_equal(io_finish(&end->io, rig_in_ms(10000)), 0);
    io_close(&end->io);
    end->is_over = true;
}

static void a_layer_stands_between(void **state)
{
    (void)state;
    struct end end;
    memset(&layer, 0, sizeof(layer));
    layer.hold_max = 3;
    open_pair(&end);
    end.io.layer = &shift;
    spawn(use_layer, &end);
    turns(3);
    char bytes[16];
    assert_int_equal(read(end.far, bytes, sizeof(bytes)), 7);
    assert_memory_equal(bytes, "bcdefgh", 7);
    assert_int_equal(write(end.far, "xyz{", 4), 4);
    rig_turn_until(&end.is_over);
    assert_int_equal(read(end.far, bytes, sizeof(bytes)), 1);
    assert_int_equal(layer.closes, 1);
    assert_int_equal(io_detach(&end.io), -1);
    end_close(&end);
}

static void what_a_layer_holds_leaves_when_it_can(void **state)
{
    (void)state;
    struct end end;
    memset(&layer, 0, sizeof(layer));
    layer.hold_max = 100;
    open_pair(&end);
    /* Fill the socket. */
    static char bytes[1024 * 1024];
    struct iovec fill = {bytes, sizeof(bytes)};
    while (io_raw_writev(&end.io, &fill, 1) > 0)
        ;
    end.io.layer = &shift;
    struct iovec iov = {(char[]){"held"}, 4};
    assert_int_equal(io_try_writev(&end.io, &iov, 1), 4);
    turns(2);
    assert_int_equal(layer.held_len, 4);
    /* The peer reads; nobody waits for the socket. */
    fcntl(end.far, F_SETFL, O_NONBLOCK);
    for (int i = 0; i < 100 && layer.held_len > 0; i++) {
        while (read(end.far, bytes, sizeof(bytes)) > 0)
            ;
        turns(1);
    }
    assert_int_equal(layer.held_len, 0);
    end_close(&end);
}

/* --- failing calls --------------------------------------------------------------------------- */

static unsigned fail_at_call, calls;

static bool fail_nth(void *ctx, enum sys_call call, int fd, int64_t *result)
{
    (void)ctx;
    (void)fd;
    if (call == SYS_CLOSE || call == SYS_EPOLL_WAIT || call == SYS_MMAP || ++calls != fail_at_call)
        return false;
    errno = EIO;
    *result = -1;
    return true;
}

static void exchange(void *arg)
{
    struct end *end = arg;
    struct str s;
    int r = io_write(&end->io, "ping", 4, rig_in_ms(10000));
    if (r == 0)
        r = (int)io_recv(&end->io, &s, rig_in_ms(10000));
    end->result = r;
    io_close(&end->io);
    end->is_over = true;
}

static void a_failed_call_is_an_error(void **state)
{
    (void)state;
    unsigned failures = 0;
    for (fail_at_call = 1;; fail_at_call++) {
        int pair[2];
        assert_int_equal(sys_socketpair(pair), 0);
        assert_int_equal(write(pair[1], "pong", 4), 4);
        struct end end = {.far = pair[1]};
        calls = 0;
        sys_hook(fail_nth, NULL);
        if (io_open(&end.io, pair[0]) < 0) {
            assert_false(io_is_open(&end.io));
            assert_int_equal(fcntl(pair[0], F_GETFD), -1);
            end.result = -1;
        } else {
            spawn(exchange, &end);
            rig_turn_until(&end.is_over);
        }
        sys_hook(NULL, NULL);
        close(end.far);
        if (calls < fail_at_call) {
            assert_int_equal(end.result, 4);
            break;
        }
        failures += end.result < 0;
    }
    assert_true(failures >= 3);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, rig_up, rig_down)
    const struct CMUnitTest tests[] = {
        TEST(a_read_waits_for_bytes),
        TEST(reads_take_what_is_there),
        TEST(bytes_and_end_at_once_lose_nothing),
        TEST(a_reset_is_no_orderly_end),
        TEST(waits_have_deadlines),
        TEST(a_cancelled_reader_leaves),
        TEST(a_hang_up_cancels_whoever_cares),
        TEST(long_writes_go_out_whole),
        TEST(a_peer_that_does_not_read_times_the_writer_out),
        TEST(the_sending_side_can_end_alone),
        TEST(closing_sends_the_rest_and_aborting_does_not),
        TEST(a_detached_descriptor_lives_elsewhere),
        TEST(a_layer_stands_between),
        TEST(what_a_layer_holds_leaves_when_it_can),
        TEST(a_failed_call_is_an_error),
    };
#undef TEST
    return cmocka_run_group_tests_name("rt/io", tests, NULL, NULL);
}
