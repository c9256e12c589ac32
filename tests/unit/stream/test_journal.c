/* Journals: what is numbered, what is kept and for how long, who waits for whom. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <pthread.h>

#include "base/clock.h"
#include "base/mem.h"
#include "http/event_stream.h"
#include "rt/loop.h"
#include "stream/journal_memory.h"
#include "stream/journal_writer.h"

static struct journal_store *store;
static struct loop *loop;

static const struct journal_limits plenty = {1 << 20, 64 << 20, 60 * NS_PER_SEC};

static int set_up(void **state)
{
    (void)state;
    loop = loop_new(0);
    store = journal_memory_new();
    return loop == NULL || store == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    journal_memory_free(store);
    loop_free(loop);
    clock_real();
    return 0;
}

/* Runs it as a task until it ends. */
static void run(task_fn *fn, void *arg)
{
    assert_non_null(task_spawn(RUN_NORMAL, "test", fn, arg));
    for (int i = 0; i < 10000 && task_count() > 0; i++)
        loop_turn(loop, NS_PER_MS);
    assert_int_equal(task_count(), 0);
}

static struct journal *make(struct journal_limits limits, const char *once, char digest)
{
    struct journal *journal = NULL;
    struct journal_spec spec = {
        .owner = STR("me"), .once_key = str_c(once), .digest = {(uint8_t)digest}, .limits = limits};
    assert_int_equal(journal_create(store, &spec, &journal), JOURNAL_NEW);
    return journal;
}

static enum journal_verdict look(struct str id, const char *owner, enum journal_gone *why)
{
    struct journal *journal = NULL;
    enum journal_verdict verdict = journal_find(store, id, str_c(owner), &journal, why);
    if (journal != NULL)
        journal_unref(journal);
    return verdict;
}

static void add(struct journal *journal, size_t bytes)
{
    static char text[64 * 1024];
    memset(text, 'x', sizeof(text));
    struct journal_event event = {{str_n(text, bytes)}, true};
    assert_int_equal(journal_append(journal, &event), 0);
}

/* All that can be read after event n, of a journal that has ended. */
static void read_all(struct journal *journal, uint64_t after, struct buf *out)
{
    struct journal_reader reader;
    bool is_last = false;
    assert_int_equal(journal_attach(journal, &reader, after), JOURNAL_HERE);
    while (!is_last)
        assert_int_equal(journal_read(&reader, out, out->len + 7, &is_last, CLOCK_NEVER), 0);
    journal_leave(&reader);
}

static uint64_t held(void)
{
    struct journal_memory_stats stats;
    journal_memory_stats(store, &stats);
    return stats.bytes;
}

/* --- numbers --- */

struct cutting {
    enum journal_shape shape;
    struct str body, wanted;
    uint64_t events;
};

static void write_in_two(const struct cutting *c, size_t cut)
{
    struct journal *journal = make(plenty, "", 0);
    struct journal_writer w;
    struct buf out = BUF_INIT;
    struct str head = str_head(c->body, cut), tail = str_skip(c->body, cut);
    struct iovec iov[2] = {{(void *)(uintptr_t)head.ptr, head.len},
                           {(void *)(uintptr_t)tail.ptr, tail.len}};
    journal_writer_init(&w, journal, c->shape, true, 1 << 20);
    assert_int_equal(journal_writer_write(&w, &iov[0], 1), 0);
    assert_int_equal(journal_writer_write(&w, &iov[1], 1), 0);
    assert_int_equal(journal_writer_end(&w), 0);
    assert_int_equal(w.number, c->events);
    journal_writer_fini(&w);
    journal_end(journal, true, true);
    read_all(journal, 0, &out);
    assert_int_equal(out.len, c->wanted.len);
    assert_memory_equal(out.ptr, c->wanted.ptr, out.len);
    for (uint64_t n = 1; n < c->events; n++) {
        struct buf rest = BUF_INIT;
        read_all(journal, n, &rest);
        assert_true(rest.len > 0 && rest.len < out.len);
        assert_memory_equal(rest.ptr, out.ptr + out.len - rest.len, rest.len);
        buf_fini(&rest);
    }
    buf_fini(&out);
    journal_unref(journal);
}

