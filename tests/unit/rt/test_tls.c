/* Longer than other files: all of it stands on one fixture, an authority and two ends of a
 * handshake on one loop, which two files would have to repeat. */
#include "rt/tls.h"

#include <unistd.h>

#include "base/mem.h"
#include "rig.h"
#include "rt/helper.h"
#include "rt/random.h"
#include "rt/sys.h"
#include "rt/tls_private.h"
#include "support/certs.h"

static struct certs certs;

static int make_certs(void **state)
{
    (void)state;
    certs_init(&certs);
    return 0;
}

static int remove_certs(void **state)
{
    (void)state;
    certs_fini(&certs);
    return 0;
}

/* Both ends of one connection, each run by its own task of the same loop. */
struct pair {
    struct io client_io, server_io;
    struct tls_context *client_context, *server_context;
    const char *host;
    void (*client_fn)(struct pair *pair); /* runs after a good handshake */
    void (*server_fn)(struct pair *pair);
    int client_result, server_result;
    struct err client_err, server_err;
    bool is_resumed;
    char alpn[16], version[16];
    char *big;
    size_t big_len;
    int socket_buffer; /* 0 = the kernel's default */
};

static void client_main(void *arg)
{
    struct pair *pair = arg;
    pair->client_result =
        tls_connect(&pair->client_io, pair->client_context, str_c(pair->host), rig_in_ms(20000));
    pair->client_err = *err_slot();
    if (pair->client_result == 0) {
        pair->is_resumed = tls_is_resumed(&pair->client_io);
        snprintf(pair->alpn, sizeof(pair->alpn), "%.*s", STR_ARG(tls_alpn(&pair->client_io)));
        snprintf(pair->version, sizeof(pair->version), "%.*s",
                 STR_ARG(tls_version(&pair->client_io)));
        if (pair->client_fn != NULL)
            pair->client_fn(pair);
    }
    io_close(&pair->client_io);
}

static void server_main(void *arg)
{
    struct pair *pair = arg;
    pair->server_result = tls_accept(&pair->server_io, pair->server_context, rig_in_ms(20000));
    pair->server_err = *err_slot();
    if (pair->server_result == 0 && pair->server_fn != NULL)
        pair->server_fn(pair);
    io_close(&pair->server_io);
}

static void pair_open(struct pair *pair)
{
    int fds[2];
    assert_int_equal(sys_socketpair(fds), 0);
    for (int i = 0; i < 2 && pair->socket_buffer != 0; i++)
        setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &pair->socket_buffer, sizeof(int));
    assert_int_equal(io_open(&pair->client_io, fds[0]), 0);
    assert_int_equal(io_open(&pair->server_io, fds[1]), 0);
}

/* Runs both ends on this thread's loop until they are done. */
static void pair_run(struct pair *pair)
{
    pair_open(pair);
    assert_non_null(task_spawn(RUN_NORMAL, "server", server_main, pair));
    assert_non_null(task_spawn(RUN_NORMAL, "client", client_main, pair));
    rig_turn_until_idle();
}

static struct tls_context *client_context(const char *ca_file)
{
    struct tls_context *context =
        tls_client_context_new(&(struct tls_client_settings){.ca_file = ca_file});
    assert_non_null(context);
    return context;
}

static struct tls_context *server_context(const char *client_ca_file)
{
    struct tls_context *context =
        tls_server_context_new(&(struct tls_server_settings){.cert_file = certs.cert_file,
                                                             .key_file = certs.key_file,
                                                             .client_ca_file = client_ca_file});
    assert_non_null(context);
    return context;
}

static void contexts_free(struct pair *pair)
{
    tls_context_unref(pair->client_context);
    tls_context_unref(pair->server_context);
}

/* --- talking --------------------------------------------------------------------------------- */

static void say_and_hear(struct io *io, const char *say, const char *hear)
{
    assert_int_equal(io_write(io, say, strlen(say), rig_in_ms(10000)), 0);
    char got[64];
    size_t len = 0;
    while (len < strlen(hear)) {
        ssize_t n = io_read(io, got + len, sizeof(got) - len, rig_in_ms(10000));
        assert_true(n > 0);
        len += (size_t)n;
    }
    assert_int_equal(len, strlen(hear));
    assert_memory_equal(got, hear, len);
}

static void client_pings(struct pair *pair)
{
    say_and_hear(&pair->client_io, "ping", "pong");
}

static void server_pongs(struct pair *pair)
{
    say_and_hear(&pair->server_io, "pong", "ping");
    struct str rest;
    /* The client closes in order. */
    assert_int_equal(io_recv(&pair->server_io, &rest, rig_in_ms(10000)), -ERR_CLOSED);
}

