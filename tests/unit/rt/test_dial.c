/* Longer than other files: one fixture, servers and proxies with their certificates, carries it
 * all. */
#include "rt/dial.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "base/mem.h"
#include "rig.h"
#include "rt/dns.h"
#include "rt/listener.h"
#include "rt/sys.h"
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

/* --- a server on this thread's loop -------------------------------------------------------------
 */

struct server {
    void (*serve)(struct server *server, struct io *io);
    struct listener *listener;
    struct net_addr addr;
    uint16_t port;
    unsigned accepted;
    const char *reply;               /* of proxies */
    char seen[2048];                 /* the request that a proxy got */
    struct tls_context *tls, *inner; /* of TLS proxies */
    char outer_alpn[16];
};

struct serving {
    struct server *server;
    int fd;
};

static void serving_main(void *arg)
{
    struct serving serving = *(struct serving *)arg;
    free(arg);
    struct io io;
    assert_int_equal(io_open(&io, serving.fd), 0);
    serving.server->serve(serving.server, &io);
    io_close(&io);
}

static void on_accept(void *ctx, int fd, const struct net_addr *peer)
{
    (void)peer;
    struct server *server = ctx;
    server->accepted++;
    struct serving *serving = malloc(sizeof(*serving));
    *serving = (struct serving){.server = server, .fd = fd};
    assert_non_null(task_spawn(RUN_NORMAL, "server", serving_main, serving));
}

static void server_start(struct server *server, void (*serve)(struct server *, struct io *))
{
    struct net_addr any;
    int fd;
    assert_true(net_addr_parse(STR("127.0.0.1"), 0, &any));
    assert_int_equal(listen_open(&any, 1, &fd, &server->addr), 0);
    server->port = net_addr_port(&server->addr);
    server->serve = serve;
    struct loop *loop = loop_self();
    void *ctx = server;
    server->listener = listener_start(fd, on_accept, &loop, &ctx, 1);
    assert_non_null(server->listener);
}

static void server_stop(struct server *server)
{
    listener_stop(server->listener, true);
    rig_turn_until_idle();
}

static void serve_echo(struct server *server, struct io *io)
{
    (void)server;
    char bytes[64];
    ssize_t n = io_read(io, bytes, sizeof(bytes), rig_in_ms(10000));
    if (n > 0)
        io_write(io, bytes, (size_t)n, rig_in_ms(10000));
}

/* --- a dialler -----------------------------------------------------------------------------------
 */

struct dialing {
    struct dial_target target;
    int64_t patience_ms;
    int result;
    struct err err;
    char peer[NET_ADDR_TEXT_BYTES];
    bool has_nodelay;
    char echo[8];
    char alpn[16];
    struct dial_timing timing;
    bool is_over;
};

static void dialing_main(void *arg)
{
    struct dialing *d = arg;
    struct io io;
    int64_t deadline_ns = rig_in_ms(d->patience_ms != 0 ? d->patience_ms : 20000);
    d->result = dial(&io, &d->target, deadline_ns, deadline_ns, &d->timing);
    d->err = *err_slot();
    assert_int_equal(io_is_open(&io), d->result == 0);
    if (d->result == 0) {
        struct net_addr peer = {.len = sizeof(peer.u)};
        getpeername(io.pollable.fd, &peer.u.any, &peer.len);
        net_addr_format(&peer, false, d->peer);
        int on = 0;
        socklen_t len = sizeof(on);
        getsockopt(io.pollable.fd, IPPROTO_TCP, TCP_NODELAY, &on, &len);
        d->has_nodelay = on != 0;
        snprintf(d->alpn, sizeof(d->alpn), "%.*s", STR_ARG(tls_alpn(&io)));
        if (io_write(&io, "echo", 4, rig_in_ms(10000)) == 0)
            io_read(&io, d->echo, sizeof(d->echo), rig_in_ms(10000));
        io_close(&io);
    }
    d->is_over = true;
}

static struct task *dial_spawn(struct dialing *d)
{
    struct task *task = task_spawn(RUN_NORMAL, "dial", dialing_main, d);
    assert_non_null(task);
    return task;
}