static void cut_everywhere(void *arg)
{
    const struct cutting *c = arg;
    for (size_t cut = 0; cut <= c->body.len; cut++)
        write_in_two(c, cut);
}

static void events_get_their_number_wherever_the_bytes_are_cut(void **state)
{
    (void)state;
    struct cutting c = {
        .shape = JOURNAL_SHAPE_SSE,
        .body = STR("data: a\n\n: comment\n\nevent: x\ndata: b\ndata: c\n\nid: own\ndata: d\n\n"),
        .wanted = STR("data: a\nid: 1\n\n: comment\n\nevent: x\ndata: b\ndata: c\nid: 2\n\n"
                      "id: own\ndata: d\nid: 3\n\n"),
        .events = 3,
    };
    run(cut_everywhere, &c);
}

static void an_event_without_an_end_gets_one(void **state)
{
    (void)state;
    struct cutting c = {JOURNAL_SHAPE_SSE, STR("data: a\n\ndata: b"),
                        STR("data: a\nid: 1\n\ndata: b\nid: 2\n\n"), 2};
    run(cut_everywhere, &c);
    c.body = STR("data: a\n\ndata: b\n");
    run(cut_everywhere, &c);
}

static void line_ends_stay_what_they_are(void **state)
{
    (void)state;
    struct cutting c = {JOURNAL_SHAPE_SSE, STR("data: a\r\n\r\ndata: b\r\n\r\n"),
                        STR("data: a\r\nid: 1\n\r\ndata: b\r\nid: 2\n\r\n"), 2};
    run(cut_everywhere, &c);
    c.body = STR("data: a\r\rdata: b\r\r");
    c.wanted = STR("data: a\rid: 1\n\rdata: b\rid: 2\n\r");
    run(cut_everywhere, &c);
}

static void the_elements_of_an_array_are_its_events(void **state)
{
    (void)state;
    struct str body = STR("[{\"a\":\"]}\\\"[\"},\r\n{\"b\":[{},[1]]}\n,\r\n{}]");
    struct cutting c = {JOURNAL_SHAPE_ARRAY, body, body, 3};
    run(cut_everywhere, &c);
}

static void a_frame_is_an_event(void **state)
{
    (void)state;
    struct buf body = BUF_INIT;
    for (int i = 0; i < 3; i++) {
        size_t mark = event_stream_begin(&body, STR("event"), STR("chunk"));
        buf_add_str(&body, STR("{\"n\":1}"));
        event_stream_end(&body, mark);
    }
    struct cutting c = {JOURNAL_SHAPE_FRAMES, buf_str(&body), buf_str(&body), 3};
    run(cut_everywhere, &c);
    buf_fini(&body);
}

/* --- places --- */

static void try_places(void *arg)
{
    struct journal_reader reader;
    struct journal *journal = make(plenty, "", 0);
    (void)arg;
    assert_int_equal(journal_attach(journal, &reader, 1), JOURNAL_BEYOND);
    add(journal, 10);
    add(journal, 10);
    assert_int_equal(journal_attach(journal, &reader, 3), JOURNAL_BEYOND);
    assert_int_equal(reader.first, 1);
    assert_int_equal(reader.last, 2);
    assert_int_equal(journal_attach(journal, &reader, 2), JOURNAL_HERE);
    journal_leave(&reader);
    journal_end(journal, true, true);
    assert_int_equal(journal_attach(journal, &reader, 2), JOURNAL_READ);
    journal_unref(journal);

    journal = make(plenty, "", 0);
    add(journal, 10);
    journal_end(journal, false, true);
    assert_int_equal(journal_attach(journal, &reader, 1), JOURNAL_CUT);
    assert_int_equal(journal_attach(journal, &reader, 0), JOURNAL_HERE);
    struct buf out = BUF_INIT;
    bool is_last = false;
    assert_int_equal(journal_read(&reader, &out, 99, &is_last, CLOCK_NEVER), 0);
    assert_false(is_last);
    out.len = 0;
    assert_int_equal(journal_read(&reader, &out, 99, &is_last, CLOCK_NEVER), -ERR_RESET);
    journal_leave(&reader);
    buf_fini(&out);
    journal_unref(journal);
}

