#include "observe/access_log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <yyjson.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "rt/sys.h"

static char folder[64];
static char path[96];

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/weir-test-log-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/access.log", folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    access_log_close(NS_PER_SEC);
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    return system(command) == 0 ? 0 : -1;
}

static struct request_record record_of(const char *request_id)
{
    return (struct request_record){
        .start_wall_ns = INT64_C(1795233503123) * NS_PER_MS,
        .request_id = str_c(request_id),
        .status = 200,
        .outcome = STR("ok"),
        .upstream_ns = -1,
        .connect_ns = -1,
        .ttft_ns = -1,
        .usage = TOKEN_USAGE_NONE,
        .cost_nano_usd = -1,
    };
}

static void write_line(const char *request_id)
{
    struct request_record record = record_of(request_id);
    access_log_write(&record);
}

/* The whole file; empty when there is none. */
static struct str read_file(const char *name)
{
    static char bytes[8 * 1024 * 1024];
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    size_t len = 0;
    for (ssize_t n; fd >= 0 && (n = read(fd, bytes + len, sizeof(bytes) - len)) > 0;)
        len += (size_t)n;
    if (fd >= 0)
        close(fd);
    return str_n(bytes, len);
}

static void pause_ms(long ms)
{
    struct timespec span = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&span, NULL);
}

/* Waits until the file holds the text. */
static void await_text(const char *name, const char *text)
{
    int64_t deadline_ns = clock_mono_ns() + 20 * NS_PER_SEC;
    while (str_find(read_file(name), str_c(text)) < 0) {
        if (clock_mono_ns() > deadline_ns)
            fail_msg("%s does not hold %s", name, text);
        pause_ms(2);
    }
}

/* Each line must be a JSON object; returns how many there are. */
static unsigned check_lines(struct str text)
{
    unsigned lines = 0;
    struct str line;
    while (str_cut(&text, '\n', &line)) {
        yyjson_doc *doc = yyjson_read(line.ptr, line.len, 0);
        assert_non_null(doc);
        assert_true(yyjson_is_obj(yyjson_doc_get_root(doc)));
        yyjson_doc_free(doc);
        lines++;
    }
    assert_int_equal(line.len, 0);
    return lines;
}

static void assert_format(const struct request_record *record, const char *expected)
{
    struct buf out = BUF_INIT;
    access_log_format(&out, record);
    assert_true(buf_ok(&out));
    assert_int_equal(out.len, strlen(expected));
    assert_memory_equal(out.ptr, expected, out.len);
    buf_fini(&out);
}

static void a_whole_record_is_one_line(void **state)
{
    (void)state;
    struct request_record record = {
        .start_wall_ns = INT64_C(1795233503123) * NS_PER_MS,
        .request_id = STR("req_1"),
        .client_ip = STR("192.0.2.7"),
        .method = STR("POST"),
        .path = STR("/v1/chat/completions"),
        .operation = STR("chat"),
        .dialect = STR("openai_chat"),
        .key_name = STR("team \"a\""),
        .model_asked = STR("fast"),
        .provider = STR("openai"),
        .model = STR("gpt-4o"),
        .model_answered = STR("gpt-4o-2024-08-06"),
        .route = STR("fast"),
        .status = 200,
        .upstream_status = 200,
        .outcome = STR("ok"),
        .finish_reason = STR("stop"),
        .is_stream = true,
        .attempts = 1,
        .upstream_reused = true,
        .total_ns = 1234567890,
        .overhead_ns = 61999,
        .upstream_ns = 1234000000,
        .connect_ns = -1,
        .ttft_ns = 250001000,
        .events = 17,
        .bytes_in = 300,
        .bytes_out = 4711,
        .generation = 3,
        .usage = TOKEN_USAGE_NONE,
        .cost_nano_usd = 22500,
    };
    record.usage.input = 9;
    record.usage.output = 0;
    assert_format(&record,
                  "{\"time\":\"2026-11-21T03:58:23.123Z\",\"request_id\":\"req_1\","
                  "\"client\":\"192.0.2.7\",\"method\":\"POST\",\"path\":\"/v1/chat/completions\","
                  "\"operation\":\"chat\",\"dialect\":\"openai_chat\",\"key\":\"team \\\"a\\\"\","
                  "\"model\":\"fast\",\"route\":\"fast\",\"provider\":\"openai\","
                  "\"upstream_model\":\"gpt-4o\",\"response_model\":\"gpt-4o-2024-08-06\","
                  "\"status\":200,\"upstream_status\":200,\"outcome\":\"ok\","
                  "\"finish_reason\":\"stop\",\"stream\":true,\"attempts\":1,"
                  "\"upstream_reused\":true,\"duration_ms\":1234.567,\"overhead_ms\":0.061,"
                  "\"upstream_ms\":1234.000,\"ttft_ms\":250.001,\"events\":17,\"bytes_in\":300,"
                  "\"bytes_out\":4711,\"input_tokens\":9,\"output_tokens\":0,"
                  "\"cost_usd\":0.0000225,\"config_generation\":3}\n");
}

