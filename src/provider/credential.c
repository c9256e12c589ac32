#include "provider/credential.h"

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "provider/credential_private.h"
#include "rt/loop.h"
#include "rt/random.h"

#define RETRY_FIRST_NS NS_PER_SEC
#define RETRY_MOST_NS (60 * NS_PER_SEC)
/* A provider that refuses a token makes it be fetched anew at most so often. */
#define REFUSED_AGAIN_NS (60 * NS_PER_SEC)

struct waiter {
    struct list node;
    struct task *task;
};

/* The fetches of this thread that are under way. */
static __thread struct list running;
static __thread bool has_running;

static const struct credential_kind *kind_of(enum provider_auth auth)
{
    static const struct credential_kind *const kinds[AUTH_COUNT] = {
        [AUTH_AWS] = &credential_aws,
        [AUTH_GOOGLE] = &credential_google,
        [AUTH_ENTRA] = &credential_entra,
    };
    return kinds[auth];
}

bool credential_is_needed(const struct provider *provider)
{
    return kind_of(provider->auth) != NULL;
}

/* --- making and freeing ------------------------------------------------------------------------
 */

static bool copy_settings(struct credential *c, const struct provider *p)
{
    c->settings = p->auth_settings;
    c->region = p->auth_settings.region.len > 0 ? p->auth_settings.region : p->places[PLACE_REGION];
    struct provider_auth_settings *s = &c->settings;
    struct str *const texts[] = {&c->name,
                                 &c->region,
                                 &s->service,
                                 &s->region,
                                 &s->profile,
                                 &s->role_arn,
                                 &s->external_id,
                                 &s->access_key_id,
                                 &s->secret_access_key,
                                 &s->session_token,
                                 &s->scope,
                                 &s->tenant_id,
                                 &s->client_id,
                                 &s->client_secret,
                                 &c->proxy.host,
                                 &c->proxy.authorization};
    c->name = p->name;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        *texts[i] = arena_dup(c->arena, *texts[i]);
        if (texts[i]->ptr == NULL)
            return false;
    }
    if (s->credentials_file != NULL)
        s->credentials_file = arena_cstr(c->arena, str_c(s->credentials_file));
    return p->auth_settings.credentials_file == NULL || s->credentials_file != NULL;
}

static void on_timer(struct timer *timer);

struct credential *credential_new(const struct provider *provider, const struct dial_proxy *proxy)
{
    struct arena *arena = arena_new(2048);
    struct credential *c = arena != NULL ? ARENA_NEW(arena, struct credential) : NULL;
    if (c == NULL) {
        arena_free(arena);
        return NULL;
    }
    c->arena = arena;
    c->kind = kind_of(provider->auth);
    if (proxy != NULL)
        c->proxy = *proxy;
    if (c->proxy.tls != NULL)
        tls_context_ref(c->proxy.tls);
    list_init(&c->waiters);
    timer_init(&c->timer, on_timer);
    bool is_made = copy_settings(c, provider);
    if (is_made && provider->api_key.len > 0) {
        c->token_arena = arena_new(512);
        c->token.expires_ns = c->token.refresh_ns = CLOCK_NEVER;
        if (c->token_arena != NULL)
            c->token.bearer = arena_dup(c->token_arena, provider->api_key);
        is_made = c->token.bearer.ptr != NULL;
    }
    if (is_made)
        return c;
    credential_free(c);
    return NULL;
}

static void destroy(struct credential *c)
{
    timer_disarm(&c->timer);
    tls_context_unref(c->tls);
    tls_context_unref(c->proxy.tls);
    arena_free(c->token_arena);
    arena_free(c->arena); /* the struct itself is in it */
}

void credential_free(struct credential *c)
{
    if (c == NULL)
        return;
    if (c->fetch == NULL) {
        destroy(c);
        return;
    }
    timer_disarm(&c->timer);
    c->is_dead = true;
    task_cancel(c->fetch, ERR_CANCELED);
}

void credential_stop_all(void)
{
    if (!has_running)
        return;
    LIST_FOR_EACH(node, &running)
    task_cancel(CONTAINER_OF(node, struct credential, running)->fetch, ERR_CANCELED);
}

/* --- fetching ----------------------------------------------------------------------------------
 */

static bool is_valid(const struct credential *c)
{
    return c->token_arena != NULL && clock_mono_ns() < c->token.expires_ns;
}