static void both_ends_talk(void **state)
{
    (void)state;
    static const char *const hosts[] = {
        "localhost", "api.example.test", "API.Example.Test.", "127.0.0.1", "::1", "[::1]"};
    struct loop *loop = loop_new(0);
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        struct pair pair = {.host = hosts[i],
                            .client_context = client_context(certs.ca_file),
                            .server_context = server_context(NULL),
                            .client_fn = client_pings,
                            .server_fn = server_pongs};
        pair_run(&pair);
        assert_int_equal(pair.client_result, 0);
        assert_int_equal(pair.server_result, 0);
        assert_string_equal(pair.version, "TLSv1.3");
        assert_string_equal(pair.alpn, "http/1.1");
        contexts_free(&pair);
    }
    loop_free(loop);
}

static void alpn_takes_h2_when_both_have_it(void **state)
{
    (void)state;
    struct loop *loop = loop_new(0);
    for (unsigned i = 0; i < 4; i++) {
        bool client_h2 = (i & 1) != 0, server_h2 = (i & 2) != 0;
        struct tls_client_settings client = {.ca_file = certs.ca_file, .offer_h2 = client_h2};
        struct tls_server_settings server = {
            .cert_file = certs.cert_file, .key_file = certs.key_file, .offer_h2 = server_h2};
        struct pair pair = {.host = "localhost",
                            .client_context = tls_client_context_new(&client),
                            .server_context = tls_server_context_new(&server)};
        pair_run(&pair);
        assert_int_equal(pair.client_result, 0);
        assert_string_equal(pair.alpn, client_h2 && server_h2 ? "h2" : "http/1.1");
        contexts_free(&pair);
    }
    loop_free(loop);
}

/* --- who is refused -------------------------------------------------------------------------- */

static void expect_refused(struct pair *pair, const char *why)
{
    pair_run(pair);
    assert_int_equal(pair->client_result, -ERR_TLS);
    assert_int_equal(pair->client_err.fault, FAULT_UPSTREAM);
    if (strstr(pair->client_err.message, why) == NULL)
        fail_msg("%s", pair->client_err.message);
    assert_non_null(strstr(pair->client_err.message, pair->host));
    /* The server hears of it by an alert. */
    assert_int_equal(pair->server_result, -ERR_TLS);
    assert_int_equal(pair->server_err.fault, FAULT_CLIENT);
}

static void a_wrong_name_is_refused(void **state)
{
    (void)state;
    static const char *const names[] = {"example.test", "a.b.example.test", "localhost.evil.test",
                                        "test"};
    struct loop *loop = loop_new(0);
    struct pair pair = {.client_context = client_context(certs.ca_file),
                        .server_context = server_context(NULL)};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        pair.host = names[i];
        expect_refused(&pair, "hostname mismatch");
    }
    pair.host = "127.0.0.2";
    expect_refused(&pair, "IP address mismatch");
    contexts_free(&pair);
    loop_free(loop);
}

static void an_unknown_authority_is_refused(void **state)
{
    (void)state;
    struct loop *loop = loop_new(0);
    struct pair pair = {.host = "localhost",
                        .client_context = client_context(certs.other_ca_file),
                        .server_context = server_context(NULL)};
    expect_refused(&pair, "unable to get local issuer certificate");
    tls_context_unref(pair.client_context);
    /* The system's authorities do not know ours either. */
    setenv("SSL_CERT_FILE", certs.other_ca_file, 1);
    pair.client_context = client_context(NULL);
    expect_refused(&pair, "unable to get local issuer certificate");
    unsetenv("SSL_CERT_FILE");
    contexts_free(&pair);
    loop_free(loop);
}

static void the_system_store_is_believed(void **state)
{
    (void)state;
    struct loop *loop = loop_new(0);
    setenv("SSL_CERT_FILE", certs.ca_file, 1);
    struct pair pair = {.host = "localhost",
                        .client_context = client_context(NULL),
                        .server_context = server_context(NULL)};
    pair_run(&pair);
    unsetenv("SSL_CERT_FILE");
    assert_int_equal(pair.client_result, 0);
    contexts_free(&pair);
    loop_free(loop);
}

static void an_expired_certificate_is_refused(void **state)
{
    (void)state;
    struct loop *loop = loop_new(0);
    struct tls_server_settings server = {.cert_file = certs.expired_file};
    struct pair pair = {.host = "localhost",
                        .client_context = client_context(certs.ca_file),
                        .server_context = tls_server_context_new(&server)};
    expect_refused(&pair, "certificate has expired");
    contexts_free(&pair);
    loop_free(loop);
}