static void what_is_not_known_is_left_out(void **state)
{
    (void)state;
    struct request_record record = record_of("req_2");
    record.status = 0;
    record.outcome = STR("client_gone");
    assert_format(&record, "{\"time\":\"2026-11-21T03:58:23.123Z\",\"request_id\":\"req_2\","
                           "\"outcome\":\"client_gone\",\"stream\":false,\"duration_ms\":0.000,"
                           "\"overhead_ms\":0.000,\"events\":0,\"bytes_in\":0,\"bytes_out\":0,"
                           "\"config_generation\":0}\n");
}

static void an_unpriced_request_says_so_and_a_free_one_is_zero(void **state)
{
    (void)state;
    struct request_record record = record_of("req_4");
    struct buf out = BUF_INIT;
    record.is_unpriced = true;
    access_log_format(&out, &record);
    assert_true(str_find(buf_str(&out), STR(",\"unpriced\":true,")) > 0);
    assert_true(str_find(buf_str(&out), STR("cost_usd")) < 0);
    buf_fini(&out);
    out = (struct buf)BUF_INIT;
    record.is_unpriced = false;
    record.cost_nano_usd = 0;
    access_log_format(&out, &record);
    assert_true(str_find(buf_str(&out), STR(",\"cost_usd\":0,")) > 0);
    assert_true(str_find(buf_str(&out), STR("unpriced")) < 0);
    buf_fini(&out);
}

static void a_text_cannot_break_the_line(void **state)
{
    (void)state;
    assert_int_equal(access_log_open(path, 1), 0);
    static char huge[100000];
    memset(huge, 'x', sizeof(huge));
    struct request_record record = record_of("req_3");
    record.path = STR("/\n{\"status\":500}\r\xff\x01");
    record.model_asked = str_n(huge, sizeof(huge));
    access_log_write(&record);
    access_log_close(20 * NS_PER_SEC);
    struct str text = read_file(path);
    assert_int_equal(check_lines(text), 1);
    assert_true(text.len < 4096);
}

enum { THREADS = 4, LINES = 2000 };

static void *write_many(void *arg)
{
    for (unsigned i = 0; i < LINES; i++) {
        char id[32];
        snprintf(id, sizeof(id), "t%d-%u", (int)(intptr_t)arg, i);
        write_line(id);
        /* The loops of four threads that do nothing else outrun any writer. */
        if (i % 100 == 99)
            pause_ms(5);
    }
    return NULL;
}

static void lines_of_all_threads_arrive_in_order(void **state)
{
    (void)state;
    uint64_t written = access_log_written();
    uint64_t dropped = access_log_dropped();
    assert_int_equal(access_log_open(path, THREADS), 0);
    pthread_t threads[THREADS];
    for (intptr_t t = 0; t < THREADS; t++)
        assert_int_equal(pthread_create(&threads[t], NULL, write_many, (void *)t), 0);
    for (unsigned t = 0; t < THREADS; t++)
        pthread_join(threads[t], NULL);
    access_log_close(20 * NS_PER_SEC);

    written = access_log_written() - written;
    dropped = access_log_dropped() - dropped;
    assert_int_equal(written + dropped, THREADS * LINES);
    struct str text = read_file(path);
    assert_int_equal(check_lines(text), written);
    uint64_t next[THREADS] = {0};
    struct str line;
    while (str_cut(&text, '\n', &line)) {
        ptrdiff_t at = str_find(line, STR("\"request_id\":\"t"));
        assert_true(at >= 0);
        struct str rest = str_skip(line, (size_t)at + 15), thread, number;
        str_cut(&rest, '-', &thread);
        str_cut(&rest, '"', &number);
        uint64_t t = THREADS, n = 0;
        assert_true(str_to_u64(thread, &t) && t < THREADS && str_to_u64(number, &n));
        assert_true(n >= next[t]);
        next[t] = n + 1;
    }
    assert_true(written > 0);
}