static void dial_run(struct dialing *d)
{
    dial_spawn(d);
    rig_turn_until(&d->is_over);
}

static struct dialing to(const char *host, uint16_t port)
{
    return (struct dialing){
        .target = {.host = str_c(host), .port = port, .policy = {.allow_loopback = true}}};
}

/* What the fake resolver says of every name. */
static const char *fake_addrs[DNS_ADDRS_MAX + 1];

static int fake_resolver(void *ctx, struct str host, struct net_addr out[DNS_ADDRS_MAX],
                         unsigned *ttl_s)
{
    (void)ctx;
    (void)host;
    (void)ttl_s;
    int n = 0;
    for (; fake_addrs[n] != NULL; n++)
        assert_true(net_addr_parse(str_c(fake_addrs[n]), 0, &out[n]));
    return n > 0 ? n : -ERR_INVALID;
}

#define NAMES_MEAN(...)                                 \
    do {                                                \
        const char *const list[] = {__VA_ARGS__, NULL}; \
        memcpy(fake_addrs, list, sizeof(list));         \
        dns_fake(fake_resolver, NULL);                  \
    } while (0)

/* From now on time stands still, for the loop as well. */
static void stop_time(struct loop *loop)
{
    clock_fake(clock_mono_ns(), 0);
    loop_turn(loop, 0);
}

static unsigned long open_descriptors(void)
{
    unsigned long n = 0;
    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static unsigned long descriptors_before;

static int rig_up(void **state)
{
    (void)state;
    descriptors_before = open_descriptors();
    *state = loop_new(0);
    return 0;
}

static int rig_down(void **state)
{
    sys_hook(NULL, NULL);
    rig_turn_until_idle();
    dns_fake(NULL, NULL);
    dns_thread_fini();
    loop_free(*state);
    clock_real();
    assert_int_equal(open_descriptors(), descriptors_before);
    return 0;
}

/* --- the guard ------------------------------------------------------------------------------- */

static unsigned connects;

static bool count_connects(void *ctx, enum sys_call call, int fd, int64_t *result)
{
    (void)ctx;
    (void)fd;
    (void)result;
    connects += call == SYS_CONNECT;
    return false;
}

static void addresses_are_judged_after_dns(void **state)
{
    (void)state;
    static const struct {
        const char *addr;
        struct dial_policy policy;
    } cases[] = {
        {"127.0.0.1", {false, false, false}},
        {"::1", {false, false, false}},
        {"10.0.0.1", {true, false, false}},
        {"192.168.1.1", {true, false, false}},
        {"fd00::1", {true, false, false}},
        {"169.254.169.254", {true, true, false}},
        {"fe80::1", {true, true, false}},
        {"fd00:ec2::254", {true, true, false}},
        {"127.0.0.1", {false, false, true}},
        {"10.0.0.1", {true, false, true}},
        {"0.0.0.0", {true, true, true}},
        {"::", {true, true, false}},
        {"::ffff:169.254.169.254", {true, true, false}},
        {"64:ff9b::a9fe:a9fe", {true, true, false}},
        {"2002:a9fe:a9fe::1", {true, true, false}},
        {"::ffff:127.0.0.1", {false, false, false}},
        {"224.0.0.1", {true, true, true}},
        {"100.100.100.200", {true, true, false}},
    };
    sys_hook(count_connects, NULL);
    connects = 0;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        NAMES_MEAN(cases[i].addr);
        const char *const hosts[] = {cases[i].addr, "innocent.example"};
        for (size_t h = 0; h < ARRAY_LEN(hosts); h++) {
            struct dialing d = to(hosts[h], 80);
            d.target.policy = cases[i].policy;
            dial_run(&d);
            assert_int_equal(d.result, -ERR_FORBIDDEN);
            assert_int_equal(d.err.retry, RETRY_NO);
            if (strstr(d.err.message, cases[i].addr) == NULL)
                fail_msg("%s", d.err.message);
        }
    }
    assert_int_equal(connects, 0);
}