static void a_reader_is_told_where_it_stands(void **state)
{
    (void)state;
    run(try_places, NULL);
}

/* --- bounds --- */

struct pair {
    struct journal *journal;
    struct journal_reader reader;
    int events;
    uint64_t most;
    size_t read;
    bool has_produced;
};

static void produce(void *arg)
{
    struct pair *pair = arg;
    for (int i = 0; i < pair->events; i++) {
        add(pair->journal, 1000);
        assert_int_equal(journal_pass(pair->journal), 0);
        pair->most = MAX(pair->most, held());
    }
    journal_end(pair->journal, true, true);
    pair->has_produced = true;
}

static void consume_slowly(void *arg)
{
    struct pair *pair = arg;
    bool is_last = false;
    while (!is_last) {
        struct buf out = BUF_INIT;
        assert_int_equal(journal_read(&pair->reader, &out, 3000, &is_last, CLOCK_NEVER), 0);
        pair->read += out.len;
        buf_fini(&out);
        task_yield();
    }
    journal_leave(&pair->reader);
}

static void a_slow_reader_loses_nothing_and_holds_the_producer(void **state)
{
    (void)state;
    struct journal_limits limits = {64 * 1024, 64 << 20, NS_PER_SEC};
    struct pair pair = {.journal = make(limits, "", 0), .events = 1000};
    assert_int_equal(journal_attach(pair.journal, &pair.reader, 0), JOURNAL_HERE);
    task_spawn(RUN_NORMAL, "producer", produce, &pair);
    for (int i = 0; i < 20; i++)
        loop_turn(loop, 0);
    assert_false(pair.has_produced);
    run(consume_slowly, &pair);
    assert_int_equal(pair.read, 1000 * 1000);
    assert_true(pair.most < 64 * 1024 + 20 * 1024);
    struct journal_reader reader;
    assert_int_equal(journal_attach(pair.journal, &reader, 0), JOURNAL_DROPPED);
    assert_true(reader.first > 900 && reader.last == 1000);
    assert_int_equal(journal_attach(pair.journal, &reader, reader.first), JOURNAL_HERE);
    journal_leave(&reader);
    journal_unref(pair.journal);
}

static void without_a_reader_the_producer_stops_at_the_bound(void **state)
{
    (void)state;
    struct journal_limits limits = {64 * 1024, 64 << 20, NS_PER_SEC};
    struct pair pair = {.journal = make(limits, "", 0), .events = 200};
    task_spawn(RUN_NORMAL, "producer", produce, &pair);
    for (int i = 0; i < 20; i++)
        loop_turn(loop, 0);
    assert_false(pair.has_produced);
    assert_true(journal_unread_since(pair.journal) > 0);
    assert_int_equal(journal_attach(pair.journal, &pair.reader, 0), JOURNAL_HERE);
    assert_int_equal(journal_unread_since(pair.journal), 0);
    run(consume_slowly, &pair);
    assert_int_equal(pair.read, 200 * 1000);
    assert_true(pair.has_produced);
    journal_unref(pair.journal);
}

enum { MANY = 200 };

static void many_streams_stay_within_the_bound(void **state)
{
    (void)state;
    struct journal_limits limits = {1 << 20, 32 << 20, NS_PER_SEC};
    struct pair *pairs = mem_calloc(MANY, sizeof(*pairs));
    for (int i = 0; i < MANY; i++) {
        pairs[i] = (struct pair){.journal = make(limits, "", 0), .events = 1200};
        task_spawn(RUN_NORMAL, "producer", produce, &pairs[i]);
    }
    for (int i = 0; i < 100; i++)
        loop_turn(loop, 0);
    assert_true(held() <= 32 << 20);
    for (int i = 0; i < MANY; i++) {
        assert_false(pairs[i].has_produced);
        assert_int_equal(journal_attach(pairs[i].journal, &pairs[i].reader, 0), JOURNAL_HERE);
        task_spawn(RUN_NORMAL, "reader", consume_slowly, &pairs[i]);
    }
    for (int i = 0; i < 100000 && task_count() > 0; i++)
        loop_turn(loop, NS_PER_MS);
    assert_int_equal(task_count(), 0);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(pairs[i].read, 1200 * 1000);
        assert_true(pairs[i].most <= 32 << 20);
        journal_unref(pairs[i].journal);
    }
    mem_free(pairs);
}

