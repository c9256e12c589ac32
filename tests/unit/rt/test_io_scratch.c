#include "rt/io.h"

#include <unistd.h>

#include "base/mem.h"
#include "rig.h"
#include "rt/sys.h"

/*
 * What one task has read lies in the buffer that all tasks of the thread read into. While a slow
 * peer takes it, other tasks go on reading: the peer must get the bytes of its own stream.
 */

enum { CHUNK_BYTES = 48 * 1024 };

struct relay {
    struct io in, out;
    int feed, drain; /* the far ends */
    char letter;
    int result;
    uint64_t fail_at; /* an allocation that fails, 0 = none */
    bool is_done;
};

static void open_relay(struct relay *relay, char letter)
{
    int in[2], out[2];
    *relay = (struct relay){.letter = letter};
    assert_int_equal(sys_socketpair(in), 0);
    assert_int_equal(sys_socketpair(out), 0);
    int small = 4096;
    setsockopt(out[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    assert_int_equal(io_open(&relay->in, in[0]), 0);
    assert_int_equal(io_open(&relay->out, out[0]), 0);
    relay->feed = in[1];
    relay->drain = out[1];
    static char bytes[CHUNK_BYTES];
    memset(bytes, letter, sizeof(bytes));
    assert_int_equal(write(relay->feed, bytes, sizeof(bytes)), CHUNK_BYTES);
}

static void close_relay(struct relay *relay)
{
    io_close(&relay->in);
    io_close(&relay->out);
    close(relay->feed);
    close(relay->drain);
}

static void relay_once(void *arg)
{
    struct relay *relay = arg;
    struct str got;
    ssize_t n = io_recv(&relay->in, &got, rig_in_ms(10000));
    assert_int_equal(n, CHUNK_BYTES);
    char head[] = "head:";
    struct iovec iov[] = {{head, 5}, {(void *)(uintptr_t)got.ptr, got.len}};
    mem_fail_at(relay->fail_at);
    relay->result = io_writev(&relay->out, iov, 2, rig_in_ms(10000));
    mem_fail_at(0);
    relay->is_done = true;
}

/* Takes all that the relay sent; the number of bytes that are its own. */
static size_t drain(struct relay *relay)
{
    static char bytes[CHUNK_BYTES + 5];
    size_t got = 0, own = 0;
    int64_t give_up_ns = rig_in_ms(20000);
    while (got < sizeof(bytes) && clock_mono_ns() < give_up_ns) {
        ssize_t n = read(relay->drain, bytes + got, sizeof(bytes) - got);
        got += n > 0 ? (size_t)n : 0;
        loop_turn(loop_self(), 0);
    }
    assert_int_equal(got, sizeof(bytes));
    assert_memory_equal(bytes, "head:", 5);
    for (size_t i = 5; i < got; i++)
        own += bytes[i] == relay->letter;
    return own;
}

static void a_slow_peer_gets_its_own_bytes(void **state)
{
    (void)state;
    struct loop *loop = loop_new(0);
    struct relay slow, other;
    open_relay(&slow, 'a');
    open_relay(&other, 'b');
    assert_non_null(task_spawn(RUN_NORMAL, "slow", relay_once, &slow));
    for (int i = 0; i < 5; i++)
        loop_turn(loop, 0);
    assert_non_null(task_spawn(RUN_NORMAL, "other", relay_once, &other));
    for (int i = 0; i < 5; i++)
        loop_turn(loop, 0);
    assert_false(slow.is_done);
    assert_int_equal(drain(&slow), CHUNK_BYTES);
    assert_int_equal(drain(&other), CHUNK_BYTES);
    rig_turn_until_idle();
    assert_int_equal(slow.result, 0);
    assert_int_equal(other.result, 0);
    close_relay(&slow);
    close_relay(&other);
    loop_free(loop);
}

static void without_memory_the_write_fails(void **state)
{
    (void)state;
    struct loop *loop = loop_new(0);
    struct relay relay;
    open_relay(&relay, 'a');
    relay.fail_at = 1;
    assert_non_null(task_spawn(RUN_NORMAL, "relay", relay_once, &relay));
    rig_turn_until_idle();
    assert_int_equal(relay.result, -ERR_NOMEM);
    close_relay(&relay);
    loop_free(loop);
}

struct listener_to_both {
    struct io io;
    int far;
    int result;
    unsigned flags;
};

static void wait_for_either(void *arg)
{
    struct listener_to_both *l = arg;
    l->result = io_wait_any(&l->io, rig_in_ms(50));
    l->flags = l->io.flags;
}

static void a_sender_hears_an_early_answer(void **state)
{
    (void)state;
    struct loop *loop = loop_new(0);
    for (int what = 0; what < 3; what++) {
        struct listener_to_both l = {0};
        int fds[2];
        assert_int_equal(sys_socketpair(fds), 0);
        assert_int_equal(io_open(&l.io, fds[0]), 0);
        l.far = fds[1];
        static char bytes[4096];
        struct iovec iov = {bytes, sizeof(bytes)};
        ssize_t n;
        while ((n = io_try_writev(&l.io, &iov, 1)) > 0)
            continue;
        assert_int_equal(n, 0);
        assert_non_null(task_spawn(RUN_NORMAL, "either", wait_for_either, &l));
        loop_turn(loop, 0);
        if (what == 0) {
            assert_int_equal(write(l.far, "x", 1), 1);
        } else if (what == 1) {
            while (read(l.far, bytes, sizeof(bytes)) > 0)
                continue;
        }
        rig_turn_until_idle();
        assert_int_equal(l.result, what == 2 ? -ERR_TIMEOUT : 0);
        assert_int_equal((l.flags & IO_READABLE) != 0, what == 0);
        assert_int_equal((l.flags & IO_WRITABLE) != 0, what == 1);
        io_close(&l.io);
        close(l.far);
    }
    loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slow_peer_gets_its_own_bytes),
        cmocka_unit_test(without_memory_the_write_fails),
        cmocka_unit_test(a_sender_hears_an_early_answer),
    };
    return cmocka_run_group_tests_name("rt/io-scratch", tests, NULL, NULL);
}
