#include "rt/dial.h"

#include <errno.h>
#include <netinet/tcp.h>

#include "rt/dns.h"
#include "rt/sys.h"
#include "rt/tunnel.h"

/* RFC 8305 section 5: Connection Attempt Delay. */
#define ATTEMPT_DELAY_NS (250 * NS_PER_MS)

/* --- the guard ----------------------------------------------------------------------------------
 */

static const char *kind_name(enum net_kind kind)
{
    static const char *const names[] = {
        [NET_PUBLIC] = "a public",     [NET_LOOPBACK] = "a loopback",
        [NET_PRIVATE] = "a private",   [NET_LINK_LOCAL] = "a link-local or metadata",
        [NET_RESERVED] = "a reserved",
    };
    return names[kind];
}

static bool is_allowed(const struct dial_policy *policy, enum net_kind kind)
{
    switch (kind) {
    case NET_PUBLIC:
        return true;
    case NET_LOOPBACK:
        return policy->allow_loopback || policy->allow_private;
    case NET_PRIVATE:
        return policy->allow_private;
    case NET_LINK_LOCAL:
        return policy->allow_link_local;
    default:
        return false;
    }
}

static int refuse(struct str host, const struct net_addr *addr)
{
    char text[NET_ADDR_TEXT_BYTES];
    enum net_kind kind = net_addr_kind(addr);
    bool can_be_allowed = kind == NET_LOOPBACK || kind == NET_PRIVATE;
    return err_set(ERR_FORBIDDEN, FAULT_GATEWAY, "%.*s is %s address (%s): connecting there is %s",
                   STR_ARG(str_head(host, 100)), kind_name(kind),
                   net_addr_format(addr, false, text),
                   can_be_allowed ? "not allowed unless private addresses are" : "never allowed");
}

/* Drops the addresses that the policy refuses. -ERR_FORBIDDEN when none is left. */
static int guard(const struct dial_policy *policy, struct str host, struct dns_answer *answer)
{
    unsigned kept = 0;
    struct net_addr refused = {0};
    for (unsigned i = 0; i < answer->count; i++) {
        if (is_allowed(policy, net_addr_kind(&answer->addrs[i])))
            answer->addrs[kept++] = answer->addrs[i];
        else
            refused = answer->addrs[i];
    }
    answer->count = kept;
    return kept > 0 ? 0 : refuse(host, &refused);
}

/* Families alternate, beginning with that of the first address; their own order stays. */
static void interleave(struct dns_answer *answer)
{
    struct dns_answer in = *answer;
    bool used[DNS_ADDRS_MAX] = {false};
    int family = in.count > 0 ? in.addrs[0].u.any.sa_family : AF_INET;
    for (unsigned out = 0; out < in.count; out++) {
        unsigned pick = in.count;
        for (unsigned i = in.count; i-- > 0;) {
            bool is_wanted = in.addrs[i].u.any.sa_family == family;
            bool have_wanted = pick < in.count && in.addrs[pick].u.any.sa_family == family;
            if (!used[i] && (is_wanted || !have_wanted))
                pick = i;
        }
        used[pick] = true;
        answer->addrs[out] = in.addrs[pick];
        family = in.addrs[pick].u.any.sa_family == AF_INET ? AF_INET6 : AF_INET;
    }
}

/* --- the race -----------------------------------------------------------------------------------
 */

struct race {
    struct io *winner; /* the caller's */
    const struct dns_answer *answer;
    struct io ios[DNS_ADDRS_MAX];
    unsigned started;
    unsigned under_way;
    int64_t next_at_ns; /* when the next address is tried though others are under way */
    int last_errno;
    unsigned last_failed;
    bool has_won;
};

static void attempt_failed(struct race *race, unsigned i, int error)
{
    race->last_errno = error;
    race->last_failed = i;
    /* Do not wait for the delay: whoever failed leaves the field to the next. */
    race->next_at_ns = 0;
}

/* Begins to connect to the next address. */
static void attempt_start(struct race *race)
{
    unsigned i = race->started++;
    const struct net_addr *addr = &race->answer->addrs[i];
    struct io *io = &race->ios[i];
    io->pollable.fd = -1;
    race->next_at_ns = clock_add_ns(loop_now_ns(), ATTEMPT_DELAY_NS);
    int fd = sys_socket(addr->u.any.sa_family, SOCK_STREAM, 0);
    if (fd < 0) {
        attempt_failed(race, i, errno);
        return;
    }
    bool is_connecting = false;
    if (sys_connect(fd, &addr->u.any, addr->len) < 0) {
        is_connecting = errno == EINPROGRESS;
        if (!is_connecting) {
            attempt_failed(race, i, errno);
            sys_close(fd);
            return;
        }
    }
    if (io_open(io, fd) < 0) {
        attempt_failed(race, i, err_slot()->errno_value);
        return;
    }
    if (is_connecting)
        io->flags &= ~(unsigned)IO_WRITABLE;
    race->under_way++;
}