static void a_pinned_server_certificate_is_enough(void **state)
{
    (void)state;
    struct loop *loop = loop_new(0);
    struct pair pair = {.host = "localhost",
                        .client_context = client_context(certs.cert_file),
                        .server_context = server_context(NULL)};
    pair_run(&pair);
    assert_int_equal(pair.client_result, 0);
    contexts_free(&pair);
    loop_free(loop);
}

static int late_result;
static struct err late_err;

static void client_reads_late(struct pair *pair)
{
    struct str s;
    late_result = (int)io_recv(&pair->client_io, &s, rig_in_ms(10000));
    late_err = *err_slot();
}

static void client_certificates(void **state)
{
    (void)state;
    struct loop *loop = loop_new(0);
    struct tls_client_settings with = {.ca_file = certs.ca_file, .cert_file = certs.client_file};
    struct pair pair = {.host = "localhost",
                        .client_context = tls_client_context_new(&with),
                        .server_context = server_context(certs.ca_file),
                        .client_fn = client_pings,
                        .server_fn = server_pongs};
    pair_run(&pair);
    assert_int_equal(pair.client_result, 0);
    assert_int_equal(pair.server_result, 0);
    tls_context_unref(pair.client_context);

    /* Without one the server refuses; in TLS 1.3 the client hears of it when it reads. */
    pair.client_context = client_context(certs.ca_file);
    pair.client_fn = client_reads_late;
    pair_run(&pair);
    assert_int_equal(pair.server_result, -ERR_TLS);
    assert_int_equal(late_result, -ERR_TLS);
    assert_non_null(strstr(late_err.message, "client certificate"));
    contexts_free(&pair);

    /* Nor is one of another authority good. */
    pair.client_context = tls_client_context_new(&with);
    pair.server_context = server_context(certs.other_ca_file);
    pair_run(&pair);
    assert_int_equal(pair.server_result, -ERR_TLS);
    contexts_free(&pair);
    loop_free(loop);
}

static void odd_host_names_are_refused(void **state)
{
    (void)state;
    struct loop *loop = loop_new(0);
    char too_long[300];
    memset(too_long, 'a', sizeof(too_long) - 1);
    too_long[sizeof(too_long) - 1] = '\0';
    const char *const hosts[] = {"", too_long};
    struct pair pair = {.client_context = client_context(certs.ca_file),
                        .server_context = server_context(NULL)};
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        pair.host = hosts[i];
        pair_run(&pair);
        assert_int_equal(pair.client_result, -ERR_INVALID);
    }
    contexts_free(&pair);
    loop_free(loop);
}

/* --- how a connection ends ----------------------------------------------------------------------
 */

static void server_sends_and_cuts(struct pair *pair)
{
    assert_int_equal(io_write(&pair->server_io, "half", 4, rig_in_ms(10000)), 0);
    /* FIN without close_notify, as a middlebox or an attacker would do it. */
    sys_shutdown(pair->server_io.pollable.fd, SHUT_WR);
    struct str s;
    io_recv(&pair->server_io, &s, rig_in_ms(10000));
}

static void client_hears_the_cut(struct pair *pair)
{
    char got[16];
    assert_int_equal(io_read(&pair->client_io, got, sizeof(got), rig_in_ms(10000)), 4);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(io_read(&pair->client_io, got, sizeof(got), rig_in_ms(10000)), -ERR_RESET);
        assert_int_equal(err_slot()->code, ERR_RESET);
        assert_non_null(strstr(err_slot()->message, "without saying goodbye"));
    }
}

static void a_cut_connection_is_no_orderly_end(void **state)
{
    (void)state;
    struct loop *loop = loop_new(0);
    struct pair pair = {.host = "localhost",
                        .client_context = client_context(certs.ca_file),
                        .server_context = server_context(NULL),
                        .client_fn = client_hears_the_cut,
                        .server_fn = server_sends_and_cuts};
    pair_run(&pair);
    assert_int_equal(pair.client_result, 0);
    contexts_free(&pair);
    loop_free(loop);
}

static void server_sends_and_closes(struct pair *pair)
{
    assert_int_equal(io_write(&pair->server_io, "all", 3, rig_in_ms(10000)), 0);
    io_shutdown_write(&pair->server_io);
}

static void client_hears_the_end(struct pair *pair)
{
    struct str s;
    assert_int_equal(io_wait_readable(&pair->client_io, rig_in_ms(10000)), 0);
    assert_int_equal(io_recv(&pair->client_io, &s, rig_in_ms(10000)), 3);
    assert_int_equal(io_wait_readable(&pair->client_io, rig_in_ms(10000)), 0);
    assert_int_equal(io_recv(&pair->client_io, &s, rig_in_ms(10000)), -ERR_CLOSED);
    assert_int_equal(io_recv(&pair->client_io, &s, rig_in_ms(10000)), -ERR_CLOSED);
}

