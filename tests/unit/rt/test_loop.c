#include "rt/loop.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "base/mem.h"
#include "rig.h"
#include "rt/sys.h"

/* --- mail ------------------------------------------------------------------------------------ */

enum { SENDERS = 4, LETTERS = 2000 };

struct letter {
    struct mail mail;
    unsigned sender, number;
};

struct post_office {
    struct loop *loop;
    unsigned got[SENDERS]; /* of the loop's thread alone */
    bool is_complete;
    struct letter letters[SENDERS][LETTERS];
};

static struct post_office office;

static void on_letter(struct mail *mail)
{
    struct letter *letter = CONTAINER_OF(mail, struct letter, mail);
    assert_ptr_equal(loop_self(), office.loop);
    assert_false(task_may_yield());
    /* One sender's letters come in the order in which they were sent. */
    assert_int_equal(letter->number, office.got[letter->sender]);
    office.got[letter->sender]++;
    unsigned all = 0;
    for (unsigned i = 0; i < SENDERS; i++)
        all += office.got[i];
    office.is_complete = all == SENDERS * LETTERS;
}

static void *send_letters(void *arg)
{
    unsigned sender = (unsigned)(uintptr_t)arg;
    for (unsigned i = 0; i < LETTERS; i++) {
        struct letter *letter = &office.letters[sender][i];
        *letter = (struct letter){.mail.fn = on_letter, .sender = sender, .number = i};
        loop_post(office.loop, &letter->mail);
    }
    return NULL;
}

static void mail_arrives_whole_and_in_order(void **state)
{
    (void)state;
    office.loop = loop_new(0);
    pthread_t senders[SENDERS];
    for (uintptr_t i = 0; i < SENDERS; i++)
        assert_int_equal(pthread_create(&senders[i], NULL, send_letters, (void *)i), 0);
    rig_turn_until(&office.is_complete);
    for (size_t i = 0; i < SENDERS; i++)
        pthread_join(senders[i], NULL);
    assert_int_equal(loop_stats(office.loop)->mails, SENDERS * LETTERS);
    loop_free(office.loop);
}

/* --- stopping -------------------------------------------------------------------------------- */

struct runner {
    pthread_t thread;
    pthread_barrier_t is_up;
    struct loop *loop;
    struct mail stop;
};

static void *runner_main(void *arg)
{
    struct runner *runner = arg;
    runner->loop = loop_new(1);
    pthread_barrier_wait(&runner->is_up);
    loop_run(runner->loop);
    loop_free(runner->loop);
    return NULL;
}

static void stop_here(struct mail *mail)
{
    (void)mail;
    loop_stop(loop_self());
}

/* The loop goes as soon as it has read the mail; who posted it may still be in loop_post. */
static void a_loop_may_be_ended_by_mail(void **state)
{
    (void)state;
    for (int i = 0; i < 300; i++) {
        struct runner runner = {.stop.fn = stop_here};
        pthread_barrier_init(&runner.is_up, NULL, 2);
        assert_int_equal(pthread_create(&runner.thread, NULL, runner_main, &runner), 0);
        pthread_barrier_wait(&runner.is_up);
        if (i % 2 == 0)
            loop_post(runner.loop, &runner.stop);
        else
            loop_stop(runner.loop);
        pthread_join(runner.thread, NULL);
        pthread_barrier_destroy(&runner.is_up);
    }
}

static void a_thread_knows_its_loop(void **state)
{
    (void)state;
    assert_null(loop_self());
    struct loop *loop = loop_new(7);
    assert_ptr_equal(loop_self(), loop);
    assert_int_equal(loop_index(loop), 7);
    assert_true(pthread_equal(loop_thread(loop), pthread_self()));
    loop_free(loop);
    assert_null(loop_self());
}

/* --- jobs ------------------------------------------------------------------------------------ */

struct counted_job {
    struct job job;
    unsigned runs;
    bool again;
    struct counted_job *unqueue;
};

static void run_counted(struct job *job)
{
    struct counted_job *c = CONTAINER_OF(job, struct counted_job, job);
    c->runs++;
    if (c->again)
        loop_queue(job);
    if (c->unqueue != NULL)
        loop_unqueue(&c->unqueue->job);
}

static void jobs_run_once_a_turn(void **state)
{
    (void)state;
    struct loop *loop = loop_new(0);
    struct counted_job a = {0}, b = {.again = true}, c = {0};
    job_init(&a.job, run_counted);
    job_init(&b.job, run_counted);
    job_init(&c.job, run_counted);
    loop_queue(&a.job);
    loop_queue(&a.job);
    loop_queue(&b.job);
    loop_turn(loop, 0);
    assert_int_equal(a.runs, 1);
    assert_int_equal(b.runs, 1);
    /* A waiting job keeps the loop from sleeping. */
    int64_t start_ns = clock_mono_ns();
    loop_turn(loop, 20 * NS_PER_SEC);
    loop_turn(loop, 20 * NS_PER_SEC);
    assert_true(clock_mono_ns() - start_ns < 10 * NS_PER_SEC);
    assert_int_equal(b.runs, 3);
    /* One that takes the next out of the queue. */
    b.again = false;
    a.unqueue = &c;
    loop_unqueue(&b.job);
    loop_queue(&a.job);
    loop_queue(&c.job);
    loop_turn(loop, 0);
    assert_int_equal(a.runs, 2);
    assert_int_equal(b.runs, 3);
    assert_int_equal(c.runs, 0);
    loop_free(loop);
}