static void more_threads_than_expected_only_drop(void **state)
{
    (void)state;
    uint64_t written = access_log_written();
    uint64_t dropped = access_log_dropped();
    assert_int_equal(access_log_open(path, 1), 0);
    pthread_t threads[2];
    for (intptr_t t = 0; t < 2; t++)
        assert_int_equal(pthread_create(&threads[t], NULL, write_many, (void *)t), 0);
    for (unsigned t = 0; t < 2; t++)
        pthread_join(threads[t], NULL);
    access_log_close(20 * NS_PER_SEC);
    assert_true(access_log_dropped() - dropped >= LINES);
    assert_int_equal(access_log_written() - written + access_log_dropped() - dropped, 2 * LINES);
}

static void a_fifo_without_reader_holds_nobody_up(void **state)
{
    (void)state;
    enum { MANY = 20000 };
    uint64_t written = access_log_written();
    uint64_t dropped = access_log_dropped();
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(access_log_open(path, 1), 0);
    int reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(reader >= 0);
    for (unsigned i = 0; i < MANY; i++)
        write_line("req_fifo");
    int64_t before_ns = clock_mono_ns();
    access_log_close(50 * NS_PER_MS);
    /* Far below a hang, far above what a busy machine needs. */
    assert_true(clock_mono_ns() - before_ns < 10 * NS_PER_SEC);
    written = access_log_written() - written;
    dropped = access_log_dropped() - dropped;
    assert_true(dropped > 0);
    assert_int_equal(written + dropped, MANY);

    /* What went into the pipe are whole lines and at most one piece at the end. */
    static char bytes[1024 * 1024];
    ssize_t len = read(reader, bytes, sizeof(bytes));
    assert_true(len > 0);
    ptrdiff_t end = str_rindex(str_n(bytes, (size_t)len), '\n');
    assert_int_equal(check_lines(str_n(bytes, (size_t)end + 1)), written);
    close(reader);
}

static void a_reader_that_comes_late_gets_whole_lines(void **state)
{
    (void)state;
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(access_log_open(path, 1), 0);
    for (unsigned i = 0; i < 5000; i++)
        write_line("req_early");
    int reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(reader >= 0);
    static char bytes[16 * 1024 * 1024];
    size_t len = 0;
    int64_t deadline_ns = clock_mono_ns() + 20 * NS_PER_SEC;
    while (str_find(str_n(bytes, len), STR("req_late")) < 0 || bytes[len - 1] != '\n') {
        assert_true(clock_mono_ns() < deadline_ns && len < sizeof(bytes));
        ssize_t n = read(reader, bytes + len, sizeof(bytes) - len);
        if (n > 0) {
            len += (size_t)n;
            continue;
        }
        /* The ring may still be full of early ones: this one is asked for again and again. */
        write_line("req_late");
        pause_ms(1);
    }
    assert_true(check_lines(str_n(bytes, len)) > 1);
    close(reader);
}

static void a_full_disk_only_loses_lines(void **state)
{
    (void)state;
    if (access("/dev/full", W_OK) != 0) {
        print_message("skipped: this machine has no /dev/full\n");
        skip();
    }
    uint64_t written = access_log_written();
    uint64_t dropped = access_log_dropped();
    assert_int_equal(access_log_open("/dev/full", 1), 0);
    for (unsigned i = 0; i < 100; i++)
        write_line("req_full");
    access_log_close(20 * NS_PER_SEC);
    assert_int_equal(access_log_written(), written);
    assert_int_equal(access_log_dropped() - dropped, 100);
}