static void an_orderly_end_is_told(void **state)
{
    (void)state;
    struct loop *loop = loop_new(0);
    struct pair pair = {.host = "localhost",
                        .client_context = client_context(certs.ca_file),
                        .server_context = server_context(NULL),
                        .client_fn = client_hears_the_end,
                        .server_fn = server_sends_and_closes};
    pair_run(&pair);
    assert_int_equal(pair.client_result, 0);
    contexts_free(&pair);
    loop_free(loop);
}

static void client_waits_while_nothing_comes(struct pair *pair)
{
    /* The server's ticket comes now; it is nothing to read. */
    assert_int_equal(io_wait_readable(&pair->client_io, rig_in_ms(50)), -ERR_TIMEOUT);
    struct str s;
    assert_int_equal(io_try_recv(&pair->client_io, &s), 0);
}

static void server_waits_for_the_end(struct pair *pair)
{
    struct str s;
    assert_int_equal(io_recv(&pair->server_io, &s, rig_in_ms(10000)), -ERR_CLOSED);
}

static void a_ticket_is_nothing_to_read(void **state)
{
    (void)state;
    struct loop *loop = loop_new(0);
    struct pair pair = {.host = "localhost",
                        .client_context = client_context(certs.ca_file),
                        .server_context = server_context(NULL),
                        .client_fn = client_waits_while_nothing_comes,
                        .server_fn = server_waits_for_the_end};
    pair_run(&pair);
    assert_int_equal(pair.client_result, 0);
    contexts_free(&pair);
    loop_free(loop);
}

/* The peer of a handshake, by hand. */
static void plain_peer(const char *bytes, bool close_it, int expected, const char *message)
{
    struct pair pair = {.host = "localhost", .client_context = client_context(certs.ca_file)};
    pair_open(&pair);
    assert_non_null(task_spawn(RUN_NORMAL, "client", client_main, &pair));
    int peer = io_detach(&pair.server_io);
    assert_int_equal(write(peer, bytes, strlen(bytes)), strlen(bytes));
    if (close_it)
        shutdown(peer, SHUT_WR);
    rig_turn_until_idle();
    close(peer);
    assert_int_equal(pair.client_result, expected);
    if (strstr(pair.client_err.message, message) == NULL)
        fail_msg("%s", pair.client_err.message);
    tls_context_unref(pair.client_context);
}

static void a_peer_without_tls_is_named(void **state)
{
    (void)state;
    struct loop *loop = loop_new(0);
    plain_peer("HTTP/1.1 400 Bad Request\r\n\r\n", false, -ERR_TLS, "does the peer speak TLS");
    plain_peer("", true, -ERR_RESET, "during the TLS handshake");
    plain_peer("\x16\x03\x03", true, -ERR_RESET, "during the TLS handshake");
    loop_free(loop);
}

static void late_connect(void *arg)
{
    struct pair *pair = arg;
    pair->client_result =
        tls_connect(&pair->client_io, pair->client_context, STR("localhost"), rig_in_ms(30));
    pair->client_err = *err_slot();
    io_close(&pair->client_io);
}

static void a_silent_peer_times_out(void **state)
{
    (void)state;
    struct loop *loop = loop_new(0);
    struct pair pair = {.client_context = client_context(certs.ca_file)};
    pair_open(&pair);
    assert_non_null(task_spawn(RUN_NORMAL, "client", late_connect, &pair));
    rig_turn_until_idle();
    assert_int_equal(pair.client_result, -ERR_TIMEOUT);
    assert_non_null(strstr(pair.client_err.message, "TLS handshake with localhost"));
    io_close(&pair.server_io);
    tls_context_unref(pair.client_context);
    loop_free(loop);
}

static void a_cancelled_handshake_ends(void **state)
{
    (void)state;
    struct loop *loop = loop_new(0);
    struct pair pair = {.client_context = client_context(certs.ca_file), .host = "localhost"};
    pair_open(&pair);
    struct task *task = task_spawn(RUN_NORMAL, "client", client_main, &pair);
    for (int i = 0; i < 5; i++)
        loop_turn(loop, NS_PER_MS);
    task_cancel(task, ERR_RESET);
    rig_turn_until_idle();
    assert_int_equal(pair.client_result, -ERR_CANCELED);
    io_close(&pair.server_io);
    tls_context_unref(pair.client_context);
    loop_free(loop);
}

