#include "control/listening.h"

#include <unistd.h>

#include "base/mem.h"
#include "rt/listener.h"
#include "rt/sys.h"

/* What a worker's connections of one address are served with; its listener's ctx. */
struct port {
    struct worker *worker;
    struct tls_context *tls; /* changed on the worker's loop */
};

/* One address. It lives as long as the process: connections may be on their way to its ports. */
struct endpoint {
    struct net_addr wanted; /* as the settings say it */
    struct net_addr bound;
    bool is_activated;
    bool is_open;
    unsigned fd_count;
    int *fds;
    struct listener **listeners;   /* one a descriptor, on worker number index % workers */
    struct port *ports;            /* one a worker */
    struct tls_context **next_tls; /* of a plan, one a worker; NULL = plain */
    struct endpoint *next;         /* of all that ever were */
};

struct listening {
    unsigned threads;
    struct endpoint *all;
    struct endpoint **current; /* in the settings' order */
    unsigned count;
};

struct listening_plan {
    struct listening *listening;
    struct endpoint **endpoints;
    unsigned count;
    struct workers *workers; /* while it is carried out */
    _Atomic(int) failed;
};

struct listening *listening_new(unsigned threads)
{
    struct listening *listening = MEM_NEW(struct listening);
    if (listening != NULL)
        listening->threads = threads;
    return listening;
}

/* --- endpoints ----------------------------------------------------------------------------------
 */

static void drop_next_tls(struct endpoint *e, unsigned threads)
{
    for (unsigned i = 0; e->next_tls != NULL && i < threads; i++)
        tls_context_unref(e->next_tls[i]);
    mem_free(e->next_tls);
    e->next_tls = NULL;
}

static void close_sockets(struct endpoint *e)
{
    for (unsigned i = 0; i < e->fd_count; i++)
        sys_close(e->fds[i]);
    e->fd_count = 0;
}

static void endpoint_free(struct endpoint *e, unsigned threads)
{
    close_sockets(e);
    drop_next_tls(e, threads);
    for (unsigned i = 0; e->ports != NULL && i < threads; i++)
        tls_context_unref(e->ports[i].tls);
    mem_free(e->fds);
    mem_free(e->listeners);
    mem_free(e->ports);
    mem_free(e);
}

/* All sockets of that address that were handed over; 0 when there are none. */
static int take_inherited(struct endpoint *e, struct inheritance *inheritance)
{
    for (int fd; (fd = inheritance_take(inheritance, &e->wanted, &e->is_activated)) >= 0;) {
        int *fds = mem_realloc(e->fds, (e->fd_count + 1) * sizeof(*fds));
        if (fds == NULL) {
            sys_close(fd);
            return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for inherited sockets");
        }
        e->fds = fds;
        e->fds[e->fd_count++] = fd;
    }
    if (e->fd_count == 0)
        return 0;
    e->bound.len = sizeof(e->bound.u);
    if (getsockname(e->fds[0], &e->bound.u.any, &e->bound.len) < 0)
        return err_set_errno(ERR_IO, FAULT_GATEWAY, "getsockname");
    return 0;
}

static int open_sockets(struct endpoint *e, unsigned threads)
{
    e->fds = mem_alloc(threads * sizeof(*e->fds));
    if (e->fds == NULL)
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for listeners");
    int r = listen_open(&e->wanted, threads, e->fds, &e->bound);
    if (r == 0)
        e->fd_count = threads;
    return r;
}

static struct endpoint *endpoint_new(const struct net_addr *wanted, unsigned threads,
                                     struct inheritance *inheritance)
{
    struct endpoint *e = MEM_NEW(struct endpoint);
    if (e == NULL) {
        err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for a listener");
        return NULL;
    }
    e->wanted = *wanted;
    int r = inheritance != NULL ? take_inherited(e, inheritance) : 0;
    if (r == 0 && e->fd_count == 0)
        r = open_sockets(e, threads);
    if (r == 0) {
        e->listeners = mem_calloc(e->fd_count, sizeof(struct listener *));
        e->ports = mem_calloc(threads, sizeof(*e->ports));
        if (e->listeners == NULL || e->ports == NULL)
            r = err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for a listener");
    }
    if (r == 0)
        return e;
    endpoint_free(e, threads);
    return NULL;
}

