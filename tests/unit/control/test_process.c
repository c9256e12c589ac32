#include "control/process.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/weir-test-XXXXXX";

static int set_up(void **state)
{
    (void)state;
    return mkdtemp(folder) == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    return rmdir(folder);
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void quotas(void **state)
{
    (void)state;
    static const struct {
        const char *quota, *period;
        unsigned processors;
    } cases[] = {
        {"max", "100000", 0},
        {"-1", "100000", 0},
        {"100000", "100000", 1},
        {"50000", "100000", 1},
        {"150000", "100000", 2},
        {"400000", "100000", 4},
        {"1", "100000", 1},
        {"0", "100000", 0},
        {"100000", "0", 0},
        {"100000", "", 0},
        {"", "", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(process_quota(str_c(cases[i].quota), str_c(cases[i].period)),
                         cases[i].processors);
    assert_true(process_processors() >= 1);
}

static void a_pid_file_names_this_process_and_is_its_own(void **state)
{
    (void)state;
    char path[64];
    snprintf(path, sizeof(path), "%s/pid", folder);
    assert_int_equal(process_pid_file_read(path), 0);
    assert_int_equal(process_pid_file_write(path), 0);
    assert_int_equal(process_pid_file_read(path), getpid());
    process_pid_file_remove(path);
    assert_int_equal(access(path, F_OK), -1);

    write_file(path, "1\n");
    process_pid_file_remove(path); /* another's */
    assert_int_equal(process_pid_file_read(path), 1);
    assert_int_equal(process_pid_file_write(path), 0);
    assert_int_equal(process_pid_file_read(path), getpid());
    write_file(path, "12x\n");
    assert_int_equal(process_pid_file_read(path), 0);
    write_file(path, "99999999999\n");
    assert_int_equal(process_pid_file_read(path), 0);
    unlink(path);
    assert_true(process_pid_file_write("/no/such/folder/pid") < 0);
}

/* What this test was started by, through a link in another folder. */
static void the_program_is_known_by_the_path_it_was_called_by(void **state)
{
    (void)state;
    char self[512], link_path[64];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    assert_true(n > 0);
    self[n] = '\0';
    snprintf(link_path, sizeof(link_path), "%s/weir", folder);
    assert_int_equal(symlink(self, link_path), 0);

    process_remember_program("weir-of-nowhere");
    assert_string_equal(process_program(), "/proc/self/exe");
    process_remember_program("/bin/sh"); /* another program */
    assert_string_equal(process_program(), "/proc/self/exe");
    process_remember_program(self);
    assert_string_equal(process_program(), self);
    process_remember_program(link_path);
    assert_string_equal(process_program(), link_path);

    char path[600];
    snprintf(path, sizeof(path), "/nowhere:%s:/bin", folder);
    setenv("PATH", path, 1);
    process_remember_program(self);
    process_remember_program("weir");
    assert_string_equal(process_program(), link_path);

    assert_int_equal(chdir(folder), 0);
    process_remember_program("./weir");
    snprintf(path, sizeof(path), "%s/./weir", folder);
    assert_string_equal(process_program(), path);
    assert_int_equal(chdir("/"), 0);
    unlink(link_path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quotas),
        cmocka_unit_test(a_pid_file_names_this_process_and_is_its_own),
        cmocka_unit_test(the_program_is_known_by_the_path_it_was_called_by),
    };
    return cmocka_run_group_tests_name("control/process", tests, set_up, tear_down);
}