/* --- many bytes ------------------------------------------------------------------------------ */

static void server_sends_big(struct pair *pair)
{
    /* In parts of all sizes, empty ones too. */
    struct iovec iov[64];
    size_t at = 0;
    while (at < pair->big_len) {
        int count = 0;
        for (; count < 64 && at < pair->big_len; count++) {
            size_t sizes[] = {0, 1, 5, 300, 20000, 16384, 70000};
            size_t n = sizes[random_below(ARRAY_LEN(sizes))];
            n = MIN(n, pair->big_len - at);
            iov[count] = (struct iovec){.iov_base = pair->big + at, .iov_len = n};
            at += n;
        }
        assert_int_equal(io_writev(&pair->server_io, iov, count, rig_in_ms(20000)), 0);
    }
    assert_int_equal(io_finish(&pair->server_io, rig_in_ms(20000)), 0);
}

static void client_takes_big(struct pair *pair)
{
    size_t at = 0;
    while (at < pair->big_len) {
        if (random_below(3) == 0) {
            char some[7];
            ssize_t n = io_read(&pair->client_io, some, sizeof(some), rig_in_ms(20000));
            assert_true(n > 0);
            assert_memory_equal(some, pair->big + at, n);
            at += (size_t)n;
            continue;
        }
        struct str s;
        ssize_t n = io_recv(&pair->client_io, &s, rig_in_ms(20000));
        assert_true(n > 0 && s.len == (size_t)n);
        assert_true(at + s.len <= pair->big_len);
        assert_memory_equal(s.ptr, pair->big + at, s.len);
        at += s.len;
        if (random_below(4) == 0)
            task_yield();
    }
    struct str rest;
    assert_int_equal(io_recv(&pair->client_io, &rest, rig_in_ms(20000)), -ERR_CLOSED);
}

static void big_transfer(int socket_buffer)
{
    struct loop *loop = loop_new(0);
    random_fake(99);
    struct pair pair = {.host = "localhost",
                        .client_context = client_context(certs.ca_file),
                        .server_context = server_context(NULL),
                        .client_fn = client_takes_big,
                        .server_fn = server_sends_big,
                        .big_len = 3 * 1024 * 1024};
    pair.big = malloc(pair.big_len);
    for (size_t i = 0; i < pair.big_len; i++)
        pair.big[i] = (char)random_u64();
    pair.socket_buffer = socket_buffer;
    pair_run(&pair);
    assert_int_equal(pair.client_result, 0);
    assert_int_equal(pair.server_result, 0);
    free(pair.big);
    random_fake(0);
    contexts_free(&pair);
    loop_free(loop);
}

static void many_bytes_arrive_whole(void **state)
{
    (void)state;
    big_transfer(0);
    big_transfer(1); /* the smallest that the kernel has: every write is a partial one */
}

static unsigned socket_writes;

static bool count_writes(void *ctx, enum sys_call call, int fd, int64_t *result)
{
    (void)ctx;
    (void)fd;
    (void)result;
    socket_writes += call == SYS_WRITEV;
    return false;
}

static void server_sends_head_and_body(struct pair *pair)
{
    static char body[40000];
    struct iovec iov[] = {{"head\r\n", 6}, {"more\r\n", 6}, {body, sizeof(body)}, {"end", 3}};
    socket_writes = 0;
    sys_hook(count_writes, NULL);
    assert_int_equal(io_writev(&pair->server_io, iov, 4, rig_in_ms(10000)), 0);
    sys_hook(NULL, NULL);
    assert_int_equal(socket_writes, 1);
}

static void client_takes_all(struct pair *pair)
{
    struct str s;
    size_t len = 0;
    ssize_t n;
    while ((n = io_recv(&pair->client_io, &s, rig_in_ms(10000))) > 0)
        len += (size_t)n;
    assert_int_equal(n, -ERR_CLOSED);
    assert_int_equal(len, 40015);
}

static void one_call_is_one_write_to_the_socket(void **state)
{
    (void)state;
    struct loop *loop = loop_new(0);
    struct pair pair = {.host = "localhost",
                        .client_context = client_context(certs.ca_file),
                        .server_context = server_context(NULL),
                        .client_fn = client_takes_all,
                        .server_fn = server_sends_head_and_body};
    pair_run(&pair);
    assert_int_equal(pair.client_result, 0);
    contexts_free(&pair);
    loop_free(loop);
}