static void end_one(struct journal_limits limits, char id[JOURNAL_ID_LEN])
{
    struct journal *journal = make(limits, "", 0);
    for (int i = 0; i < 10; i++)
        add(journal, 50 * 1000);
    memcpy(id, journal->id, JOURNAL_ID_LEN);
    journal_end(journal, true, true);
    journal_unref(journal);
}

static void the_oldest_that_ended_make_room(void **state)
{
    (void)state;
    struct journal_limits limits = {1 << 20, 4 << 20, 60 * NS_PER_SEC};
    char ids[20][JOURNAL_ID_LEN];
    enum journal_gone why = JOURNAL_GONE_TTL;
    for (int i = 0; i < 20; i++)
        end_one(limits, ids[i]);
    assert_true(held() <= 4 << 20);
    assert_int_equal(look(str_n(ids[0], JOURNAL_ID_LEN), "me", &why), JOURNAL_GONE);
    assert_int_equal(why, JOURNAL_GONE_ROOM);
    assert_int_equal(look(str_n(ids[19], JOURNAL_ID_LEN), "me", &why), JOURNAL_FOUND);
    assert_int_equal(look(str_n(ids[15], JOURNAL_ID_LEN), "me", &why), JOURNAL_FOUND);
}

static void its_time_ends_and_is_remembered(void **state)
{
    (void)state;
    char id[JOURNAL_ID_LEN];
    enum journal_gone why = JOURNAL_GONE_ROOM;
    clock_fake(NS_PER_SEC, NS_PER_SEC);
    end_one(plenty, id);
    struct str text = str_n(id, sizeof(id));
    assert_int_equal(journal_sweep(store, clock_mono_ns()), 61 * NS_PER_SEC);
    clock_fake_advance(59 * NS_PER_SEC);
    assert_int_equal(look(text, "me", &why), JOURNAL_FOUND);
    assert_int_equal(look(text, "you", &why), JOURNAL_UNKNOWN);
    assert_int_equal(look(STR("stm_no"), "me", &why), JOURNAL_UNKNOWN);
    clock_fake_advance(2 * NS_PER_SEC);
    assert_int_equal(journal_sweep(store, clock_mono_ns()), CLOCK_NEVER);
    assert_int_equal(held(), 0);
    assert_int_equal(look(text, "me", &why), JOURNAL_GONE);
    assert_int_equal(why, JOURNAL_GONE_TTL);
    assert_int_equal(look(text, "you", &why), JOURNAL_UNKNOWN);
}

static void what_somebody_reads_is_not_given_up(void **state)
{
    (void)state;
    struct journal *journal = make(plenty, "", 0);
    struct journal_reader reader;
    enum journal_gone why = JOURNAL_GONE_TTL;
    assert_int_equal(journal_attach(journal, &reader, 0), JOURNAL_HERE);
    assert_false(journal_give_up(journal, JOURNAL_GONE_UNREAD));
    journal_leave(&reader);
    assert_true(journal_give_up(journal, JOURNAL_GONE_UNREAD));
    assert_int_equal(look(journal_id(journal), "me", &why), JOURNAL_GONE);
    assert_int_equal(why, JOURNAL_GONE_UNREAD);
    journal_end(journal, false, false);
    journal_unref(journal);
    assert_int_equal(held(), 0);
}

/* --- the same request twice --- */

static enum journal_verdict again(const char *owner, const char *once, char digest)
{
    struct journal *journal = NULL;
    struct journal_spec spec = {.owner = str_c(owner),
                                .once_key = str_c(once),
                                .digest = {(uint8_t)digest},
                                .limits = plenty};
    enum journal_verdict verdict = journal_create(store, &spec, &journal);
    if (journal != NULL && verdict == JOURNAL_NEW)
        journal_end(journal, true, false);
    if (journal != NULL)
        journal_unref(journal);
    return verdict;
}