/* A context a thread: they share no lock then. */
static int load_tls(struct endpoint *e, const struct listener_settings *settings, unsigned threads)
{
    if (!settings->has_tls)
        return 0;
    e->next_tls = mem_calloc(threads, sizeof(struct tls_context *));
    if (e->next_tls == NULL)
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for TLS contexts");
    for (unsigned i = 0; i < threads; i++) {
        e->next_tls[i] = tls_server_context_new(&settings->tls);
        if (e->next_tls[i] == NULL)
            return err_wrap("listen %.*s", STR_ARG(settings->text));
    }
    return 0;
}

/* --- plans --------------------------------------------------------------------------------------
 */

/* The endpoint that is open for that address and not in the plan yet. */
static struct endpoint *find_open(const struct listening *listening,
                                  const struct listening_plan *plan, const struct net_addr *wanted)
{
    for (unsigned i = 0; i < listening->count; i++) {
        struct endpoint *e = listening->current[i];
        bool is_planned = false;
        for (unsigned j = 0; j < plan->count; j++)
            is_planned |= plan->endpoints[j] == e;
        if (!is_planned && net_addr_equal(&e->wanted, wanted))
            return e;
    }
    return NULL;
}

static int plan_listener(struct listening *listening, struct listening_plan *plan,
                         const struct listener_settings *settings, struct inheritance *inheritance)
{
    struct endpoint *e = find_open(listening, plan, &settings->addr);
    if (e == NULL)
        e = endpoint_new(&settings->addr, listening->threads, inheritance);
    if (e == NULL)
        return -err_slot()->code;
    plan->endpoints[plan->count++] = e;
    return load_tls(e, settings, listening->threads);
}

int listening_prepare(struct listening *listening, const struct settings *settings,
                      struct inheritance *inheritance, struct listening_plan **plan)
{
    *plan = MEM_NEW(struct listening_plan);
    struct endpoint **endpoints = mem_calloc(settings->listener_count, sizeof(struct endpoint *));
    if (*plan == NULL || endpoints == NULL) {
        mem_free(*plan);
        mem_free(endpoints);
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for listeners");
    }
    (*plan)->listening = listening;
    (*plan)->endpoints = endpoints;
    for (unsigned i = 0; i < settings->listener_count; i++) {
        int r = plan_listener(listening, *plan, &settings->listeners[i], inheritance);
        if (r < 0) {
            struct err failure = *err_slot();
            listening_abandon(*plan);
            *err_slot() = failure;
            return r;
        }
    }
    return 0;
}

void listening_abandon(struct listening_plan *plan)
{
    unsigned threads = plan->listening->threads;
    for (unsigned i = 0; i < plan->count; i++) {
        if (plan->endpoints[i]->is_open)
            drop_next_tls(plan->endpoints[i], threads);
        else
            endpoint_free(plan->endpoints[i], threads);
    }
    mem_free(plan->endpoints);
    mem_free(plan);
}

/* --- carrying out -------------------------------------------------------------------------------
 */

static void on_accept(void *ctx, int fd, const struct net_addr *peer)
{
    const struct port *port = ctx;
    struct gateway_thread *gateway = port->worker->gateway;
    http_serve(fd, peer, port->tls, gateway_http_settings(gateway), gateway_handle, gateway);
}

/* The worker's share of an address's sockets. */
static int start_share(struct endpoint *e, const struct worker *worker,
                       const struct listening_plan *plan)
{
    unsigned count = plan->workers->count;
    void **ctxs = mem_alloc(count * sizeof(void *));
    if (ctxs == NULL)
        return -ERR_NOMEM;
    for (unsigned i = 0; i < count; i++)
        ctxs[i] = &e->ports[i];
    int r = 0;
    for (unsigned i = worker->index; i < e->fd_count; i += count) {
        e->listeners[i] = listener_start(e->fds[i], on_accept, plan->workers->loops, ctxs, count);
        if (e->listeners[i] == NULL)
            r = -ERR_IO;
    }
    mem_free(ctxs);
    return r;
}

/* First on all workers, before any accepts: a connection may be handed to each of them. */
static void set_port(struct worker *worker, void *arg)
{
    const struct listening_plan *plan = arg;
    for (unsigned i = 0; i < plan->count; i++) {
        struct endpoint *e = plan->endpoints[i];
        struct port *port = &e->ports[worker->index];
        tls_context_unref(port->tls);
        port->worker = worker;
        port->tls = e->next_tls != NULL ? e->next_tls[worker->index] : NULL;
        if (e->next_tls != NULL)
            e->next_tls[worker->index] = NULL;
    }
}

