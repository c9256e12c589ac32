#include <errno.h>

#include "base/log.h"
#include "base/mem.h"
#include "calling.h"
#include "rt/sys.h"

/*
 * Every allocation and every system call of a few calls fails, each in turn: an error must come
 * out, or the right answer, and nothing may be left over (run_client looks).
 */

/* Answers without taking memory, for it is the client's failures that are looked for. The second
 * request of the first connection is met by its end, so that the free retry has its turn. */
static void script_frugal(struct served *served)
{
    for (unsigned n = 0; n < 2 - served->index % 2; n++) {
        struct str bytes;
        do {
            if (io_recv(&served->io, &bytes, CLOCK_NEVER) < 0)
                return;
        } while (!str_ends(bytes, STR("\r\n\r\n")));
        if (n == 1)
            return;
        struct str parts[] = {
            STR("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Some: header\r\n\r\n5\r\nhel"),
            STR("lo\r\n5\r\nworld\r\n0\r\n\r\n")};
        if (!upstream_send(served, parts[0]))
            return;
        settle();
        if (!upstream_send(served, parts[1]))
            return;
    }
    if (io_wait_readable(&served->io, CLOCK_NEVER) < 0)
        return;
}

struct faulty {
    uint64_t fail_memory_at; /* 0 = none */
    unsigned fail_call_at;
    int error; /* errno of the failing system call */
    bool over_tcp;
    bool had_fault; /* the N-th was reached */
    bool had_error;
    unsigned calls;
};

static bool fail_nth(void *ctx, enum sys_call call, int fd, int64_t *result)
{
    struct faulty *f = ctx;
    (void)fd;
    if (call == SYS_CLOSE || call == SYS_EPOLL_WAIT || ++f->calls != f->fail_call_at)
        return false;
    f->had_fault = true;
    errno = f->error;
    *result = -1;
    return true;
}

static void judge(struct faulty *f, struct outcome *o)
{
    if (o->result == 0) {
        assert_int_equal(o->status, 200);
        assert_true(str_eq(buf_str(&o->body), STR("helloworld")));
    } else {
        f->had_error = true;
        assert_int_equal(o->result, -o->err.code);
        assert_true(o->err.message[0] != '\0');
    }
    outcome_fini(o);
}

static void call_thrice(void *arg)
{
    struct faulty *f = arg;
    struct upstream up = {.script = script_frugal};
    struct http_origin origin = f->over_tcp ? upstream_listen(&up) : upstream_in_process(&up);
    struct http_timeouts timeouts = patient;
    timeouts.first_byte_ns = timeouts.idle_ns = timeouts.connect_ns = 2 * NS_PER_SEC;
    struct http_header headers[] = {{STR("X-A"), STR("1")}, {STR("X-B"), STR("2")}};
    struct http_headers list = {headers, 2, 2};
    struct http_call_request request = get_request();
    request.headers = &list;
    f->had_fault = f->had_error = false;
    f->calls = 0;
    sys_hook(fail_nth, f);
    mem_fail_at(f->fail_memory_at);
    for (int i = 0; i < 3; i++) {
        struct outcome o;
        call_with(&o, &origin, &request, &timeouts);
        judge(f, &o);
    }
    f->had_fault = f->had_fault || (f->fail_memory_at != 0 && mem_count() >= f->fail_memory_at);
    mem_fail_at(0);
    sys_hook(NULL, NULL);
    part_from(&up);
}

static void every_failed_allocation_is_survived(void **state)
{
    (void)state;
    struct faulty f = {.had_fault = true};
    unsigned errors = 0, faults = 0;
    for (f.fail_memory_at = 1; f.had_fault; f.fail_memory_at++) {
        run_client(call_thrice, &f, NULL);
        faults += f.had_fault;
        errors += f.had_error;
        assert_true(f.fail_memory_at < 1000);
    }
    assert_true(faults >= 10);
    assert_true(errors >= 5);
    assert_false(f.had_error); /* with nothing failing there is none */
}

static void every_failed_system_call_is_survived(void **state)
{
    (void)state;
    static const int errors_tried[] = {ECONNRESET, EMFILE, ENOBUFS};
    for (size_t i = 0; i < ARRAY_LEN(errors_tried); i++) {
        for (int over_tcp = 0; over_tcp < 2; over_tcp++) {
            struct faulty f = {
                .had_fault = true, .error = errors_tried[i], .over_tcp = over_tcp != 0};
            unsigned errors = 0, faults = 0;
            for (f.fail_call_at = 1; f.had_fault; f.fail_call_at++) {
                run_client(call_thrice, &f, NULL);
                faults += f.had_fault;
                errors += f.had_error;
                assert_true(f.fail_call_at < 1000);
            }
            assert_true(faults >= 15);
            assert_true(errors >= 5);
            assert_false(f.had_error);
        }
    }
}

/* The listener says what it cannot do; that is not what is looked at here. */
static void say_nothing(struct str line)
{
    (void)line;
}

int main(void)
{
    log_set_sink(say_nothing);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_failed_allocation_is_survived),
        cmocka_unit_test(every_failed_system_call_is_survived),
    };
    return cmocka_run_group_tests_name("http/client-faults", tests, NULL, NULL);
}
