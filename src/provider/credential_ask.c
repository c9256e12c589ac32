#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include "base/err.h"
#include "base/json.h"
#include "base/percent.h"
#include "provider/credential_private.h"
#include "rt/helper.h"
#include "rt/loop.h"
#include "rt/sys.h"

enum { REPLY_BYTES_MAX = 256 * 1024, FILE_BYTES_MAX = 1024 * 1024 };
#define ASK_NS (10 * NS_PER_SEC)
/* A machine that is none of the cloud's has nobody there: it should not take long to find out. */
#define ASK_MACHINE_NS (3 * NS_PER_SEC)

/* --- where -------------------------------------------------------------------------------------
 */

/* Splits a URL at its path; provider_resolve knows how to read what is before. */
static int resolve(struct provider *place, struct str url, struct str *target)
{
    ptrdiff_t scheme = str_find(url, STR("://"));
    struct str rest = scheme < 0 ? url : str_skip(url, (size_t)scheme + 3);
    size_t end = 0;
    while (end < rest.len && rest.ptr[end] != '/' && rest.ptr[end] != '?')
        end++;
    *target = str_skip(rest, end);
    *place = (struct provider){.base_url = str_head(url, url.len - target->len)};
    if (target->len == 0)
        *target = STR("/");
    if (provider_resolve(place) < 0)
        return err_wrap("the address of a token service");
    return 0;
}

static bool is_literal(struct str host)
{
    struct net_addr addr;
    return net_addr_parse(host, 0, &addr) || str_ieq(host, STR("localhost"));
}

static int make_origin(struct credential *c, struct arena *arena, const struct provider *place,
                       bool is_of_machine, struct http_origin *origin)
{
    bool is_written_out = is_literal(place->url_host);
    if (!place->url_is_tls && !is_written_out && !is_of_machine)
        return err_set(ERR_INVALID, FAULT_GATEWAY, "http://%.*s: a token service must be https",
                       STR_ARG(str_head(place->url_host, 100)));
    if (place->url_is_tls && c->tls == NULL) {
        c->tls = tls_client_context_new(&(struct tls_client_settings){.ca_file = NULL});
        if (c->tls == NULL)
            return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for a TLS context");
    }
    bool is_v6 = str_index(place->url_host, ':') >= 0;
    bool is_usual = place->url_port == (place->url_is_tls ? 443 : 80);
    struct str host = arena_printf(arena, "%s%.*s%s", is_v6 ? "[" : "", STR_ARG(place->url_host),
                                   is_v6 ? "]" : "");
    if (host.ptr != NULL && !is_usual)
        host = arena_printf(arena, "%.*s:%u", STR_ARG(host), (unsigned)place->url_port);
    if (host.ptr == NULL)
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory");
    bool is_near = is_of_machine || is_written_out;
    *origin = (struct http_origin){
        .target = {.host = place->url_host,
                   .port = place->url_port,
                   .tls = place->url_is_tls ? c->tls : NULL,
                   .policy = {.allow_loopback = is_near,
                              .allow_private = is_near,
                              .allow_link_local = is_of_machine}},
        .host_header = host,
    };
    if (!is_near)
        origin->target.proxy = c->proxy;
    http_origin_seal(origin);
    return 0;
}

/* --- asking ------------------------------------------------------------------------------------
 */

YIELDS static int exchange(struct http_call *call, struct arena *arena,
                           const struct http_origin *origin,
                           const struct http_call_request *request,
                           const struct http_timeouts *timeouts, struct credential_reply *reply)
{
    struct buf body = BUF_INIT;
    int r = http_call_start(call, arena, origin, request, timeouts);
    if (r == 0)
        r = http_call_head(call);
    if (r == 0)
        r = http_call_collect(call, REPLY_BYTES_MAX, &body);
    if (r == 0) {
        *reply = (struct credential_reply){.status = call->head.status,
                                           .headers = call->head.headers,
                                           .body = arena_dup(arena, buf_str(&body))};
        if (reply->body.ptr == NULL)
            r = err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory");
    }
    http_call_finish(call);
    buf_fini(&body);
    return r;
}