/* Nothing is sent to the network: each connect fails at once. */
static bool fail_connects(void *ctx, enum sys_call call, int fd, int64_t *result)
{
    (void)ctx;
    (void)fd;
    if (call != SYS_CONNECT)
        return false;
    connects++;
    *result = -1;
    errno = ECONNREFUSED;
    return true;
}

static void metadata_services_are_reached_by_who_may(void **state)
{
    (void)state;
    static const char *const addrs[] = {"169.254.169.254", "169.254.170.2", "fd00:ec2::254"};
    sys_hook(fail_connects, NULL);
    for (size_t i = 0; i < ARRAY_LEN(addrs); i++) {
        connects = 0;
        struct dialing d = to(addrs[i], 80);
        d.target.policy = (struct dial_policy){.allow_link_local = true};
        dial_run(&d);
        assert_int_equal(d.result, -ERR_CONNECT);
        assert_int_equal(connects, 1);
    }
}

static void refused_addresses_are_left_out(void **state)
{
    (void)state;
    struct server server = {0};
    server_start(&server, serve_echo);
    NAMES_MEAN("169.254.169.254", "10.0.0.1", "127.0.0.1");
    struct dialing d = to("mixed.example", server.port);
    connects = 0;
    sys_hook(count_connects, NULL);
    dial_run(&d);
    assert_int_equal(d.result, 0);
    assert_string_equal(d.peer, "127.0.0.1");
    assert_int_equal(connects, 1);
    server_stop(&server);
}

/* --- connecting ------------------------------------------------------------------------------ */

static void a_connection_is_made_and_measured(void **state)
{
    (void)state;
    struct server server = {0};
    server_start(&server, serve_echo);
    struct dialing d = to("127.0.0.1", server.port);
    dial_run(&d);
    assert_int_equal(d.result, 0);
    assert_string_equal(d.echo, "echo");
    assert_true(d.has_nodelay);
    assert_true(d.timing.connect_ns > 0 && d.timing.dns_ns >= 0 && d.timing.tls_ns == 0);
    server_stop(&server);
}

static void a_refused_connection_is_told(void **state)
{
    (void)state;
    struct net_addr nobody = rig_closed_port();
    struct dialing d = to("127.0.0.1", net_addr_port(&nobody));
    dial_run(&d);
    assert_int_equal(d.result, -ERR_CONNECT);
    assert_int_equal(d.err.retry, RETRY_YES);
    assert_int_equal(d.err.fault, FAULT_UPSTREAM);
    assert_int_equal(d.err.errno_value, ECONNREFUSED);
    char text[NET_ADDR_TEXT_BYTES];
    assert_non_null(strstr(d.err.message, net_addr_format(&nobody, true, text)));
}

static void a_name_without_address_is_told(void **state)
{
    (void)state;
    NAMES_MEAN(NULL);
    struct dialing d = to("nowhere.example", 80);
    dial_run(&d);
    assert_int_equal(d.result, -ERR_DNS);
    assert_non_null(strstr(d.err.message, "nowhere.example"));
}

static void a_failed_address_leaves_the_field_at_once(void **state)
{
    struct server server = {0};
    server_start(&server, serve_echo);
    /* The clock stands still: the second is tried because the first failed. */
    stop_time(*state);
    NAMES_MEAN("127.0.0.9", "127.0.0.1");
    struct dialing d = to("two.example", server.port);
    dial_run(&d);
    assert_int_equal(d.result, 0);
    assert_string_equal(d.peer, "127.0.0.1");
    server_stop(&server);
}

/* A socket on 127.0.0.3 that answers no connection request: its queue is full. */
struct black_hole {
    int listener, filler;
};

static bool black_hole_open(struct black_hole *hole, uint16_t port)
{
    struct net_addr addr;
    assert_true(net_addr_parse(STR("127.0.0.3"), port, &addr));
    hole->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    hole->filler = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(hole->listener, &addr.u.any, addr.len), 0);
    assert_int_equal(listen(hole->listener, 0), 0);
    return connect(hole->filler, &addr.u.any, addr.len) == 0;
}

static void black_hole_close(struct black_hole *hole)
{
    close(hole->listener);
    close(hole->filler);
}