/* Looks at what the poller said of an attempt. */
static void attempt_check(struct race *race, unsigned i)
{
    struct io *io = &race->ios[i];
    if (!io_is_open(io) || (io->flags & IO_WRITABLE) == 0)
        return;
    int error = 0;
    socklen_t len = sizeof(error);
    if (sys_getsockopt(io->pollable.fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        error = errno;
    if (error == 0) {
        int fd = io_detach(io);
        race->under_way--;
        race->has_won = io_open(race->winner, fd) == 0;
        if (!race->has_won)
            attempt_failed(race, i, err_slot()->errno_value);
        return;
    }
    attempt_failed(race, i, error);
    race->under_way--;
    io_close(io);
}

static void set_waiter(struct race *race, struct task *task)
{
    for (unsigned i = 0; i < race->started; i++) {
        if (io_is_open(&race->ios[i]))
            race->ios[i].writer = task;
    }
}

static int race_lost(const struct race *race, struct str host)
{
    char text[NET_ADDR_TEXT_BYTES];
    net_addr_format(&race->answer->addrs[race->last_failed], true, text);
    int r = err_set(ERR_CONNECT, FAULT_UPSTREAM, "cannot connect to %.*s (%s): %s",
                    STR_ARG(str_head(host, 100)), text, strerror(race->last_errno));
    err_slot()->errno_value = race->last_errno;
    err_slot()->retry = RETRY_YES;
    return r;
}

static int race_late(const struct race *race, struct str host)
{
    int r = err_set(ERR_TIMEOUT, FAULT_UPSTREAM,
                    "no answer from %.*s in time (%u of %u addresses tried)",
                    STR_ARG(str_head(host, 100)), race->started, race->answer->count);
    err_slot()->retry = RETRY_YES;
    return r;
}

YIELDS static int race_run(struct race *race, struct str host, int64_t deadline_ns)
{
    for (;;) {
        for (unsigned i = 0; i < race->started && !race->has_won; i++)
            attempt_check(race, i);
        if (race->has_won)
            return 0;
        bool has_more = race->started < race->answer->count;
        if (has_more && (race->under_way == 0 || loop_now_ns() >= race->next_at_ns)) {
            attempt_start(race);
            continue;
        }
        if (race->under_way == 0)
            return race_lost(race, host);
        set_waiter(race, task_self());
        int r = task_park(has_more ? MIN(deadline_ns, race->next_at_ns) : deadline_ns);
        set_waiter(race, NULL);
        if (r == -ERR_TIMEOUT && loop_now_ns() >= deadline_ns)
            return race_late(race, host);
        if (r == -ERR_CANCELED)
            return r;
    }
}

static void set_options(int fd)
{
    /* Dead peers are noticed after two minutes of silence, and middleboxes see life in ours while a
     * model thinks. */
    static const struct {
        int level, name, value;
    } options[] = {
        {IPPROTO_TCP, TCP_NODELAY, 1},   {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, 60}, {IPPROTO_TCP, TCP_KEEPINTVL, 15},
        {IPPROTO_TCP, TCP_KEEPCNT, 4},
    };
    for (size_t i = 0; i < ARRAY_LEN(options); i++)
        sys_setsockopt(fd, options[i].level, options[i].name, &options[i].value,
                       sizeof(options[i].value));
}

/* Connects to one of the addresses; on success `io` is open. */
YIELDS static int connect_any(struct io *io, const struct dns_answer *answer, struct str host,
                              int64_t deadline_ns)
{
    struct race race = {.winner = io, .answer = answer};
    int r = race_run(&race, host, deadline_ns);
    struct err why = *err_slot();
    for (unsigned i = 0; i < race.started; i++)
        io_close(&race.ios[i]);
    if (r < 0)
        *err_slot() = why;
    else
        set_options(io->pollable.fd);
    return r;
}

/* --- the whole way ------------------------------------------------------------------------------
 */

/* Resolves and connects; `policy` NULL = every address may be connected to. */
YIELDS static int reach(struct io *io, struct str host, uint16_t port,
                        const struct dial_policy *policy, int64_t deadline_ns,
                        struct dial_timing *timing)
{
    struct dns_answer answer;
    int64_t start_ns = clock_mono_ns();
    int r = dns_resolve(host, port, &answer, deadline_ns);
    int64_t resolved_ns = clock_mono_ns();
    timing->dns_ns = resolved_ns - start_ns;
    if (r == 0 && policy != NULL)
        r = guard(policy, host, &answer);
    if (r < 0)
        return r;
    interleave(&answer);
    r = connect_any(io, &answer, host, deadline_ns);
    timing->connect_ns = clock_mono_ns() - resolved_ns;
    return r;
}

/* What can be said of a target whose name only the proxy resolves. */
static int guard_unresolved(const struct dial_target *target)
{
    struct dns_answer answer = {.count = 1};
    struct str host = target->host;
    if (host.len > 0 && host.ptr[host.len - 1] == '.')
        host.len--;
    bool is_local = str_ieq(host, STR("localhost")) ||
                    (host.len > 10 && str_ieq(str_skip(host, host.len - 10), STR(".localhost")));
    if (!net_addr_parse(is_local ? STR("127.0.0.1") : target->host, target->port, &answer.addrs[0]))
        return 0;
    return guard(&target->policy, target->host, &answer);
}

YIELDS static int reach_by_proxy(struct io *io, const struct dial_target *target,
                                 int64_t deadline_ns, struct dial_timing *timing)
{
    const struct dial_proxy *proxy = &target->proxy;
    struct tls_context *tls = proxy->tls != NULL ? proxy->tls : target->tls;
    int r = guard_unresolved(target);
    if (r < 0)
        return r;
    if (proxy->is_tls && tls == NULL)
        return err_set(ERR_INVALID, FAULT_GATEWAY, "a TLS proxy needs TLS settings");
    r = reach(io, proxy->host, proxy->port, NULL, deadline_ns, timing);
    int64_t start_ns = clock_mono_ns();
    if (r == 0 && proxy->is_tls)
        r = tls_connect_http1(io, tls, proxy->host, deadline_ns);
    if (r == 0)
        r = tunnel_open(io, target->host, target->port, proxy->authorization, deadline_ns);
    timing->connect_ns += clock_mono_ns() - start_ns;
    return r < 0 ? err_wrap("proxy %.*s", STR_ARG(str_head(proxy->host, 100))) : 0;
}

/* A connection that broke or was slow before anything was asked of it may be tried again. */
static void mark_retry(int r)
{
    struct err *e = err_slot();
    if (r == -ERR_TIMEOUT || r == -ERR_RESET || r == -ERR_CLOSED || r == -ERR_IO)
        e->retry = RETRY_YES;
    if (r != -ERR_CANCELED && e->fault == FAULT_NONE)
        e->fault = FAULT_UPSTREAM;
}

/* TLS has the time between the two deadlines, counted from its own start, and no longer than until
 * its own. */
static int64_t own_tls_deadline(int64_t connect_deadline_ns, int64_t tls_deadline_ns)
{
    int64_t own_ns = tls_deadline_ns - connect_deadline_ns;
    if (own_ns <= 0 || tls_deadline_ns == CLOCK_NEVER)
        return tls_deadline_ns;
    return MIN(tls_deadline_ns, clock_add_ns(clock_mono_ns(), own_ns));
}

YIELDS int dial(struct io *io, const struct dial_target *target, int64_t connect_deadline_ns,
                int64_t tls_deadline_ns, struct dial_timing *timing)
{
    struct dial_timing unused = {0};
    timing = timing != NULL ? timing : &unused;
    *timing = (struct dial_timing){0};
    *io = (struct io){.pollable.fd = -1};
    int r = target->proxy.host.len > 0 ? reach_by_proxy(io, target, connect_deadline_ns, timing)
                                       : reach(io, target->host, target->port, &target->policy,
                                               connect_deadline_ns, timing);
    if (r == 0 && target->tls != NULL) {
        struct str name = target->tls_host.len > 0 ? target->tls_host : target->host;
        int64_t start_ns = clock_mono_ns();
        int64_t deadline_ns = own_tls_deadline(connect_deadline_ns, tls_deadline_ns);
        r = target->is_http1_only ? tls_connect_http1(io, target->tls, name, deadline_ns)
                                  : tls_connect(io, target->tls, name, deadline_ns);
        timing->tls_ns = clock_mono_ns() - start_ns;
    }
    if (r < 0) {
        struct err why = *err_slot();
        io_close(io);
        *err_slot() = why;
        mark_retry(r);
    }
    return r;
}