YIELDS int credential_ask(struct credential *c, struct arena *arena,
                          const struct credential_call *asked, struct credential_reply *reply)
{
    struct provider place;
    struct http_origin origin;
    struct iovec body = {(char *)(uintptr_t)asked->body.ptr, asked->body.len};
    struct http_call_request request = {
        .method = asked->method,
        .headers = &asked->headers,
        .body = &body,
        .body_count = asked->body.len > 0,
        .body_bytes = asked->body.len,
    };
    int64_t limit_ns = asked->is_of_machine ? ASK_MACHINE_NS : ASK_NS;
    struct http_timeouts timeouts = {
        .connect_ns = limit_ns,
        .tls_ns = limit_ns,
        .first_byte_ns = limit_ns,
        .idle_ns = limit_ns,
        .total_deadline_ns = clock_add_ns(clock_mono_ns(), limit_ns),
    };
    *reply = (struct credential_reply){.status = 0};
    int r = resolve(&place, asked->url, &request.target);
    if (r == 0)
        r = make_origin(c, arena, &place, asked->is_of_machine, &origin);
    if (r < 0)
        return r;
    struct http_call *call = ARENA_NEW(arena, struct http_call);
    if (call == NULL)
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory");
    r = exchange(call, arena, &origin, &request, &timeouts, reply);
    return r == 0 ? 0 : err_wrap("%.*s", STR_ARG(str_head(origin.host_header, 100)));
}

/* What a token service says is wrong: OAuth's error and error_description, Google's and Azure's
 * error.message, the Message of AWS. They name accounts, not secrets. */
static struct str reason_of(struct arena *arena, struct str body)
{
    static const char *const paths[] = {"error_description", "error.message", "error", "message",
                                        "Message"};
    struct str reason = STR_EMPTY;
    for (size_t i = 0; i < ARRAY_LEN(paths) && reason.len == 0; i++)
        reason = credential_json(arena, body, paths[i]);
    ptrdiff_t at = str_find(body, STR("<Message>"));
    if (reason.len == 0 && at >= 0) {
        body = str_skip(body, (size_t)at + strlen("<Message>"));
        str_cut(&body, '<', &reason);
    }
    for (size_t i = 0; i < reason.len; i++) {
        if ((unsigned char)reason.ptr[i] < ' ')
            return str_head(reason, MIN(i, 120));
    }
    return str_head(reason, 120);
}

YIELDS int credential_ask_ok(struct credential *c, struct arena *arena,
                             const struct credential_call *call, struct credential_reply *reply)
{
    int r = credential_ask(c, arena, call, reply);
    if (r < 0 || reply->status == 200)
        return r;
    struct str url = call->url, reason = reason_of(arena, reply->body);
    ptrdiff_t query = str_index(url, '?');
    if (query >= 0)
        url = str_head(url, (size_t)query);
    return err_set(ERR_PROTOCOL, FAULT_GATEWAY, "%.*s answers %u%s%.*s",
                   STR_ARG(str_head(url, 100)), reply->status, reason.len > 0 ? ": " : "",
                   STR_ARG(reason));
}

struct str credential_form(struct arena *arena, const struct credential_field *fields, size_t count)
{
    struct str form = STR("");
    for (size_t i = 0; i < count && form.ptr != NULL; i++) {
        if (fields[i].value.len == 0)
            continue;
        struct str value = percent_encode(arena, fields[i].value);
        struct str parts[] = {form, form.len > 0 ? STR("&") : STR(""), str_c(fields[i].name),
                              STR("="), value};
        form = value.ptr == NULL ? value : arena_concat(arena, parts, ARRAY_LEN(parts));
    }
    return form;
}

bool credential_post_form(struct credential_call *call, struct arena *arena,
                          const struct credential_field *fields, size_t count)
{
    call->method = METHOD_POST;
    call->body = credential_form(arena, fields, count);
    return call->body.ptr != NULL && http_headers_add(&call->headers, arena, STR("Content-Type"),
                                                      STR("application/x-www-form-urlencoded"));
}

/* --- answers -----------------------------------------------------------------------------------
 */

struct str credential_json(struct arena *arena, struct str body, const char *path)
{
    struct json_value value;
    struct str text = STR("");
    if (!json_find(body, path, &value))
        return text;
    if (value.kind == JSON_NUMBER)
        return value.text;
    if (value.kind != JSON_STRING || json_unescape(arena, json_string_raw(value), &text) < 0)
        return STR("");
    return text;
}

