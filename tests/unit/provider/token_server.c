#include "token_server.h"

#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "http/client.h"
#include "rt/dns.h"
#include "rt/listener.h"
#include "rt/loop.h"
#include "rt/random.h"

struct service service;

static char home[64], paths[8][128];
static unsigned file_count;
static struct buf log_text;

static const char *const variables[] = {"AWS_ACCESS_KEY_ID",
                                        "AWS_SECRET_ACCESS_KEY",
                                        "AWS_SESSION_TOKEN",
                                        "AWS_PROFILE",
                                        "AWS_WEB_IDENTITY_TOKEN_FILE",
                                        "AWS_ROLE_ARN",
                                        "AWS_ROLE_SESSION_NAME",
                                        "AWS_SHARED_CREDENTIALS_FILE",
                                        "AWS_CONFIG_FILE",
                                        "AWS_ENDPOINT_URL_STS",
                                        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
                                        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                                        "AWS_CONTAINER_AUTHORIZATION_TOKEN",
                                        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
                                        "AWS_EC2_METADATA_DISABLED",
                                        "AWS_EC2_METADATA_SERVICE_ENDPOINT",
                                        "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
                                        "GOOGLE_APPLICATION_CREDENTIALS",
                                        "CLOUDSDK_CONFIG",
                                        "GCE_METADATA_HOST",
                                        "AZURE_AUTHORITY_HOST",
                                        "AZURE_TENANT_ID",
                                        "AZURE_CLIENT_ID",
                                        "AZURE_CLIENT_SECRET",
                                        "AZURE_FEDERATED_TOKEN_FILE",
                                        "IDENTITY_ENDPOINT",
                                        "IDENTITY_HEADER",
                                        "AZURE_POD_IDENTITY_AUTHORITY_HOST"};

static void keep_line(struct str line)
{
    buf_add_str(&log_text, line);
}

struct str logged(void)
{
    return buf_str(&log_text);
}

/* --- the service --- */

static void handle(struct http_request *r, void *ctx)
{
    struct service *s = ctx;
    struct buf body = BUF_INIT, answer = BUF_INIT;
    if (http_request_collect(r, 1 << 20, CLOCK_NEVER, &body) < 0) {
        assert_true(s->lacks_memory);
        buf_fini(&body);
        return;
    }
    buf_clear(&s->last);
    buf_printf(&s->last, "%.*s %.*s\n", STR_ARG(r->method_name), STR_ARG(r->target));
    for (uint32_t i = 0; i < r->headers.count; i++)
        buf_printf(&s->last, "%.*s: %.*s\n", STR_ARG(r->headers.items[i].name),
                   STR_ARG(r->headers.items[i].value));
    buf_printf(&s->last, "\n%.*s", STR_ARG(buf_str(&body)));
    s->asked++;
    while (s->is_held && task_yield() == 0)
        continue;
    unsigned status = 500;
    if (s->fails > 0)
        s->fails--;
    else
        status = s->answer(s, r, buf_str(&body), &answer);
    http_respond(r, status, NULL, buf_str(&answer));
    buf_fini(&body);
    buf_fini(&answer);
}

static void on_accept(void *ctx, int fd, const struct net_addr *peer)
{
    static const struct http_server_settings patient = {
        .head_timeout_ns = CLOCK_NEVER / 2,
        .body_timeout_ns = CLOCK_NEVER / 2,
        .keep_alive_timeout_ns = CLOCK_NEVER / 2,
        .write_timeout_ns = CLOCK_NEVER / 2,
    };
    static struct http_server_settings settings;
    settings = patient;
    settings.limits = http_limits_default;
    http_serve(fd, peer, NULL, &settings, handle, ctx);
}

void assert_asked(const char *text)
{
    if (str_find(buf_str(&service.last), str_c(text)) < 0)
        fail_msg("the service was not asked \"%s\", but:\n%.*s", text,
                 STR_ARG(buf_str(&service.last)));
}

/* --- applying --- */

#define BODY "{\"messages\":[]}"

const struct credential_request *a_request(void)
{
    static struct http_header header = {STR_INIT("Content-Type"), STR_INIT("application/json")};
    static struct http_headers headers = {&header, 1, 1};
    static struct iovec body = {(void *)(uintptr_t)BODY, sizeof(BODY) - 1};
    static const struct credential_request request = {
        .method = METHOD_POST,
        .host = STR_INIT("bedrock-runtime.us-east-1.amazonaws.com"),
        .target = STR_INIT("/model/amazon.nova-lite-v1%3A0/converse"),
        .headers = &headers,
        .body = &body,
        .body_count = 1,
    };
    return &request;
}

const char *authorize(struct credential *c, struct arena *arena, struct http_headers *out)
{
    static char text[1024];
    int r = credential_apply(c, a_request(), clock_mono_ns() + 60 * NS_PER_SEC, arena, out);
    if (r < 0)
        return NULL;
    snprintf(text, sizeof(text), "%.*s", STR_ARG(http_headers_get(out, STR("Authorization"))));
    return text;
}

