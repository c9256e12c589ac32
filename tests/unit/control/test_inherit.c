#include "control/inherit.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "rt/listener.h"

static struct net_addr address(const char *text)
{
    struct net_addr addr;
    assert_true(net_addr_parse_listen(str_c(text), &addr));
    return addr;
}

static int listen_on(const char *text, struct net_addr *bound)
{
    struct net_addr addr = address(text);
    int fd;
    assert_int_equal(listen_open(&addr, 1, &fd, bound), 0);
    return fd;
}

static void set_fds(const struct buf *text)
{
    char *z = calloc(1, text->len + 1);
    memcpy(z, text->ptr, text->len);
    setenv("WEIR_LISTEN_FDS", z, 1);
    free(z);
}

static void sockets_come_back_under_the_address_that_was_asked_for(void **state)
{
    (void)state;
    struct net_addr bound, any = address("127.0.0.1:0"), v6 = address("[::1]:0");
    int fds[] = {listen_on("127.0.0.1:0", &bound), listen_on("127.0.0.1:0", &bound)};
    int other = listen_on("127.0.0.1:0", &bound);
    struct buf text = BUF_INIT;
    inherit_write_entry(&text, &any, false, fds, 2);
    inherit_write_entry(&text, &v6, true, &other, 1);
    set_fds(&text);

    struct inheritance all;
    assert_int_equal(inheritance_init(&all), 0);
    assert_null(getenv("WEIR_LISTEN_FDS")); /* not for our own children */
    assert_int_equal(all.count, 3);
    assert_true(fcntl(fds[0], F_GETFD) & FD_CLOEXEC);
    assert_true(fcntl(fds[0], F_GETFL) & O_NONBLOCK);

    struct net_addr activated[4];
    assert_int_equal(inheritance_activated(&all, activated, 4), 1);
    assert_true(net_addr_equal(&activated[0], &v6));

    bool is_activated;
    struct net_addr unknown = address("127.0.0.1:1");
    assert_int_equal(inheritance_take(&all, &unknown, &is_activated), -1);
    assert_int_equal(inheritance_take(&all, &any, &is_activated), fds[0]);
    assert_false(is_activated);
    assert_int_equal(inheritance_take(&all, &any, &is_activated), fds[1]);
    assert_int_equal(inheritance_take(&all, &any, &is_activated), -1);
    inheritance_fini(&all);
    assert_int_equal(fcntl(other, F_GETFD), -1); /* nobody took it */
    assert_true(fcntl(fds[0], F_GETFD) >= 0);
    close(fds[0]);
    close(fds[1]);
    buf_fini(&text);
}

static void what_is_no_listening_socket_is_refused(void **state)
{
    (void)state;
    int ends[2], plain = socket(AF_INET, SOCK_STREAM, 0), local = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(pipe(ends), 0);
    char texts[5][64];
    snprintf(texts[0], sizeof(texts[0]), "127.0.0.1:1=%d;", ends[0]);
    snprintf(texts[1], sizeof(texts[1]), "127.0.0.1:1=%d;", plain);
    snprintf(texts[2], sizeof(texts[2]), "127.0.0.1:1=%d;", local);
    snprintf(texts[3], sizeof(texts[3]), "127.0.0.1:1=4000;");
    snprintf(texts[4], sizeof(texts[4]), "nonsense");
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct inheritance all;
        setenv("WEIR_LISTEN_FDS", texts[i], 1);
        assert_int_equal(inheritance_init(&all), -ERR_INVALID);
        assert_int_equal(all.count, 0);
        assert_true(strlen(err_slot()->message) > 10);
    }
    close(ends[0]);
    close(ends[1]);
    close(plain);
    close(local);
}

static void activation_is_for_the_process_that_it_names(void **state)
{
    (void)state;
    struct net_addr bound;
    int fd = listen_on("127.0.0.1:0", &bound);
    assert_int_equal(dup2(fd, 3), 3);
    if (fd != 3)
        close(fd);
    struct inheritance all;
    setenv("LISTEN_PID", "1", 1);
    setenv("LISTEN_FDS", "1", 1);
    assert_int_equal(inheritance_init(&all), 0);
    assert_int_equal(all.count, 0);
    assert_null(getenv("LISTEN_FDS"));

    char pid[16];
    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    setenv("LISTEN_PID", pid, 1);
    setenv("LISTEN_FDS", "1", 1);
    setenv("LISTEN_FDNAMES", "weir.socket", 1);
    assert_int_equal(inheritance_init(&all), 0);
    assert_int_equal(all.count, 1);
    bool is_activated = false;
    assert_int_equal(inheritance_take(&all, &bound, &is_activated), 3);
    assert_true(is_activated);
    inheritance_fini(&all);
    close(3);

    setenv("LISTEN_PID", pid, 1);
    setenv("LISTEN_FDS", "1", 1);
    setenv("LISTEN_FDNAMES", "odd", 1);
    assert_int_equal(inheritance_init(&all), -ERR_INVALID);
    assert_non_null(strstr(err_slot()->message, "(odd)"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sockets_come_back_under_the_address_that_was_asked_for),
        cmocka_unit_test(what_is_no_listening_socket_is_refused),
        cmocka_unit_test(activation_is_for_the_process_that_it_names),
    };
    return cmocka_run_group_tests_name("control/inherit", tests, NULL, NULL);
}