/* --- descriptors ----------------------------------------------------------------------------- */

struct watched {
    struct pollable pollable;
    int far;
    unsigned calls;
    uint32_t ready;
    struct watched *other; /* is closed by this one's callback */
    bool is_open;
};

static void watched_close(struct watched *w)
{
    if (!w->is_open)
        return;
    loop_unwatch(&w->pollable);
    close(w->pollable.fd);
    close(w->far);
    w->is_open = false;
}

static void on_ready(struct pollable *p)
{
    struct watched *w = CONTAINER_OF(p, struct watched, pollable);
    assert_true(w->is_open);
    w->calls++;
    w->ready = p->ready;
    p->ready = 0;
    if (w->other != NULL)
        watched_close(w->other);
}

static void watched_open(struct watched *w)
{
    int pair[2];
    assert_int_equal(sys_socketpair(pair), 0);
    *w = (struct watched){.far = pair[1], .is_open = true};
    assert_int_equal(loop_watch(&w->pollable, pair[0], on_ready), 0);
}

static void events_come_on_change(void **state)
{
    (void)state;
    struct loop *loop = loop_new(0);
    struct watched w;
    watched_open(&w);
    loop_turn(loop, 0);
    assert_int_equal(w.calls, 1);
    assert_int_equal(w.ready, EPOLLOUT);
    loop_turn(loop, 0);
    assert_int_equal(w.calls, 1);
    assert_int_equal(write(w.far, "x", 1), 1);
    loop_turn(loop, 0);
    assert_int_equal(w.calls, 2);
    assert_true((w.ready & EPOLLIN) != 0);
    loop_turn(loop, 0);
    assert_int_equal(w.calls, 2);
    shutdown(w.far, SHUT_WR);
    loop_turn(loop, 0);
    assert_true((w.ready & EPOLLRDHUP) != 0);
    watched_close(&w);
    loop_free(loop);
}

static void no_event_meets_what_was_closed(void **state)
{
    (void)state;
    struct loop *loop = loop_new(0);
    for (int round = 0; round < 20; round++) {
        struct watched a, b;
        watched_open(&a);
        watched_open(&b);
        /* Both have news in the same turn; whichever comes first closes the other. */
        a.other = &b;
        b.other = &a;
        loop_turn(loop, 0);
        assert_int_equal(a.calls + b.calls, 1);
        watched_close(&a);
        watched_close(&b);
        loop_turn(loop, 0);
    }
    loop_free(loop);
}

/* A child between fork and exec holds a copy of every descriptor. */
static void a_copy_elsewhere_keeps_no_event_alive(void **state)
{
    (void)state;
    struct loop *loop = loop_new(0);
    struct watched w;
    watched_open(&w);
    loop_turn(loop, 0);
    int copy = dup(w.pollable.fd), far = dup(w.far);
    watched_close(&w);
    assert_int_equal(write(far, "x", 1), 1);
    w.calls = 0;
    loop_turn(loop, 0);
    assert_int_equal(w.calls, 0);
    close(copy);
    close(far);
    loop_free(loop);
}

/* --- failing calls --------------------------------------------------------------------------- */

static unsigned fail_at_call, calls;

static bool fail_nth(void *ctx, enum sys_call call, int fd, int64_t *result)
{
    (void)ctx;
    (void)fd;
    if (call == SYS_CLOSE || ++calls != fail_at_call)
        return false;
    errno = EMFILE;
    *result = -1;
    return true;
}

static void a_loop_that_cannot_be_is_null(void **state)
{
    (void)state;
    unsigned failures = 0;
    for (fail_at_call = 1;; fail_at_call++) {
        calls = 0;
        sys_hook(fail_nth, NULL);
        struct loop *loop = loop_new(0);
        sys_hook(NULL, NULL);
        if (loop != NULL) {
            loop_free(loop);
            break;
        }
        failures++;
        assert_null(loop_self());
        assert_int_equal(err_slot()->code, ERR_IO);
    }
    assert_true(failures >= 2);
    for (uint64_t n = 1; n <= 2; n++) {
        mem_fail_at(n);
        assert_null(loop_new(0));
        assert_int_equal(err_slot()->code, ERR_NOMEM);
    }
    mem_fail_at(0);
}

static void a_bad_descriptor_cannot_be_watched(void **state)
{
    (void)state;
    struct loop *loop = loop_new(0);
    struct pollable p;
    assert_int_equal(loop_watch(&p, -1, on_ready), -ERR_IO);
    assert_int_equal(err_slot()->errno_value, EBADF);
    loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mail_arrives_whole_and_in_order),
        cmocka_unit_test(a_loop_may_be_ended_by_mail),
        cmocka_unit_test(a_thread_knows_its_loop),
        cmocka_unit_test(jobs_run_once_a_turn),
        cmocka_unit_test(events_come_on_change),
        cmocka_unit_test(no_event_meets_what_was_closed),
        cmocka_unit_test(a_copy_elsewhere_keeps_no_event_alive),
        cmocka_unit_test(a_loop_that_cannot_be_is_null),
        cmocka_unit_test(a_bad_descriptor_cannot_be_watched),
    };
    return cmocka_run_group_tests_name("rt/loop", tests, NULL, NULL);
}