/* Runs with descriptor `fd` replaced by `other`, which is closed; restore_fd undoes it. */
static int replace_fd(int fd, int other)
{
    fflush(NULL);
    int saved = fcntl(fd, F_DUPFD_CLOEXEC, 10);
    assert_true(saved >= 0);
    assert_int_equal(dup2(other, fd), fd);
    close(other);
    return saved;
}

static void restore_fd(int fd, int saved)
{
    fflush(NULL);
    dup2(saved, fd);
    close(saved);
}

static void a_pipe_whose_reader_is_gone_is_no_signal(void **state)
{
    (void)state;
    uint64_t dropped = access_log_dropped();
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    int saved = replace_fd(STDOUT_FILENO, ends[1]);
    int opened = access_log_open("stdout", 1);
    write_line("req_heard");
    struct pollfd heard = {.fd = ends[0], .events = POLLIN};
    int polled = poll(&heard, 1, 20000);
    close(ends[0]);
    write_line("req_unheard");
    access_log_close(20 * NS_PER_SEC);
    restore_fd(STDOUT_FILENO, saved);
    assert_int_equal(opened, 0);
    assert_int_equal(polled, 1);
    assert_int_equal(access_log_dropped() - dropped, 1);
}

static void a_socket_as_stdout_works(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    int saved = replace_fd(STDOUT_FILENO, ends[1]);
    int opened = access_log_open("stdout", 1);
    write_line("req_socket");
    access_log_close(20 * NS_PER_SEC);
    restore_fd(STDOUT_FILENO, saved);
    assert_int_equal(opened, 0);
    char bytes[4096];
    ssize_t n = read(ends[0], bytes, sizeof(bytes));
    assert_true(n > 0);
    assert_int_equal(check_lines(str_n(bytes, (size_t)n)), 1);
    close(ends[0]);
}

static void a_rotated_file_is_made_anew(void **state)
{
    (void)state;
    char old[128];
    snprintf(old, sizeof(old), "%s.1", path);
    assert_int_equal(access_log_open(path, 1), 0);
    write_line("req_before");
    await_text(path, "req_before");
    assert_int_equal(rename(path, old), 0);
    write_line("req_between");
    await_text(old, "req_between");
    access_log_reopen();
    int64_t deadline_ns = clock_mono_ns() + 20 * NS_PER_SEC;
    while (access(path, F_OK) != 0 && clock_mono_ns() < deadline_ns)
        pause_ms(2);
    write_line("req_after");
    await_text(path, "req_after");
    assert_true(str_find(read_file(old), STR("req_after")) < 0);
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07, 0);
}

static void a_reload_may_name_another_target(void **state)
{
    (void)state;
    char other[128];
    snprintf(other, sizeof(other), "%s.other", path);
    assert_int_equal(access_log_open(path, 1), 0);
    write_line("req_first");
    assert_int_equal(access_log_open(other, 1), 0);
    await_text(path, "req_first");
    int64_t deadline_ns = clock_mono_ns() + 20 * NS_PER_SEC;
    while (str_find(read_file(other), STR("req_second")) < 0 && clock_mono_ns() < deadline_ns) {
        write_line("req_second");
        pause_ms(2);
    }
    assert_true(str_find(read_file(other), STR("req_second")) >= 0);
    assert_true(str_find(read_file(other), STR("req_first")) < 0);

    assert_int_equal(access_log_open(NULL, 1), 0);
    uint64_t dropped = access_log_dropped();
    write_line("req_off");
    access_log_close(20 * NS_PER_SEC);
    assert_true(str_find(read_file(other), STR("req_off")) < 0);
    assert_int_equal(access_log_dropped(), dropped);
}

static void a_target_that_cannot_be_opened_is_named(void **state)
{
    (void)state;
    assert_int_equal(access_log_open("/nonexistent/folder/access.log", 1), -ERR_IO);
    assert_non_null(strstr(err_slot()->message, "/nonexistent/folder/access.log"));
    assert_non_null(strstr(err_slot()->message, "No such file"));
    /* The log that was open before stays. */
    assert_int_equal(access_log_open(path, 1), 0);
    assert_int_equal(access_log_open("/nonexistent/folder/access.log", 1), -ERR_IO);
    write_line("req_stays");
    await_text(path, "req_stays");
}