static void a_silent_address_is_overtaken(void **state)
{
    struct loop *loop = *state;
    struct server server = {0};
    server_start(&server, serve_echo);
    struct black_hole hole;
    assert_true(black_hole_open(&hole, server.port));
    stop_time(*state);
    NAMES_MEAN("127.0.0.3", "127.0.0.1");
    struct dialing d = to("two.example", server.port);
    dial_spawn(&d);
    for (int i = 0; i < 20; i++)
        loop_turn(loop, NS_PER_MS);
    assert_int_equal(server.accepted, 0);
    clock_fake_advance(249 * NS_PER_MS);
    for (int i = 0; i < 20; i++)
        loop_turn(loop, NS_PER_MS);
    assert_int_equal(server.accepted, 0);
    clock_fake_advance(2 * NS_PER_MS);
    rig_turn_until(&d.is_over);
    assert_int_equal(d.result, 0);
    assert_string_equal(d.peer, "127.0.0.1");
    black_hole_close(&hole);
    server_stop(&server);
}

static void silence_times_out(void **state)
{
    (void)state;
    struct black_hole hole;
    struct net_addr nobody = rig_closed_port();
    assert_true(black_hole_open(&hole, net_addr_port(&nobody)));
    struct dialing d = to("127.0.0.3", net_addr_port(&nobody));
    d.patience_ms = 30;
    dial_run(&d);
    assert_int_equal(d.result, -ERR_TIMEOUT);
    assert_int_equal(d.err.retry, RETRY_YES);
    assert_int_equal(d.err.fault, FAULT_UPSTREAM);

    d = to("127.0.0.3", net_addr_port(&nobody));
    struct task *task = dial_spawn(&d);
    for (int i = 0; i < 5; i++)
        loop_turn(*state, NS_PER_MS);
    task_cancel(task, ERR_RESET);
    rig_turn_until(&d.is_over);
    assert_int_equal(d.result, -ERR_CANCELED);
    black_hole_close(&hole);
}

static struct net_addr tried[DNS_ADDRS_MAX];
static unsigned tried_count;

/* Refuses each connection, and keeps the order of their families. */
static bool refuse_connects(void *ctx, enum sys_call call, int fd, int64_t *result)
{
    (void)ctx;
    if (call != SYS_CONNECT)
        return false;
    socklen_t len = sizeof(tried[0].u);
    getsockname(fd, &tried[tried_count++].u.any, &len);
    errno = ECONNREFUSED;
    *result = -1;
    return true;
}

static void families_alternate(void **state)
{
    (void)state;
    NAMES_MEAN("::1", "2606:4700::1", "2606:4700::2", "2606:4700::3", "1.1.1.1", "1.1.1.2");
    struct dialing d = to("six.example", 443);
    tried_count = 0;
    sys_hook(refuse_connects, NULL);
    dial_run(&d);
    assert_int_equal(d.result, -ERR_CONNECT);
    static const int families[] = {AF_INET6, AF_INET, AF_INET6, AF_INET, AF_INET6, AF_INET6};
    assert_int_equal(tried_count, 6);
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(tried[i].u.any.sa_family, families[i]);
}

static unsigned fail_at_call, calls;

static bool fail_nth(void *ctx, enum sys_call call, int fd, int64_t *result)
{
    (void)ctx;
    (void)fd;
    if (call == SYS_CLOSE || call == SYS_EPOLL_WAIT || ++calls != fail_at_call)
        return false;
    errno = EIO;
    *result = -1;
    return true;
}