/* What try_writev took must leave also when no task waits for the socket. */
static void server_tries_until_full(struct pair *pair)
{
    struct iovec iov = {.iov_base = pair->big, .iov_len = pair->big_len};
    ssize_t n, total = 0;
    while ((n = io_try_writev(&pair->server_io, &iov, 1)) > 0)
        total += n;
    assert_int_equal(n, 0);
    pair->big_len = (size_t)total;
    struct str s;
    /* The client's answer is proof that it got all of it. */
    assert_int_equal(io_recv(&pair->server_io, &s, rig_in_ms(10000)), 2);
}

static void client_counts_and_answers(struct pair *pair)
{
    size_t len = 0;
    struct str s;
    assert_int_equal(task_sleep_until(rig_in_ms(5)), 0);
    do {
        ssize_t n = io_recv(&pair->client_io, &s, rig_in_ms(10000));
        assert_true(n > 0);
        len += (size_t)n;
    } while (len < pair->big_len);
    assert_int_equal(len, pair->big_len);
    assert_int_equal(io_write(&pair->client_io, "ok", 2, rig_in_ms(10000)), 0);
}

static void what_was_taken_leaves_without_a_waiter(void **state)
{
    (void)state;
    struct loop *loop = loop_new(0);
    static char bytes[100000];
    struct pair pair = {.host = "localhost",
                        .client_context = client_context(certs.ca_file),
                        .server_context = server_context(NULL),
                        .client_fn = client_counts_and_answers,
                        .server_fn = server_tries_until_full,
                        .big = bytes,
                        .big_len = sizeof(bytes)};
    pair_run(&pair);
    assert_int_equal(pair.client_result, 0);
    contexts_free(&pair);
    loop_free(loop);
}

/* --- resumption ---------------------------------------------------------------------------------
 */

static void sessions_are_resumed(void **state)
{
    (void)state;
    struct loop *loop = loop_new(0);
    struct pair pair = {.host = "localhost",
                        .client_context = client_context(certs.ca_file),
                        .server_context = server_context(NULL),
                        .client_fn = client_pings,
                        .server_fn = server_pongs};
    pair_run(&pair);
    assert_false(pair.is_resumed);
    for (int i = 0; i < 3; i++) {
        pair_run(&pair);
        assert_true(pair.is_resumed);
    }
    /* Another host has its own. */
    pair.host = "api.example.test";
    pair_run(&pair);
    assert_false(pair.is_resumed);
    /* So has another context, but a server of the same certificate takes the ticket. */
    tls_context_unref(pair.server_context);
    pair.server_context = server_context(NULL);
    pair_run(&pair);
    assert_true(pair.is_resumed);
    tls_context_unref(pair.client_context);
    pair.client_context = client_context(certs.ca_file);
    pair_run(&pair);
    assert_false(pair.is_resumed);
    contexts_free(&pair);
    loop_free(loop);
}

static void tls12_works_and_resumes(void **state)
{
    (void)state;
    struct loop *loop = loop_new(0);
    struct pair pair = {.host = "localhost",
                        .client_context = client_context(certs.ca_file),
                        .server_context = server_context(NULL),
                        .client_fn = client_pings,
                        .server_fn = server_pongs};
    SSL_CTX_set_max_proto_version(pair.server_context->server_ctx, TLS1_2_VERSION);
    for (int i = 0; i < 3; i++) {
        pair_run(&pair);
        assert_int_equal(pair.client_result, 0);
        assert_string_equal(pair.version, "TLSv1.2");
        assert_int_equal(pair.is_resumed, i > 0);
    }
    pair.client_fn = client_hears_the_cut;
    pair.server_fn = server_sends_and_cuts;
    pair_run(&pair);
    contexts_free(&pair);
    loop_free(loop);
}