/* Somewhat before its time: not all threads and machines at once. */
static int64_t refresh_time(const struct credential *c, const struct credential_token *token,
                            int64_t now_ns)
{
    if (token->refresh_ns != 0 || token->expires_ns == CLOCK_NEVER)
        return token->refresh_ns != 0 ? token->refresh_ns : CLOCK_NEVER;
    int64_t lead_ns = MIN(c->kind->lead_ns, MAX((token->expires_ns - now_ns) / 4, 0));
    int64_t early_ns = (int64_t)random_below((uint64_t)lead_ns / 8 + 1);
    return MAX(token->expires_ns - lead_ns - early_ns, now_ns + NS_PER_SEC);
}

/* The token's strings into an arena of their own; false when there is no memory. */
static bool keep_token(struct credential *c, const struct credential_token *fetched)
{
    struct arena *arena = arena_new(2048);
    if (arena == NULL)
        return false;
    struct credential_token token = *fetched;
    struct str *const texts[] = {&token.bearer, &token.aws.access_key_id,
                                 &token.aws.secret_access_key, &token.aws.session_token};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        *texts[i] = arena_dup(arena, *texts[i]);
        if (texts[i]->ptr == NULL) {
            arena_free(arena);
            return false;
        }
    }
    int64_t now_ns = clock_mono_ns();
    token.refresh_ns = refresh_time(c, &token, now_ns);
    arena_free(c->token_arena);
    c->token_arena = arena;
    c->token = token;
    c->fetched_ns = now_ns;
    return true;
}

static void note_success(struct credential *c)
{
    if (c->failures > 0)
        log_event(LOG_INFO, "credential", "provider %.*s: there is a credential again",
                  STR_ARG(c->name));
    c->failures = 0;
    c->retry_ns = 0;
    loop_timer_arm(&c->timer, c->token.refresh_ns);
}

static void note_failure(struct credential *c)
{
    c->failure = *err_slot();
    if (task_cancel_reason(task_self()) != ERR_NONE)
        return;
    int64_t now_ns = clock_mono_ns();
    int64_t wait_ns = MIN(RETRY_FIRST_NS << MIN(c->failures, 6u), RETRY_MOST_NS);
    c->failures++;
    c->retry_ns = now_ns + wait_ns + (int64_t)random_below((uint64_t)wait_ns / 8 + 1);
    if (is_valid(c) && c->token.expires_ns != CLOCK_NEVER)
        log_event(LOG_WARN, "credential",
                  "provider %.*s: no new credential: %s; the old one holds for another %lld s",
                  STR_ARG(c->name), c->failure.message,
                  (long long)((c->token.expires_ns - now_ns) / NS_PER_SEC));
    else
        log_event(LOG_WARN, "credential", "provider %.*s: no %scredential: %s", STR_ARG(c->name),
                  is_valid(c) ? "new " : "", c->failure.message);
    /* With nothing left to save, the next request tries again. */
    if (is_valid(c))
        loop_timer_arm(&c->timer, c->retry_ns);
}

static void fetch_main(void *arg)
{
    struct credential *c = arg;
    struct arena *arena = arena_new(8192);
    struct credential_token token = {.expires_ns = CLOCK_NEVER};
    int64_t asked_ns = clock_mono_ns();
    int r = arena == NULL ? err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory")
                          : c->kind->fetch(c, arena, &token);
    /* Its life began when the service wrote it, some time since it was asked. */
    if (token.expires_ns != CLOCK_NEVER)
        token.expires_ns -= clock_mono_ns() - asked_ns;
    if (r == 0 && !c->is_dead && !keep_token(c, &token))
        r = err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory");
    if (!c->is_dead && r == 0)
        note_success(c);
    else if (!c->is_dead)
        note_failure(c);
    arena_free(arena);
    c->fetch = NULL;
    list_remove(&c->running);
    LIST_FOR_EACH(node, &c->waiters)
    task_wake(CONTAINER_OF(node, struct waiter, node)->task);
    if (c->is_dead)
        destroy(c);
}

static int start_fetch(struct credential *c)
{
    if (!has_running)
        list_init(&running);
    has_running = true;
    timer_disarm(&c->timer);
    c->fetch = task_spawn(RUN_NORMAL, "credential", fetch_main, c);
    if (c->fetch == NULL)
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for a task");
    list_push(&running, &c->running);
    return 0;
}