static void a_key_stands_for_one_request(void **state)
{
    (void)state;
    struct journal *journal = make(plenty, "k", 1);
    assert_int_equal(again("me", "k", 1), JOURNAL_FOUND);
    assert_int_equal(again("me", "k", 2), JOURNAL_CONFLICT);
    assert_int_equal(again("you", "k", 2), JOURNAL_NEW);
    assert_int_equal(again("me", "k2", 2), JOURNAL_NEW);
    journal_end(journal, true, true);
    assert_int_equal(again("me", "k", 1), JOURNAL_FOUND);
    journal_forget_once(journal);
    assert_int_equal(again("me", "k", 2), JOURNAL_NEW);
    assert_int_equal(again("me", "k", 1), JOURNAL_NEW); /* that one was not to be kept */
    journal_unref(journal);
}

/* --- between threads --- */

enum { THREADS = 4, EVENTS = 3000 };

static void *read_elsewhere(void *arg)
{
    struct pair *pair = arg;
    struct loop *own = loop_new(1);
    assert_non_null(task_spawn(RUN_NORMAL, "reader", consume_slowly, pair));
    for (int i = 0; i < 1000000 && task_count() > 0; i++)
        loop_turn(own, 10 * NS_PER_MS);
    assert_int_equal(task_count(), 0);
    loop_free(own);
    return NULL;
}

static void readers_of_other_threads_are_woken(void **state)
{
    (void)state;
    struct journal_limits limits = {32 * 1024, 64 << 20, NS_PER_SEC};
    struct journal *journal = make(limits, "", 0);
    struct pair readers[THREADS] = {0};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        readers[i].journal = journal;
        assert_int_equal(journal_attach(journal, &readers[i].reader, 0), JOURNAL_HERE);
        assert_int_equal(pthread_create(&threads[i], NULL, read_elsewhere, &readers[i]), 0);
    }
    struct pair producer = {.journal = journal, .events = EVENTS};
    task_spawn(RUN_NORMAL, "producer", produce, &producer);
    for (int i = 0; i < 1000000 && task_count() > 0; i++)
        loop_turn(loop, 10 * NS_PER_MS);
    assert_true(producer.has_produced);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(readers[i].read, EVENTS * 1000);
    }
    journal_unref(journal);
}

/* --- memory --- */

static void make_without_memory(void *arg)
{
    (void)arg;
    for (uint64_t n = 1; n < 12; n++) {
        struct journal *journal = NULL;
        struct journal_spec spec = {.owner = STR("me"), .limits = plenty};
        struct journal_event event = {{STR("data: x\n\n")}, true};
        mem_fail_at(n);
        enum journal_verdict verdict = journal_create(store, &spec, &journal);
        int r = 0;
        if (verdict == JOURNAL_NEW)
            r = journal_append(journal, &event);
        mem_fail_at(0);
        assert_true(verdict == JOURNAL_NEW || verdict == JOURNAL_NO_MEMORY);
        assert_true(r == 0 || r == -ERR_NOMEM);
        assert_true(n > 2 || verdict != JOURNAL_NEW || r < 0);
        if (journal != NULL) {
            journal_end(journal, false, false);
            journal_give_up(journal, JOURNAL_GONE_UNREAD);
            journal_unref(journal);
        }
    }
}

static void no_memory_is_an_error(void **state)
{
    (void)state;
    run(make_without_memory, NULL);
    assert_int_equal(held(), 0);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(events_get_their_number_wherever_the_bytes_are_cut),
        TEST(an_event_without_an_end_gets_one),
        TEST(line_ends_stay_what_they_are),
        TEST(the_elements_of_an_array_are_its_events),
        TEST(a_frame_is_an_event),
        TEST(a_reader_is_told_where_it_stands),
        TEST(a_slow_reader_loses_nothing_and_holds_the_producer),
        TEST(without_a_reader_the_producer_stops_at_the_bound),
        TEST(many_streams_stay_within_the_bound),
        TEST(the_oldest_that_ended_make_room),
        TEST(its_time_ends_and_is_remembered),
        TEST(what_somebody_reads_is_not_given_up),
        TEST(a_key_stands_for_one_request),
        TEST(readers_of_other_threads_are_woken),
        TEST(no_memory_is_an_error),
    };
    return cmocka_run_group_tests_name("journal", tests, NULL, NULL);
}
