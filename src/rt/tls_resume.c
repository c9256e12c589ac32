#include "rt/tls_resume.h"

#include "base/clock.h"
#include "base/mem.h"

struct resume_host {
    struct list in_bucket;
    struct list in_use_order;
    unsigned count;
    SSL_SESSION *sessions[TLS_RESUME_PER_HOST]; /* oldest first */
    size_t name_len;
    char name[];
};

void tls_resume_init(struct tls_resume *cache)
{
    for (unsigned i = 0; i < TLS_RESUME_BUCKETS; i++)
        list_init(&cache->buckets[i]);
    list_init(&cache->by_use);
    cache->count = 0;
}

static void host_free(struct tls_resume *cache, struct resume_host *host)
{
    for (unsigned i = 0; i < host->count; i++)
        SSL_SESSION_free(host->sessions[i]);
    list_remove(&host->in_bucket);
    list_remove(&host->in_use_order);
    cache->count--;
    mem_free(host);
}

void tls_resume_fini(struct tls_resume *cache)
{
    while (!list_is_empty(&cache->by_use))
        host_free(cache, CONTAINER_OF(cache->by_use.next, struct resume_host, in_use_order));
}

static struct list *bucket_of(struct tls_resume *cache, struct str name)
{
    return &cache->buckets[str_ihash(name) % TLS_RESUME_BUCKETS];
}

static struct resume_host *find(struct tls_resume *cache, struct str name)
{
    LIST_FOR_EACH(node, bucket_of(cache, name))
    {
        struct resume_host *host = CONTAINER_OF(node, struct resume_host, in_bucket);
        if (!str_ieq(str_n(host->name, host->name_len), name))
            continue;
        list_remove(&host->in_use_order);
        list_push(&cache->by_use, &host->in_use_order);
        return host;
    }
    return NULL;
}

static struct resume_host *add(struct tls_resume *cache, struct str name)
{
    struct resume_host *host = mem_alloc(sizeof(*host) + name.len);
    if (host == NULL)
        return NULL;
    if (cache->count == TLS_RESUME_HOSTS)
        host_free(cache, CONTAINER_OF(cache->by_use.next, struct resume_host, in_use_order));
    cache->count++;
    host->count = 0;
    host->name_len = name.len;
    memcpy(host->name, name.ptr, name.len);
    list_push(bucket_of(cache, name), &host->in_bucket);
    list_push(&cache->by_use, &host->in_use_order);
    return host;
}

/* Forgets the session at `i` and returns it. */
static SSL_SESSION *take_at(struct resume_host *host, unsigned i)
{
    SSL_SESSION *session = host->sessions[i];
    host->count--;
    memmove(&host->sessions[i], &host->sessions[i + 1],
            (host->count - i) * sizeof(host->sessions[0]));
    return session;
}

void tls_resume_put(struct tls_resume *cache, struct str name, SSL_SESSION *session)
{
    struct resume_host *host = find(cache, name);
    if (host == NULL)
        host = add(cache, name);
    if (host == NULL) {
        SSL_SESSION_free(session);
        return;
    }
    if (host->count == TLS_RESUME_PER_HOST)
        SSL_SESSION_free(take_at(host, 0));
    host->sessions[host->count++] = session;
}

static bool is_usable(const SSL_SESSION *session)
{
    int64_t now_s = clock_wall_ns() / NS_PER_SEC;
    return SSL_SESSION_is_resumable(session) &&
           now_s < (int64_t)SSL_SESSION_get_time(session) + SSL_SESSION_get_timeout(session);
}

SSL_SESSION *tls_resume_take(struct tls_resume *cache, struct str name)
{
    struct resume_host *host = find(cache, name);
    while (host != NULL && host->count > 0) {
        SSL_SESSION *session = host->sessions[host->count - 1];
        bool is_single_use = SSL_SESSION_get_protocol_version(session) >= TLS1_3_VERSION;
        if (!is_usable(session)) {
            SSL_SESSION_free(take_at(host, host->count - 1));
            continue;
        }
        if (is_single_use)
            return take_at(host, host->count - 1);
        SSL_SESSION_up_ref(session);
        return session;
    }
    return NULL;
}