/* What nobody has used since it was fetched is not refreshed: the next request does that. */
static void on_timer(struct timer *timer)
{
    struct credential *c = CONTAINER_OF(timer, struct credential, timer);
    if (c->fetch == NULL && c->used_ns >= c->fetched_ns)
        start_fetch(c);
}

static int repeat_failure(const struct credential *c)
{
    *err_slot() = c->failure;
    return err_wrap("no credential");
}

/* All who come while a fetch is under way wait for that one. */
YIELDS static int wait_for_token(struct credential *c, int64_t deadline_ns, struct arena *arena)
{
    struct waiter *waiter = ARENA_NEW(arena, struct waiter);
    if (c->fetch == NULL && clock_mono_ns() < c->retry_ns)
        return repeat_failure(c);
    if (waiter == NULL)
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory");
    if (c->fetch == NULL && start_fetch(c) < 0)
        return -ERR_NOMEM;
    waiter->task = task_self();
    list_push(&c->waiters, &waiter->node);
    int r = 0;
    while (r == 0 && c->fetch != NULL)
        r = task_park(deadline_ns);
    list_remove(&waiter->node);
    if (r == -ERR_TIMEOUT)
        return err_set(ERR_TIMEOUT, FAULT_UPSTREAM, "no credential in time");
    if (r < 0)
        return r;
    return is_valid(c) ? 0 : repeat_failure(c);
}

/* --- applying ----------------------------------------------------------------------------------
 */

static int add_bearer(const struct credential *c, struct arena *arena, struct http_headers *out)
{
    struct str value = arena_printf(arena, "Bearer %.*s", STR_ARG(c->token.bearer));
    if (value.ptr == NULL || !http_headers_add(out, arena, STR("Authorization"), value))
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory");
    return 0;
}

/* bedrock-runtime.eu-central-1.amazonaws.com: the region is the second label. */
static struct str region_of_host(struct str host)
{
    struct str label;
    if (str_find(host, STR(".amazonaws.com")) < 0 && str_find(host, STR(".api.aws")) < 0)
        return STR_EMPTY;
    str_cut(&host, '.', &label);
    str_cut(&host, '.', &label);
    return str_index(label, '-') > 0 ? label : STR_EMPTY;
}

static int add_signature(const struct credential *c, const struct credential_request *request,
                         struct arena *arena, struct http_headers *out)
{
    struct str query = request->target, path;
    str_cut(&query, '?', &path);
    struct str region = c->region.len > 0 ? c->region : region_of_host(request->host);
    if (region.len == 0)
        return err_set(ERR_INVALID, FAULT_GATEWAY,
                       "no region to sign for: write region, or set AWS_REGION");
    struct sigv4_request signed_request = {
        .method = http_method_name(request->method),
        .path = path,
        .query = query,
        .host = request->host,
        .headers = request->headers,
        .body = request->body,
        .body_count = request->body_count,
    };
    struct str service = c->settings.service.len > 0 ? c->settings.service : STR("bedrock");
    int r = sigv4_sign(&signed_request, &c->token.aws, service, region,
                       clock_wall_ns() / NS_PER_SEC, arena, out);
    return r == 0 ? 0 : err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for a signature");
}

YIELDS int credential_apply(struct credential *c, const struct credential_request *request,
                            int64_t deadline_ns, struct arena *arena, struct http_headers *out)
{
    c->used_ns = clock_mono_ns();
    if (!is_valid(c)) {
        int r = wait_for_token(c, deadline_ns, arena);
        if (r < 0)
            return r;
    } else if (c->used_ns >= c->token.refresh_ns && c->used_ns >= c->retry_ns && c->fetch == NULL) {
        start_fetch(c); /* where there is no memory for it, the next request tries again */
    }
    return c->token.bearer.len > 0 ? add_bearer(c, arena, out)
                                   : add_signature(c, request, arena, out);
}

void credential_refused(struct credential *c)
{
    int64_t now_ns = clock_mono_ns();
    bool is_fetched = c->token.refresh_ns != CLOCK_NEVER || c->token.expires_ns != CLOCK_NEVER;
    if (c->fetch == NULL && is_fetched && now_ns - c->fetched_ns >= REFUSED_AGAIN_NS &&
        now_ns >= c->retry_ns)
        start_fetch(c);
}