void expect_authorization(struct credential *c, const char *expected)
{
    struct arena *arena = arena_new(4096);
    struct http_headers out = {0};
    const char *text = authorize(c, arena, &out);
    if (text == NULL)
        fail_msg("no credential: %s", err_slot()->message);
    assert_string_equal(text, expected);
    arena_free(arena);
}

void expect_failure(struct credential *c, const char *part)
{
    struct arena *arena = arena_new(4096);
    struct http_headers out = {0};
    const char *text = authorize(c, arena, &out);
    if (text != NULL)
        fail_msg("expected no credential, got %s", text);
    if (strstr(err_slot()->message, part) == NULL)
        fail_msg("expected \"%s\", got \"%s\"", part, err_slot()->message);
    assert_int_equal(out.count, 0);
    arena_free(arena);
}

/* --- time --- */

void let_run(void)
{
    for (unsigned i = 0; i < 50; i++)
        task_yield(); /* time stands: nobody else needs it to pass */
}

void pass_s(int64_t seconds)
{
    clock_fake_advance(seconds * NS_PER_SEC);
    let_run();
}

static time_t real_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

void wait_logged(const char *text)
{
    for (time_t give_up = real_s() + 20; str_find(logged(), str_c(text)) < 0; let_run()) {
        if (real_s() > give_up)
            fail_msg("\"%s\" was not logged, but:\n%.*s", text, STR_ARG(logged()));
    }
}

void service_wait(unsigned asked)
{
    for (time_t give_up = real_s() + 20; service.asked < asked && real_s() < give_up;)
        let_run();
    if (service.asked != asked)
        fail_msg("asked %u times, expected %u", service.asked, asked);
    let_run();
}

/* --- a run --- */

const char *home_file(const char *name, const char *content)
{
    assert_true(file_count < ARRAY_LEN(paths));
    char *path = paths[file_count++];
    snprintf(path, sizeof(paths[0]), "%s/%s", home, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(content, f);
    fclose(f);
    return path;
}

struct run {
    task_fn *fn;
    bool is_done;
};

static void run_main(void *arg)
{
    struct run *run = arg;
    run->fn(NULL);
    run->is_done = true;
}

static void turn_until(bool (*is_over)(const struct run *), const struct run *run)
{
    for (time_t give_up = real_s() + 20; !is_over(run);) {
        loop_turn(loop_self(), NS_PER_MS);
        if (real_s() > give_up)
            fail_msg("what the test waits for did not come");
    }
}

static bool is_done(const struct run *run)
{
    return run->is_done;
}

static bool has_no_task(const struct run *run)
{
    (void)run;
    return task_count() == 0;
}

static void begin(void)
{
    for (size_t i = 0; i < ARRAY_LEN(variables); i++)
        unsetenv(variables[i]);
    snprintf(home, sizeof(home), "/tmp/weir-credential-XXXXXX");
    assert_non_null(mkdtemp(home));
    char folder[80];
    snprintf(folder, sizeof(folder), "%s/.aws", home);
    assert_int_equal(mkdir(folder, 0700), 0);
    setenv("HOME", home, 1);
    file_count = 0;
    buf_clear(&log_text);
    log_set_sink(keep_line);
}

static void end(void)
{
    char folder[80];
    for (unsigned i = 0; i < file_count; i++)
        unlink(paths[i]);
    snprintf(folder, sizeof(folder), "%s/.aws", home);
    rmdir(folder);
    assert_int_equal(rmdir(home), 0);
    log_set_sink(NULL);
    buf_fini(&log_text);
    buf_fini(&service.last);
}

void with_service(service_fn *answer, task_fn *fn)
{
    static const struct http_pool_settings pool = {8, 8, 60 * NS_PER_SEC};
    struct net_addr any, addr;
    struct run run = {fn, false};
    int fd;
    begin();
    clock_fake(1000 * NS_PER_SEC, INT64_C(1795248000) * NS_PER_SEC);
    random_fake(7);
    struct loop *loop = loop_new(0);
    http_pool_init(&pool);
    assert_true(net_addr_parse(STR("127.0.0.1"), 0, &any));
    assert_int_equal(listen_open(&any, 1, &fd, &addr), 0);
    service = (struct service){.answer = answer};
    snprintf(service.url, sizeof(service.url), "http://127.0.0.1:%u", net_addr_port(&addr));
    service.host = service.url + strlen("http://");
    void *ctx = &service;
    struct listener *listener = listener_start(fd, on_accept, &loop, &ctx, 1);
    assert_non_null(listener);
    setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", service.url, 1);
    setenv("AWS_ENDPOINT_URL_STS", service.url, 1);
    setenv("GCE_METADATA_HOST", service.host, 1);
    setenv("AZURE_AUTHORITY_HOST", service.url, 1);
    setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", service.url, 1);
    assert_non_null(task_spawn(RUN_NORMAL, "test", run_main, &run));
    turn_until(is_done, &run);
    listener_stop(listener, true);
    http_pool_fini();
    clock_real();
    http_server_drain();
    http_server_cancel_all();
    turn_until(has_no_task, &run);
    dns_thread_fini();
    loop_free(loop);
    random_fake(0);
    end();
}