static void start_listeners(struct worker *worker, void *arg)
{
    struct listening_plan *plan = arg;
    for (unsigned i = 0; i < plan->count; i++) {
        struct endpoint *e = plan->endpoints[i];
        if (!e->is_open && start_share(e, worker, plan) < 0)
            atomic_store(&plan->failed, 1);
    }
}

struct stop {
    struct endpoint *endpoint;
    unsigned workers;
    bool close_queue;
};

static void stop_share(struct worker *worker, void *arg)
{
    const struct stop *stop = arg;
    struct endpoint *e = stop->endpoint;
    for (unsigned i = worker->index; i < e->fd_count; i += stop->workers) {
        if (e->listeners[i] != NULL)
            listener_stop(e->listeners[i], stop->close_queue);
        else if (stop->close_queue)
            sys_close(e->fds[i]);
        e->listeners[i] = NULL;
    }
}

static void stop_endpoint(struct endpoint *e, struct workers *workers, bool close_queue)
{
    /* The service manager has the socket as well: its queue waits for the next process. */
    struct stop stop = {e, workers->count, close_queue && !e->is_activated};
    workers_run(workers, stop_share, &stop);
    if (stop.close_queue)
        e->fd_count = 0;
    else
        close_sockets(e);
    e->is_open = false;
}

static bool is_in(const struct endpoint *e, struct endpoint *const *list, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (list[i] == e)
            return true;
    }
    return false;
}

int listening_commit(struct listening *listening, struct listening_plan *plan,
                     struct workers *workers)
{
    plan->workers = workers;
    workers_run(workers, set_port, plan);
    workers_run(workers, start_listeners, plan);
    for (unsigned i = 0; i < plan->count; i++) {
        struct endpoint *e = plan->endpoints[i];
        drop_next_tls(e, listening->threads);
        if (!e->is_open) {
            e->is_open = true;
            e->next = listening->all;
            listening->all = e;
        }
    }
    for (unsigned i = 0; i < listening->count; i++) {
        if (!is_in(listening->current[i], plan->endpoints, plan->count))
            stop_endpoint(listening->current[i], workers, true);
    }
    mem_free(listening->current);
    listening->current = plan->endpoints;
    listening->count = plan->count;
    bool is_failed = atomic_load(&plan->failed) != 0;
    mem_free(plan);
    return is_failed ? err_set(ERR_NOMEM, FAULT_GATEWAY, "a thread cannot accept connections") : 0;
}

void listening_stop(struct listening *listening, struct workers *workers, bool close_queues)
{
    for (unsigned i = 0; i < listening->count; i++)
        stop_endpoint(listening->current[i], workers, close_queues);
    listening->count = 0;
}

void listening_free(struct listening *listening)
{
    if (listening == NULL)
        return;
    for (struct endpoint *e = listening->all, *next; e != NULL; e = next) {
        next = e->next;
        endpoint_free(e, listening->threads);
    }
    mem_free(listening->current);
    mem_free(listening);
}

/* --- telling -------------------------------------------------------------------------------------
 */

unsigned listening_count(const struct listening *listening)
{
    return listening->count;
}

const struct net_addr *listening_address(const struct listening *listening, unsigned n,
                                         bool *has_tls)
{
    const struct endpoint *e = listening->current[n];
    *has_tls = e->ports[0].tls != NULL;
    return &e->bound;
}

unsigned listening_describe(const struct listening *listening, struct buf *text, int **fds,
                            struct arena *arena)
{
    unsigned total = 0, n = 0;
    for (unsigned i = 0; i < listening->count; i++)
        total += listening->current[i]->fd_count;
    *fds = arena_alloc(arena, total * sizeof(**fds));
    if (*fds == NULL)
        return 0;
    for (unsigned i = 0; i < listening->count; i++) {
        const struct endpoint *e = listening->current[i];
        inherit_write_entry(text, &e->wanted, e->is_activated, e->fds, e->fd_count);
        memcpy(*fds + n, e->fds, e->fd_count * sizeof(int));
        n += e->fd_count;
    }
    return total;
}