static void older_versions_are_refused(void **state)
{
    (void)state;
    struct loop *loop = loop_new(0);
    struct pair pair = {.host = "localhost",
                        .client_context = client_context(certs.ca_file),
                        .server_context = server_context(NULL)};
    SSL_CTX_set_min_proto_version(pair.server_context->server_ctx, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(pair.server_context->server_ctx, TLS1_1_VERSION);
    pair_run(&pair);
    assert_int_equal(pair.client_result, -ERR_TLS);
    assert_int_equal(pair.server_result, -ERR_TLS);
    contexts_free(&pair);
    loop_free(loop);
}

static void a_ticket_opens_no_other_door(void **state)
{
    (void)state;
    struct loop *loop = loop_new(0);
    struct pair pair = {.host = "localhost",
                        .client_context = client_context(certs.ca_file),
                        .server_context = server_context(NULL),
                        .client_fn = client_pings,
                        .server_fn = server_pongs};
    pair_run(&pair);
    tls_context_unref(pair.server_context);
    /* Here a client certificate is asked for, and the session was made without one. */
    pair.server_context = server_context(certs.ca_file);
    pair.client_fn = client_reads_late;
    pair_run(&pair);
    assert_int_equal(pair.server_result, -ERR_TLS);
    contexts_free(&pair);
    loop_free(loop);
}

static void ticket_keys_rotate(void **state)
{
    (void)state;
    clock_fake(1000 * NS_PER_SEC, clock_wall_ns());
    struct loop *loop = loop_new(0);
    struct pair pair = {.host = "localhost",
                        .client_context = client_context(certs.ca_file),
                        .server_context = server_context(NULL),
                        .client_fn = client_pings,
                        .server_fn = server_pongs};
    pair_run(&pair);
    /* A key is good for twice its turn: this ticket was made by the one before. The wall clock
     * stands still so that the ticket itself does not run out. */
    int64_t mono_ns = clock_mono_ns(), wall_ns = clock_wall_ns();
    clock_fake(mono_ns + 7 * 3600 * NS_PER_SEC, wall_ns);
    pair_run(&pair);
    assert_true(pair.is_resumed);
    clock_fake(mono_ns + 30 * 3600 * NS_PER_SEC, wall_ns);
    pair_run(&pair);
    assert_false(pair.is_resumed);
    contexts_free(&pair);
    loop_free(loop);
    clock_real();
}

/* --- settings -------------------------------------------------------------------------------- */

static void bad_files_are_named(void **state)
{
    (void)state;
    const struct {
        struct tls_client_settings settings;
        int code;
        const char *file, *message;
    } cases[] = {
        {{.ca_file = certs.missing_file}, ERR_IO, certs.missing_file, "No such file"},
        {{.ca_file = certs.garbage_file}, ERR_TLS, certs.garbage_file, "authorities"},
        {{.ca_file = certs.key_file}, ERR_TLS, certs.key_file, "authorities"},
        {{.ca_file = certs.ca_file, .cert_file = certs.missing_file},
         ERR_IO,
         certs.missing_file,
         "No such file"},
        {{.ca_file = certs.ca_file, .cert_file = certs.garbage_file},
         ERR_TLS,
         certs.garbage_file,
         "certificate file"},
        {{.ca_file = certs.ca_file, .cert_file = certs.cert_file, .key_file = certs.missing_file},
         ERR_IO,
         certs.missing_file,
         "No such file"},
        {{.ca_file = certs.ca_file, .cert_file = certs.cert_file, .key_file = certs.client_file},
         ERR_TLS,
         certs.client_file,
         "is not that of the certificate"},
        {{.ca_file = certs.ca_file,
          .cert_file = certs.cert_file,
          .key_file = certs.encrypted_key_file},
         ERR_TLS,
         certs.encrypted_key_file,
         "encrypted"},
        {{.ca_file = certs.ca_file, .key_file = certs.key_file},
         ERR_TLS,
         certs.key_file,
         "needs a certificate"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(tls_client_settings_check(&cases[i].settings), -cases[i].code);
        if (strstr(err_slot()->message, cases[i].file) == NULL ||
            strstr(err_slot()->message, cases[i].message) == NULL)
            fail_msg("%s", err_slot()->message);
    }
    struct tls_client_settings good = {.ca_file = certs.ca_file, .cert_file = certs.client_file};
    assert_int_equal(tls_client_settings_check(&good), 0);

    struct tls_server_settings server = {.cert_file = certs.cert_file,
                                         .key_file = certs.client_file};
    assert_null(tls_server_context_new(&server));
    assert_non_null(strstr(err_slot()->message, certs.client_file));
    server = (struct tls_server_settings){.cert_file = certs.cert_file,
                                          .key_file = certs.key_file,
                                          .client_ca_file = certs.garbage_file};
    assert_null(tls_server_context_new(&server));
    assert_non_null(strstr(err_slot()->message, certs.garbage_file));
}

static void a_bad_file_fails_the_handshake(void **state)
{
    (void)state;
    struct loop *loop = loop_new(0);
    struct pair pair = {.host = "localhost",
                        .client_context = client_context(certs.missing_file),
                        .server_context = server_context(NULL)};
    pair_run(&pair);
    assert_int_equal(pair.client_result, -ERR_IO);
    assert_non_null(strstr(pair.client_err.message, certs.missing_file));
    contexts_free(&pair);
    loop_free(loop);
}

static void files_are_read_on_a_helper_thread(void **state)
{
    (void)state;
    assert_int_equal(helper_start(2, 16), 0);
    tls_preload();
    struct loop *loop = loop_new(0);
    /* Several at once with one context: the first loads, the others wait for it. */
    struct tls_context *client = client_context(certs.ca_file);
    struct tls_context *server = server_context(NULL);
    struct pair pairs[8];
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        pairs[i] = (struct pair){.host = "localhost",
                                 .client_context = client,
                                 .server_context = server,
                                 .client_fn = client_pings,
                                 .server_fn = server_pongs};
        pair_open(&pairs[i]);
        assert_non_null(task_spawn(RUN_NORMAL, "server", server_main, &pairs[i]));
        assert_non_null(task_spawn(RUN_NORMAL, "client", client_main, &pairs[i]));
    }
    rig_turn_until_idle();
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        assert_int_equal(pairs[i].client_result, 0);
        assert_int_equal(pairs[i].server_result, 0);
    }
    tls_context_unref(client);
    tls_context_unref(server);
    loop_free(loop);
    helper_stop();
}

