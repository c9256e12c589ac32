#include "rt/dns.h"

#include "base/list.h"
#include "base/mem.h"
#include "rt/dns_query.h"
#include "rt/loop.h"

enum {
    NAMES_MAX = 1024,
    NAME_BYTES_MAX = 254, /* RFC 1035 section 2.3.4, with a final dot */
    BUCKETS = 256,
    TTL_MIN_S = 5,
    TTL_MAX_S = 300,
    STALE_MAX_S = 24 * 3600, /* RFC 8767 section 5 advises one to three days */
    NEGATIVE_S = 5,
    FAILED_S = 1,
    FAKE_TTL_S = 60,
};
/* A stale answer is used when a fresh one takes longer (RFC 8767's client response timer). */
#define STALE_WAIT_NS (500 * NS_PER_MS)

/* What is known of one name. */
struct dns_name {
    struct list in_bucket;
    struct list in_use_order;
    struct list waiters;
    unsigned waiter_count; /* tasks that still look at it: it must stay */
    bool is_querying;
    enum dns_status status; /* of the last answer; DNS_OK: `answer` may be used */
    const char *reason;
    int64_t fresh_until_ns;
    int64_t stale_until_ns; /* 0 = there is no answer to fall back on */
    struct dns_answer answer;
    char text[];
};

struct waiter {
    struct list node;
    struct task *task;
};

struct cache {
    struct list buckets[BUCKETS];
    struct list by_use; /* longest ago first */
    unsigned count;
};

static _Thread_local struct cache *cache;
static _Thread_local dns_fake_fn *fake_fn;
static _Thread_local void *fake_ctx;

/* --- the cache ----------------------------------------------------------------------------------
 */

static bool cache_ready(void)
{
    if (cache != NULL)
        return true;
    cache = MEM_NEW(struct cache);
    if (cache == NULL)
        return false;
    for (unsigned i = 0; i < BUCKETS; i++)
        list_init(&cache->buckets[i]);
    list_init(&cache->by_use);
    return true;
}

static void name_free(struct dns_name *name)
{
    CHECK(name->waiter_count == 0);
    list_remove(&name->in_bucket);
    list_remove(&name->in_use_order);
    cache->count--;
    mem_free(name);
}

static struct list *bucket_of(struct str text)
{
    return &cache->buckets[str_ihash(text) % BUCKETS];
}

static struct dns_name *name_find(struct str text)
{
    LIST_FOR_EACH(node, bucket_of(text))
    {
        struct dns_name *name = CONTAINER_OF(node, struct dns_name, in_bucket);
        if (!str_ieq(str_c(name->text), text))
            continue;
        list_remove(&name->in_use_order);
        list_push(&cache->by_use, &name->in_use_order);
        return name;
    }
    return NULL;
}

/* Forgets the name used longest ago that nobody waits for. */
static bool make_room(void)
{
    LIST_FOR_EACH(node, &cache->by_use)
    {
        struct dns_name *name = CONTAINER_OF(node, struct dns_name, in_use_order);
        if (name->is_querying || name->waiter_count > 0)
            continue;
        name_free(name);
        return true;
    }
    return false;
}

static struct dns_name *name_add(struct str text)
{
    if (cache->count >= NAMES_MAX && !make_room()) {
        err_set(ERR_LIMIT, FAULT_GATEWAY, "%d names are being resolved at once", NAMES_MAX);
        return NULL;
    }
    struct dns_name *name = mem_calloc(1, sizeof(*name) + text.len + 1);
    if (name == NULL) {
        err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory to resolve a name");
        return NULL;
    }
    memcpy(name->text, text.ptr, text.len);
    list_init(&name->waiters);
    list_push(bucket_of(text), &name->in_bucket);
    list_push(&cache->by_use, &name->in_use_order);
    cache->count++;
    return name;
}

static void cache_clear(void)
{
    dns_query_fini();
    while (cache != NULL && !list_is_empty(&cache->by_use))
        name_free(CONTAINER_OF(cache->by_use.next, struct dns_name, in_use_order));
}

void dns_thread_fini(void)
{
    cache_clear();
    mem_free(cache);
    cache = NULL;
}

void dns_use_servers(const char *csv)
{
    cache_clear();
    dns_query_use_servers(csv);
}

void dns_fake(dns_fake_fn *fn, void *ctx)
{
    cache_clear();
    fake_fn = fn;
    fake_ctx = ctx;
}

/* --- asking -------------------------------------------------------------------------------------
 */

static void keep_good(struct dns_name *name, const struct dns_result *result, int64_t now_ns)
{
    unsigned ttl_s = MIN(MAX(result->ttl_s, (unsigned)TTL_MIN_S), (unsigned)TTL_MAX_S);
    name->status = DNS_OK;
    name->answer = result->answer;
    name->fresh_until_ns = now_ns + ttl_s * NS_PER_SEC;
    name->stale_until_ns = name->fresh_until_ns + STALE_MAX_S * NS_PER_SEC;
}

static void keep_bad(struct dns_name *name, const struct dns_result *result, int64_t now_ns)
{
    bool is_failure = result->status == DNS_FAILED;
    name->fresh_until_ns = now_ns + (is_failure ? FAILED_S : NEGATIVE_S) * NS_PER_SEC;
    /* A resolver that fails takes nothing back of what it said before. */
    if (is_failure && now_ns < name->stale_until_ns) {
        name->status = DNS_OK;
        return;
    }
    name->status = result->status;
    name->reason = result->reason;
    name->stale_until_ns = 0;
}