/* Accepts in the kernel alone: the test's own calls are not to fail. */
static void a_failed_call_leaks_nothing(void **state)
{
    (void)state;
    struct net_addr addr;
    int listener = rig_listen(&addr);
    fcntl(listener, F_SETFL, O_NONBLOCK);
    unsigned failures = 0;
    NAMES_MEAN("127.0.0.8", "127.0.0.1");
    for (fail_at_call = 1; fail_at_call < 100; fail_at_call++) {
        unsigned long before = open_descriptors();
        struct dialing d = to("two.example", net_addr_port(&addr));
        d.patience_ms = 200;
        calls = 0;
        dial_spawn(&d);
        sys_hook(fail_nth, NULL);
        /* The echo that the client waits for comes from here. */
        int peer = -1;
        for (int i = 0; i < 5000 && !d.is_over; i++) {
            if (peer < 0)
                peer = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
            if (peer >= 0)
                (void)!send(peer, "echo", 4, MSG_NOSIGNAL);
            loop_turn(*state, NS_PER_MS);
        }
        sys_hook(NULL, NULL);
        assert_true(d.is_over);
        if (peer >= 0)
            close(peer);
        while ((peer = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0)
            close(peer);
        assert_int_equal(open_descriptors(), before);
        failures += d.result < 0;
        if (calls < fail_at_call)
            break;
    }
    assert_true(failures >= 1);
    assert_true(fail_at_call > 8 && fail_at_call < 100);
    close(listener);
}

/* --- TLS -----------------------------------------------------------------------------------------
 */

static struct tls_context *server_tls(bool offer_h2)
{
    struct tls_server_settings settings = {
        .cert_file = certs.cert_file, .key_file = certs.key_file, .offer_h2 = offer_h2};
    struct tls_context *context = tls_server_context_new(&settings);
    assert_non_null(context);
    return context;
}

static struct tls_context *client_tls(bool offer_h2)
{
    struct tls_client_settings settings = {.ca_file = certs.ca_file, .offer_h2 = offer_h2};
    struct tls_context *context = tls_client_context_new(&settings);
    assert_non_null(context);
    return context;
}

static void serve_tls_echo(struct server *server, struct io *io)
{
    if (tls_accept(io, server->tls, rig_in_ms(10000)) == 0)
        serve_echo(server, io);
}

static void tls_follows_the_connection(void **state)
{
    (void)state;
    struct server server = {.tls = server_tls(true)};
    server_start(&server, serve_tls_echo);
    NAMES_MEAN("127.0.0.1");
    struct dialing d = to("api.example.test", server.port);
    d.target.tls = client_tls(true);
    dial_run(&d);
    assert_int_equal(d.result, 0);
    assert_string_equal(d.echo, "echo");
    assert_string_equal(d.alpn, "h2");
    assert_true(d.timing.tls_ns > 0);

    /* The name that is checked can be another than the one that is dialled. */
    struct tls_context *tls = d.target.tls;
    d = to("other.example", server.port);
    d.target.tls = tls;
    dial_run(&d);
    assert_int_equal(d.result, -ERR_TLS);
    assert_int_equal(d.err.retry, RETRY_NO);
    d = to("other.example", server.port);
    d.target.tls = tls;
    d.target.tls_host = STR("localhost");
    dial_run(&d);
    assert_int_equal(d.result, 0);
    tls_context_unref(tls);
    server_stop(&server);
    tls_context_unref(server.tls);
}

static void serve_hang_up(struct server *server, struct io *io)
{
    (void)server;
    struct str s;
    io_recv(io, &s, rig_in_ms(10000));
}

static void a_hang_up_in_the_handshake_may_be_retried(void **state)
{
    (void)state;
    struct server server = {0};
    server_start(&server, serve_hang_up);
    struct dialing d = to("127.0.0.1", server.port);
    d.target.tls = client_tls(false);
    dial_run(&d);
    assert_int_equal(d.result, -ERR_RESET);
    assert_int_equal(d.err.retry, RETRY_YES);
    tls_context_unref(d.target.tls);
    server_stop(&server);
}

/* --- proxies --------------------------------------------------------------------------------- */

static int read_request(struct server *server, struct io *io)
{
    size_t len = 0;
    while (strstr(server->seen, "\r\n\r\n") == NULL) {
        ssize_t n =
            io_read(io, server->seen + len, sizeof(server->seen) - 1 - len, rig_in_ms(10000));
        if (n < 0)
            return (int)n;
        len += (size_t)n;
        server->seen[len] = '\0';
    }
    return 0;
}

static void serve_proxy(struct server *server, struct io *io)
{
    memset(server->seen, 0, sizeof(server->seen));
    if (server->tls != NULL) {
        assert_int_equal(tls_accept(io, server->tls, rig_in_ms(10000)), 0);
        snprintf(server->outer_alpn, sizeof(server->outer_alpn), "%.*s", STR_ARG(tls_alpn(io)));
    }
    if (read_request(server, io) < 0)
        return;
    /* Byte by byte: the head may be cut anywhere. */
    for (const char *p = server->reply; *p != '\0'; p++) {
        if (io_write(io, p, 1, rig_in_ms(10000)) < 0)
            return;
        if (strlen(server->reply) < 200)
            task_yield();
    }
    if (server->inner != NULL)
        assert_int_equal(tls_accept(io, server->inner, rig_in_ms(10000)), 0);
    serve_echo(server, io);
}

static struct dialing by_proxy(const struct server *server, const char *host, uint16_t port)
{
    struct dialing d = to(host, port);
    d.target.policy = (struct dial_policy){.allow_loopback = false};
    d.target.proxy = (struct dial_proxy){.host = STR("127.0.0.1"), .port = server->port};
    return d;
}

static void a_proxy_is_asked_for_a_tunnel(void **state)
{
    (void)state;
    struct server server = {.reply = "HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n"};
    server_start(&server, serve_proxy);
    struct dialing d = by_proxy(&server, "api.example.com", 443);
    d.target.proxy.authorization = STR("Basic c2VjcmV0");
    dial_run(&d);
    assert_int_equal(d.result, 0);
    assert_string_equal(d.echo, "echo");
    assert_string_equal(server.seen, "CONNECT api.example.com:443 HTTP/1.1\r\n"
                                     "Host: api.example.com:443\r\n"
                                     "Proxy-Authorization: Basic c2VjcmV0\r\n\r\n");
    d = by_proxy(&server, "2606:4700::1111", 80);
    dial_run(&d);
    assert_int_equal(d.result, 0);
    assert_string_equal(server.seen, "CONNECT [2606:4700::1111]:80 HTTP/1.1\r\n"
                                     "Host: [2606:4700::1111]:80\r\n\r\n");
    server_stop(&server);
}

static void what_a_proxy_answers_instead(void **state)
{
    (void)state;
    static char endless[20000];
    memset(endless, 'x', sizeof(endless) - 1);
    memcpy(endless, "HTTP/1.1 200 OK\r\nA: ", 20);
    static const struct {
        const char *reply;
        int result;
        enum err_retry retry;
        const char *message;
    } cases[] = {
        {"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", ERR_CONNECT, RETRY_NO,
         "other credentials"},
        {"HTTP/1.1 403 For\x1b[31mbidden\r\n\r\n", ERR_CONNECT, RETRY_NO, "403 For?[31mbidden"},
        {"HTTP/1.0 502 Bad Gateway\r\n\r\n", ERR_CONNECT, RETRY_YES, "502 Bad Gateway"},
        {"SSH-2.0-OpenSSH_9.2\r\n\r\n", ERR_PROTOCOL, RETRY_NO, "not HTTP"},
        {"HTTP/1.1 20x OK\r\n\r\n", ERR_PROTOCOL, RETRY_NO, "not HTTP"},
        {"HTTP/1.1 2000 OK\r\n\r\n", ERR_PROTOCOL, RETRY_NO, "not HTTP"},
        {"HTTP/1.1\r\n\r\n", ERR_PROTOCOL, RETRY_NO, "not HTTP"},
        {endless, ERR_PROTOCOL, RETRY_NO, "longer than"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct server server = {.reply = cases[i].reply};
        server_start(&server, serve_proxy);
        struct dialing d = by_proxy(&server, "api.example.com", 443);
        d.target.proxy.authorization = STR("Basic c2VjcmV0");
        dial_run(&d);
        assert_int_equal(d.result, -cases[i].result);
        assert_int_equal(d.err.retry, cases[i].retry);
        if (strstr(d.err.message, cases[i].message) == NULL)
            fail_msg("%s", d.err.message);
        assert_non_null(strstr(d.err.message, "proxy"));
        assert_null(strstr(d.err.message, "c2VjcmV0"));
        server_stop(&server);
    }
}

static void serve_too_much(struct server *server, struct io *io)
{
    memset(server->seen, 0, sizeof(server->seen));
    if (read_request(server, io) == 0)
        io_write(io, server->reply, strlen(server->reply), rig_in_ms(10000));
}

static void bytes_before_their_time_are_refused(void **state)
{
    (void)state;
    struct server server = {.reply = "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"};
    server_start(&server, serve_too_much);
    struct dialing d = by_proxy(&server, "api.example.com", 443);
    dial_run(&d);
    assert_int_equal(d.result, -ERR_PROTOCOL);
    server_stop(&server);
    /* And a proxy that goes away is a broken connection. */
    server = (struct server){.reply = "HTTP/1.1 200"};
    server_start(&server, serve_too_much);
    d = by_proxy(&server, "api.example.com", 443);
    dial_run(&d);
    assert_int_equal(d.result, -ERR_CLOSED);
    assert_int_equal(d.err.retry, RETRY_YES);
    server_stop(&server);
}

static void a_proxy_is_no_way_around_the_guard(void **state)
{
    (void)state;
    struct server server = {.reply = "HTTP/1.1 200 OK\r\n\r\n"};
    server_start(&server, serve_proxy);
    static const char *const hosts[] = {"169.254.169.254",       "127.0.0.1", "localhost",
                                        "a.localhost.",          "[::1]",     "10.0.0.1",
                                        "::ffff:169.254.169.254"};
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        struct dialing d = by_proxy(&server, hosts[i], 80);
        dial_run(&d);
        assert_int_equal(d.result, -ERR_FORBIDDEN);
    }
    struct dialing d = by_proxy(&server, "evil\r\nHost: x", 80);
    dial_run(&d);
    assert_int_equal(d.result, -ERR_INVALID);
    assert_int_equal(server.accepted, 1);
    assert_string_equal(server.seen, "");
    server_stop(&server);
}

static void tls_to_the_proxy_and_through_it(void **state)
{
    (void)state;
    struct server server = {
        .reply = "HTTP/1.1 200 OK\r\n\r\n", .tls = server_tls(true), .inner = server_tls(true)};
    server_start(&server, serve_proxy);
    struct dialing d = by_proxy(&server, "api.example.test", 443);
    d.target.tls = client_tls(true);
    d.target.proxy.is_tls = true;
    dial_run(&d);
    assert_int_equal(d.result, 0);
    assert_string_equal(d.echo, "echo");
    assert_string_equal(d.alpn, "h2");
    assert_string_equal(server.outer_alpn, "http/1.1");
    tls_context_unref(d.target.tls);

    d = by_proxy(&server, "api.example.test", 443);
    d.target.proxy.is_tls = true;
    dial_run(&d);
    assert_int_equal(d.result, -ERR_INVALID);
    server_stop(&server);
    tls_context_unref(server.tls);
    tls_context_unref(server.inner);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, rig_up, rig_down)
    const struct CMUnitTest tests[] = {
        TEST(metadata_services_are_reached_by_who_may),
        TEST(addresses_are_judged_after_dns),
        TEST(refused_addresses_are_left_out),
        TEST(a_connection_is_made_and_measured),
        TEST(a_refused_connection_is_told),
        TEST(a_name_without_address_is_told),
        TEST(a_failed_address_leaves_the_field_at_once),
        TEST(a_silent_address_is_overtaken),
        TEST(silence_times_out),
        TEST(families_alternate),
        TEST(a_failed_call_leaks_nothing),
        TEST(tls_follows_the_connection),
        TEST(a_hang_up_in_the_handshake_may_be_retried),
        TEST(a_proxy_is_asked_for_a_tunnel),
        TEST(what_a_proxy_answers_instead),
        TEST(bytes_before_their_time_are_refused),
        TEST(a_proxy_is_no_way_around_the_guard),
        TEST(tls_to_the_proxy_and_through_it),
    };
#undef TEST
    return cmocka_run_group_tests_name("rt/dial", tests, make_certs, remove_certs);
}