/* --- a tunnel inside TLS --------------------------------------------------------------------- */

static void inner_client(struct pair *pair)
{
    assert_int_equal(tls_connect_http1(&pair->client_io, pair->client_context,
                                       STR("inner.example.test"), rig_in_ms(10000)),
                     0);
    client_takes_big(pair);
}

static void inner_server(struct pair *pair)
{
    assert_int_equal(tls_accept(&pair->server_io, pair->server_context, rig_in_ms(10000)), 0);
    server_sends_big(pair);
}

static void tls_runs_inside_tls(void **state)
{
    (void)state;
    struct loop *loop = loop_new(0);
    struct pair pair = {.host = "localhost",
                        .client_context = client_context(certs.ca_file),
                        .server_context = server_context(NULL),
                        .client_fn = inner_client,
                        .server_fn = inner_server,
                        .big_len = 500000};
    pair.big = calloc(1, pair.big_len);
    pair_run(&pair);
    assert_int_equal(pair.client_result, 0);
    free(pair.big);
    contexts_free(&pair);
    loop_free(loop);
}

/* --- no memory ------------------------------------------------------------------------------- */

static void failed_allocations_are_errors(void **state)
{
    (void)state;
    unsigned failures = 0;
    for (uint64_t n = 1; n < 200; n++) {
        struct loop *loop = loop_new(0);
        struct pair pair = {.host = "localhost",
                            .client_context = client_context(certs.ca_file),
                            .server_context = server_context(NULL)};
        pair_open(&pair);
        assert_non_null(task_spawn(RUN_NORMAL, "server", server_main, &pair));
        assert_non_null(task_spawn(RUN_NORMAL, "client", client_main, &pair));
        mem_fail_at(n);
        rig_turn_until_idle();
        bool has_failed = mem_count() >= n;
        mem_fail_at(0);
        failures += pair.client_result < 0 || pair.server_result < 0;
        contexts_free(&pair);
        loop_free(loop);
        if (!has_failed)
            break;
        assert_true(n < 199);
    }
    assert_true(failures >= 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_ends_talk),
        cmocka_unit_test(alpn_takes_h2_when_both_have_it),
        cmocka_unit_test(a_wrong_name_is_refused),
        cmocka_unit_test(an_unknown_authority_is_refused),
        cmocka_unit_test(the_system_store_is_believed),
        cmocka_unit_test(an_expired_certificate_is_refused),
        cmocka_unit_test(a_pinned_server_certificate_is_enough),
        cmocka_unit_test(client_certificates),
        cmocka_unit_test(odd_host_names_are_refused),
        cmocka_unit_test(a_cut_connection_is_no_orderly_end),
        cmocka_unit_test(an_orderly_end_is_told),
        cmocka_unit_test(a_ticket_is_nothing_to_read),
        cmocka_unit_test(a_peer_without_tls_is_named),
        cmocka_unit_test(a_silent_peer_times_out),
        cmocka_unit_test(a_cancelled_handshake_ends),
        cmocka_unit_test(many_bytes_arrive_whole),
        cmocka_unit_test(one_call_is_one_write_to_the_socket),
        cmocka_unit_test(what_was_taken_leaves_without_a_waiter),
        cmocka_unit_test(sessions_are_resumed),
        cmocka_unit_test(tls12_works_and_resumes),
        cmocka_unit_test(older_versions_are_refused),
        cmocka_unit_test(a_ticket_opens_no_other_door),
        cmocka_unit_test(ticket_keys_rotate),
        cmocka_unit_test(bad_files_are_named),
        cmocka_unit_test(a_bad_file_fails_the_handshake),
        cmocka_unit_test(files_are_read_on_a_helper_thread),
        cmocka_unit_test(tls_runs_inside_tls),
        cmocka_unit_test(failed_allocations_are_errors),
    };
    return cmocka_run_group_tests_name("rt/tls", tests, make_certs, remove_certs);
}