static void on_result(void *arg, const struct dns_result *result)
{
    struct dns_name *name = arg;
    (result->status == DNS_OK ? keep_good : keep_bad)(name, result, loop_now_ns());
    name->is_querying = false;
    LIST_FOR_EACH(node, &name->waiters)
    task_wake(CONTAINER_OF(node, struct waiter, node)->task);
}

static void ask_fake(struct dns_name *name)
{
    struct dns_result result = {.ttl_s = FAKE_TTL_S};
    int n = fake_fn(fake_ctx, str_c(name->text), result.answer.addrs, &result.ttl_s);
    result.answer.count = n > 0 ? (unsigned)n : 0;
    result.status = n > 0 ? DNS_OK : n == -ERR_DNS ? DNS_FAILED : DNS_NO_SUCH_NAME;
    result.reason = n == -ERR_DNS ? "the resolver failed" : "no such name";
    on_result(name, &result);
}

/* Runs on the loop's stack. */
static void ask(void *arg)
{
    struct dns_name *name = arg;
    name->is_querying = true;
    if (fake_fn != NULL)
        ask_fake(name);
    else
        dns_query(name->text, on_result, name);
}

/* Waits while the query runs; with a stale answer at hand not for long. 0 or -ERR_x. */
YIELDS static int wait_for_answer(struct dns_name *name, int64_t deadline_ns)
{
    bool has_stale = loop_now_ns() < name->stale_until_ns;
    int64_t stale_ns = clock_add_ns(loop_now_ns(), STALE_WAIT_NS);
    struct waiter waiter = {.task = task_self()};
    int r = 0;
    list_push(&name->waiters, &waiter.node);
    name->waiter_count++;
    while (name->is_querying && r == 0)
        r = task_park(has_stale ? MIN(deadline_ns, stale_ns) : deadline_ns);
    list_remove(&waiter.node);
    name->waiter_count--;
    if (r == -ERR_TIMEOUT && has_stale && deadline_ns > stale_ns)
        return 0;
    return r < 0 ? err_wrap("resolving %s", name->text) : 0;
}

/* --- what needs no question ----------------------------------------------------------------------
 */

static void add_literal(struct dns_answer *out, const char *literal, uint16_t port)
{
    CHECK(net_addr_parse(str_c(literal), port, &out->addrs[out->count++]));
}

/* Literals, and the names that always mean this host (RFC 6761 section 6.3). */
static bool answer_at_once(struct str host, uint16_t port, struct dns_answer *out)
{
    out->count = 0;
    if (net_addr_parse(host, port, &out->addrs[0])) {
        out->count = 1;
        return true;
    }
    if (host.len > 0 && host.ptr[host.len - 1] == '.')
        host.len--;
    struct str suffix = STR(".localhost");
    bool is_below = host.len > suffix.len && str_ieq(str_skip(host, host.len - suffix.len), suffix);
    if (!is_below && !str_ieq(host, STR("localhost")))
        return false;
    /* IPv4 first: more servers listen there alone than on ::1 alone. */
    add_literal(out, "127.0.0.1", port);
    add_literal(out, "::1", port);
    return true;
}

static void copy_answer(const struct dns_name *name, uint16_t port, struct dns_answer *out)
{
    *out = name->answer;
    for (unsigned i = 0; i < out->count; i++) {
        struct net_addr *addr = &out->addrs[i];
        if (addr->u.any.sa_family == AF_INET6)
            addr->u.v6.sin6_port = htons(port);
        else
            addr->u.v4.sin_port = htons(port);
    }
}

static int refuse(const struct dns_name *name)
{
    int r = err_set(ERR_DNS, FAULT_UPSTREAM, "cannot resolve %s: %s", name->text, name->reason);
    if (name->status == DNS_FAILED)
        err_slot()->retry = RETRY_YES;
    return r;
}

/* Labels of 1 to 63 letters, digits, '-' and '_' (RFC 1035 section 2.3.1, and what is in use). */
static bool is_name(struct str host)
{
    if (host.len == 0 || host.len > NAME_BYTES_MAX)
        return false;
    if (host.ptr[host.len - 1] == '.')
        host.len--;
    struct str label;
    size_t labels = 0;
    while (str_next(&host, '.', &label)) {
        labels++;
        if (label.len == 0 || label.len > 63)
            return false;
        for (size_t i = 0; i < label.len; i++) {
            char c = label.ptr[i];
            if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '-' || c == '_'))
                return false;
        }
    }
    return labels > 0;
}

YIELDS int dns_resolve(struct str host, uint16_t port, struct dns_answer *out, int64_t deadline_ns)
{
    if (answer_at_once(host, port, out))
        return 0;
    if (!is_name(host))
        return err_set(ERR_DNS, FAULT_UPSTREAM, "not a host name: \"%.*s\"",
                       STR_ARG(str_head(host, 80)));
    if (!cache_ready())
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory to resolve a name");
    struct dns_name *name = name_find(host);
    if (name == NULL)
        name = name_add(host);
    if (name == NULL)
        return -err_slot()->code;
    if (!name->is_querying && loop_now_ns() >= name->fresh_until_ns)
        on_loop_stack(ask, name);
    int r = name->is_querying ? wait_for_answer(name, deadline_ns) : 0;
    if (r < 0)
        return r;
    /* Without an answer from this query, status still is that of the one before. */
    if (name->status != DNS_OK)
        return refuse(name);
    copy_answer(name, port, out);
    return 0;
}
