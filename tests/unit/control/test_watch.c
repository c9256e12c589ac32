#include "control/watch.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/weir-test-XXXXXX";
static char paths[3][64];
static struct watch *watch;

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void watch_files(unsigned count)
{
    struct config_files files = {.count = count};
    for (unsigned i = 0; i < count; i++)
        files.paths[i] = paths[i];
    assert_int_equal(watch_set(watch, &files), 0);
}

static int set_up(void **state)
{
    (void)state;
    memcpy(folder + sizeof(folder) - 7, "XXXXXX", 6);
    if (mkdtemp(folder) == NULL)
        return -1;
    for (unsigned i = 0; i < 3; i++)
        snprintf(paths[i], sizeof(paths[i]), "%s/file-%u", folder, i);
    write_file(paths[0], "one");
    watch = watch_new();
    return watch == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    watch_free(watch);
    char command[64];
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command);
}

static bool has_event(void)
{
    struct pollfd p = {.fd = watch_fd(watch), .events = POLLIN};
    poll(&p, 1, 0);
    return watch_take_events(watch);
}

static void a_written_file_is_a_change(void **state)
{
    (void)state;
    watch_files(1);
    assert_false(has_event());
    assert_int_equal(watch_compare(watch), WATCH_SAME);
    write_file(paths[0], "other");
    assert_true(has_event());
    assert_int_equal(watch_compare(watch), WATCH_CHANGED);
    watch_remember(watch);
    assert_int_equal(watch_compare(watch), WATCH_SAME);
}

static void a_replaced_file_is_a_change(void **state)
{
    (void)state;
    watch_files(1);
    write_file(paths[1], "one");
    assert_false(has_event()); /* not one of ours yet */
    assert_int_equal(rename(paths[1], paths[0]), 0);
    assert_true(has_event());
    assert_int_equal(watch_compare(watch), WATCH_CHANGED);
}

static void a_file_that_is_being_written_is_left_alone(void **state)
{
    (void)state;
    watch_files(1);
    FILE *f = fopen(paths[0], "w");
    fputs("half", f);
    fflush(f);
    assert_false(has_event());
    fclose(f);
    assert_true(has_event());
}

static void a_file_that_is_gone(void **state)
{
    (void)state;
    write_file(paths[1], "second");
    watch_files(2);
    unlink(paths[1]);
    assert_int_equal(watch_compare(watch), WATCH_CHANGED);
    unlink(paths[0]);
    assert_int_equal(watch_compare(watch), WATCH_GONE);
}

static void a_link_above_the_file_is_swapped(void **state)
{
    (void)state;
    char one[64], two[64], data[64], fresh[64];
    snprintf(one, sizeof(one), "%s/..1", folder);
    snprintf(two, sizeof(two), "%s/..2", folder);
    snprintf(data, sizeof(data), "%s/..data", folder);
    snprintf(fresh, sizeof(fresh), "%s/..fresh", folder);
    assert_int_equal(mkdir(one, 0700) | mkdir(two, 0700) | symlink("..1", data), 0);
    char inside[80];
    snprintf(inside, sizeof(inside), "%s/f", one);
    write_file(inside, "1");
    snprintf(inside, sizeof(inside), "%s/f", two);
    write_file(inside, "2");
    assert_int_equal(symlink("..data/f", paths[2]), 0);
    struct config_files files = {.paths = {paths[2]}, .count = 1};
    assert_int_equal(watch_set(watch, &files), 0);
    assert_int_equal(symlink("..2", fresh) | rename(fresh, data), 0);
    assert_true(has_event());
    assert_int_equal(watch_compare(watch), WATCH_CHANGED);
}

/* A change between reading and watching must not be lost. */
static void what_is_remembered_outlives_a_new_list(void **state)
{
    (void)state;
    watch_files(1);
    watch_remember(watch);
    write_file(paths[0], "changed");
    write_file(paths[1], "new");
    watch_files(2);
    assert_int_equal(watch_compare(watch), WATCH_CHANGED);
}

static void a_folder_that_is_not_there(void **state)
{
    (void)state;
    char missing[] = "/no/such/folder/file";
    struct config_files files = {.paths = {missing}, .count = 1};
    assert_true(watch_set(watch, &files) < 0);
    assert_int_equal(watch_compare(watch), WATCH_GONE);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_written_file_is_a_change),
        CASE(a_replaced_file_is_a_change),
        CASE(a_file_that_is_being_written_is_left_alone),
        CASE(a_file_that_is_gone),
        CASE(a_link_above_the_file_is_swapped),
        CASE(what_is_remembered_outlives_a_new_list),
        CASE(a_folder_that_is_not_there),
    };
    return cmocka_run_group_tests_name("control/watch", tests, NULL, NULL);
}
