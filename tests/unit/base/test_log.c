#include "base/log.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <yyjson.h>

#include "base/clock.h"
#include "base/mem.h"

static char line[4096];
static size_t line_len;
static unsigned lines;

static void sink(struct str text)
{
    assert_true(text.len < sizeof(line));
    memcpy(line, text.ptr, text.len);
    line_len = text.len;
    lines++;
}

static int set_up(void **state)
{
    (void)state;
    line_len = 0;
    lines = 0;
    log_set_sink(sink);
    log_set_level(LOG_INFO);
    clock_fake(0, INT64_C(1795233503123) * NS_PER_MS);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    log_set_sink(NULL);
    log_set_level(LOG_INFO);
    clock_real();
    return 0;
}

/* The message member of the line, which must be one JSON object and a newline. */
static const char *message_of_line(yyjson_doc **doc)
{
    assert_true(line_len > 0 && line[line_len - 1] == '\n');
    assert_null(memchr(line, '\n', line_len - 1));
    *doc = yyjson_read(line, line_len - 1, 0);
    assert_non_null(*doc);
    return yyjson_get_str(yyjson_obj_get(yyjson_doc_get_root(*doc), "message"));
}

static void a_line_is_one_json_object(void **state)
{
    (void)state;
    errno = EBADF;
    log_event(LOG_WARN, "rt", "said \"%s\" to %d\n\x01", "hi", 7);
    assert_int_equal(errno, EBADF);
    yyjson_doc *doc;
    assert_string_equal(message_of_line(&doc), "said \"hi\" to 7\n\x01");
    yyjson_val *root = yyjson_doc_get_root(doc);
    assert_string_equal(yyjson_get_str(yyjson_obj_get(root, "level")), "warn");
    assert_string_equal(yyjson_get_str(yyjson_obj_get(root, "area")), "rt");
    assert_string_equal(yyjson_get_str(yyjson_obj_get(root, "time")), "2026-11-21T03:58:23.123Z");
    yyjson_doc_free(doc);
}

static void long_messages_are_cut_and_stay_json(void **state)
{
    (void)state;
    static const char *const units[] = {"a", "\x01", "\xe2\x82\xac", "\xff", "\""};
    for (size_t u = 0; u < ARRAY_LEN(units); u++) {
        char text[3000] = "";
        size_t n = strlen(units[u]);
        for (size_t at = 0; at + n < sizeof(text); at += n)
            memcpy(text + at, units[u], n);
        log_event(LOG_ERROR, "area", "%s", text);
        yyjson_doc *doc;
        const char *message = message_of_line(&doc);
        assert_true(strlen(message) >= 100);
        assert_true(line_len <= 1024);
        yyjson_doc_free(doc);
    }
}

static void a_cut_leaves_no_broken_character(void **state)
{
    (void)state;
    char text[1200];
    for (size_t at = 0; at + 3 <= sizeof(text); at += 3)
        memcpy(text + at, "\xe2\x82\xac", 3);
    for (size_t pad = 0; pad < 3; pad++) {
        log_event(LOG_ERROR, "area", "%.*s%.1199s", (int)pad, "xx", text);
        yyjson_doc *doc;
        const char *message = message_of_line(&doc);
        assert_null(strstr(message, "\xef\xbf\xbd"));
        yyjson_doc_free(doc);
    }
}

static void events_below_the_level_are_dropped(void **state)
{
    (void)state;
    log_event(LOG_DEBUG, "rt", "quiet");
    assert_int_equal(lines, 0);
    log_set_level(LOG_DEBUG);
    log_event(LOG_DEBUG, "rt", "loud");
    assert_int_equal(lines, 1);
    log_set_level(LOG_ERROR);
    log_event(LOG_WARN, "rt", "quiet");
    assert_int_equal(lines, 1);
}

static void it_works_without_memory(void **state)
{
    (void)state;
    for (uint64_t n = 1; n < 4; n++) {
        mem_fail_at(n);
        log_event(LOG_ERROR, "mem", "out of memory");
        assert_int_equal(mem_count(), 0);
    }
    mem_fail_at(0);
    yyjson_doc *doc;
    assert_string_equal(message_of_line(&doc), "out of memory");
    yyjson_doc_free(doc);
}

static void a_limit_holds_back_and_tells_how_many(void **state)
{
    (void)state;
    struct log_limit limit = {0};
    unsigned suppressed, allowed = 0;
    for (int i = 0; i < 10; i++) {
        allowed += log_allow(&limit, 3, &suppressed);
        assert_int_equal(suppressed, 0);
    }
    assert_int_equal(allowed, 3);
    clock_fake_advance(60 * NS_PER_SEC);
    assert_true(log_allow(&limit, 3, &suppressed));
    assert_int_equal(suppressed, 7);
    assert_true(log_allow(&limit, 3, &suppressed));
    assert_int_equal(suppressed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_line_is_one_json_object, set_up, tear_down),
        cmocka_unit_test_setup_teardown(long_messages_are_cut_and_stay_json, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_cut_leaves_no_broken_character, set_up, tear_down),
        cmocka_unit_test_setup_teardown(events_below_the_level_are_dropped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_works_without_memory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_limit_holds_back_and_tells_how_many, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("base/log", tests, NULL, NULL);
}