int credential_oauth_token(struct arena *arena, struct str body, struct credential_token *token)
{
    int64_t seconds;
    token->bearer = credential_json(arena, body, "access_token");
    struct str in = credential_json(arena, body, "expires_in");
    struct str on = credential_json(arena, body, "expires_on");
    if (token->bearer.len == 0 || !http_value_is_safe(token->bearer))
        return err_set(ERR_PROTOCOL, FAULT_UPSTREAM,
                       "the answer of the token service has no token");
    if (str_to_i64(in, &seconds))
        token->expires_ns =
            clock_add_ns(clock_mono_ns(), MIN(MAX(seconds, 0), 1 << 30) * NS_PER_SEC);
    else if (str_to_i64(on, &seconds))
        token->expires_ns = credential_unix_time(seconds);
    else
        token->expires_ns = clock_add_ns(clock_mono_ns(), 3600 * NS_PER_SEC);
    return 0;
}

int64_t credential_unix_time(int64_t seconds)
{
    int64_t left_s = seconds - clock_wall_ns() / NS_PER_SEC;
    return clock_add_ns(clock_mono_ns(), MIN(MAX(left_s, 0), 1 << 30) * NS_PER_SEC);
}

bool credential_time(struct str iso, int64_t *mono_ns)
{
    char text[40];
    struct tm tm = {0};
    if (iso.len < 20 || iso.len >= sizeof(text))
        return false;
    memcpy(text, iso.ptr, iso.len);
    text[iso.len] = '\0';
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    if (rest != NULL && *rest == '.')
        rest += 1 + strspn(rest + 1, "0123456789");
    if (rest == NULL || (strcmp(rest, "Z") != 0 && strcmp(rest, "+00:00") != 0))
        return false;
    *mono_ns = credential_unix_time(timegm(&tm));
    return true;
}

/* --- files and the environment -----------------------------------------------------------------
 */

struct file_reading {
    const char *path;
    struct buf content;
    int failure; /* errno */
};

/* On a helper thread: a disk, or what is mounted there, may be slow. */
static void read_file(void *arg)
{
    struct file_reading *reading = arg;
    struct stat st;
    int fd = sys_open(reading->path, O_RDONLY | O_NONBLOCK, 0);
    bool is_file = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    if (fd >= 0 && !is_file)
        errno = EINVAL;
    for (ssize_t n = 1; is_file && n > 0;) {
        if (!buf_reserve(&reading->content, 4096)) {
            errno = EFBIG;
            is_file = false;
            break;
        }
        n = sys_read(fd, reading->content.ptr + reading->content.len, 4096);
        is_file = n >= 0;
        reading->content.len += n > 0 ? (size_t)n : 0;
    }
    reading->failure = is_file ? 0 : errno;
    if (fd >= 0)
        sys_close(fd);
}

YIELDS int credential_read_file(struct arena *arena, const char *path, struct str *content)
{
    struct file_reading reading = {.path = path, .content = {.limit = FILE_BYTES_MAX}};
    int r = helper_run(read_file, &reading);
    *content = STR_EMPTY;
    if (r == 0 && reading.failure != 0)
        r = err_set(ERR_IO, FAULT_GATEWAY, "cannot read %s: %s", path, strerror(reading.failure));
    if (r == 0) {
        *content = arena_dup(arena, buf_str(&reading.content));
        if (content->ptr == NULL)
            r = err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory");
    }
    buf_fini(&reading.content);
    return r;
}

const char *credential_home_path(struct arena *arena, const char *path)
{
    struct str home = credential_env("HOME");
    if (home.len == 0)
        return NULL;
    return arena_cstr(arena, arena_printf(arena, "%.*s/%s", STR_ARG(home), path));
}

struct str credential_env(const char *name)
{
    struct str value = str_c(getenv(name));
    while (value.len > 0 && (unsigned char)value.ptr[0] <= ' ')
        value = str_skip(value, 1);
    while (value.len > 0 && (unsigned char)value.ptr[value.len - 1] <= ' ')
        value.len--;
    return value;
}