static void diagnostics_go_to_stderr_through_the_writer(void **state)
{
    (void)state;
    char name[128];
    snprintf(name, sizeof(name), "%s.stderr", path);
    int file = open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    assert_true(file >= 0);
    int saved = replace_fd(STDERR_FILENO, file);
    int opened = access_log_open("stderr", 1);
    log_event(LOG_WARN, "test", "something happened");
    write_line("req_stderr");
    access_log_close(20 * NS_PER_SEC);
    log_event(LOG_WARN, "test", "after the end");
    restore_fd(STDERR_FILENO, saved);
    assert_int_equal(opened, 0);
    struct str text = read_file(name);
    assert_int_equal(check_lines(text), 3);
    assert_true(str_find(text, STR("something happened")) >= 0);
    assert_true(str_find(text, STR("req_stderr")) >= 0);
    assert_true(str_find(text, STR("after the end")) >= 0);
}

static bool count_calls(void *ctx, enum sys_call call, int fd, int64_t *result)
{
    (void)call;
    (void)fd;
    (void)result;
    ++*(unsigned *)ctx;
    return false;
}

static void a_busy_thread_makes_no_system_call(void **state)
{
    (void)state;
    assert_int_equal(access_log_open(path, 1), 0);
    write_line("req_wakes");
    await_text(path, "req_wakes");
    unsigned calls = 0;
    sys_hook(count_calls, &calls);
    for (unsigned i = 0; i < 100; i++)
        write_line("req_quiet");
    sys_hook(NULL, NULL);
    access_log_close(20 * NS_PER_SEC);
    assert_int_equal(calls, 0);
    assert_int_equal(check_lines(read_file(path)), 101);
}

static void a_sleeping_writer_is_woken(void **state)
{
    (void)state;
    assert_int_equal(access_log_open(path, 1), 0);
    unsigned calls = 0;
    sys_hook(count_calls, &calls);
    /* Ever longer pauses, until one is long enough for the writer to fall asleep. */
    unsigned lines = 0;
    for (long ms = 1; calls == 0 && ms < 20000; ms *= 2) {
        pause_ms(ms);
        write_line("req_rings");
        lines++;
    }
    sys_hook(NULL, NULL);
    assert_int_equal(calls, 1);
    int64_t deadline_ns = clock_mono_ns() + 20 * NS_PER_SEC;
    while (check_lines(read_file(path)) < lines && clock_mono_ns() < deadline_ns)
        pause_ms(2);
    assert_int_equal(check_lines(read_file(path)), lines);
}

static void without_memory_lines_are_dropped(void **state)
{
    (void)state;
    assert_int_equal(access_log_open(path, 1), 0);
    uint64_t dropped = access_log_dropped();
    mem_fail_at(1);
    write_line("req_no_memory");
    mem_fail_at(0);
    assert_int_equal(access_log_dropped() - dropped, 1);
    write_line("req_memory");
    await_text(path, "req_memory");
    mem_fail_at(1);
    assert_int_equal(access_log_open(path, 1), -ERR_NOMEM);
    mem_fail_at(0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_record_is_one_line),
        cmocka_unit_test(what_is_not_known_is_left_out),
        cmocka_unit_test(an_unpriced_request_says_so_and_a_free_one_is_zero),
        CASE(a_text_cannot_break_the_line),
        CASE(lines_of_all_threads_arrive_in_order),
        CASE(more_threads_than_expected_only_drop),
        CASE(a_fifo_without_reader_holds_nobody_up),
        CASE(a_reader_that_comes_late_gets_whole_lines),
        CASE(a_full_disk_only_loses_lines),
        CASE(a_pipe_whose_reader_is_gone_is_no_signal),
        CASE(a_socket_as_stdout_works),
        CASE(a_rotated_file_is_made_anew),
        CASE(a_reload_may_name_another_target),
        CASE(a_target_that_cannot_be_opened_is_named),
        CASE(diagnostics_go_to_stderr_through_the_writer),
        CASE(a_busy_thread_makes_no_system_call),
        CASE(a_sleeping_writer_is_woken),
        CASE(without_memory_lines_are_dropped),
    };
    return cmocka_run_group_tests_name("observe/access_log", tests, NULL, NULL);
}
