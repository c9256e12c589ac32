#include "control/server.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "control/load.h"
#include "control/notify.h"
#include "control/process.h"
#include "control/server_private.h"
#include "gateway/bridge.h"
#include "observe/access_log.h"
#include "observe/metrics.h"
#include "route/health.h"
#include "rt/helper.h"
#include "rt/sys.h"
#include "rt/watchdog.h"

enum {
    HELPERS = 2,
    HELPER_QUEUE = 1024,
    WATCHDOG_WARN_MS = 100,
    WATCHDOG_ABORT_MS = 10000,
    /* While requests end, how often it is looked whether all have. */
    DRAIN_LOOK_MS = 5,
};
/* For the last words of requests that were cancelled. */
#define LAST_WORDS_NS (2 * NS_PER_SEC)
#define LOG_FLUSH_NS NS_PER_SEC

static int fail(void)
{
    fprintf(stderr, "weir: %s\n", err_slot()->message);
    return 1;
}

/* --- signals -------------------------------------------------------------------------------------
 */

/* Before any other thread is started, so that none of them takes the signals. */
static int take_signals(void)
{
    static const int taken[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < ARRAY_LEN(taken); i++)
        sigaddset(&set, taken[i]);
    signal(SIGPIPE, SIG_IGN);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return err_set_errno(ERR_IO, FAULT_GATEWAY, "sigprocmask");
    int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return fd >= 0 ? fd : err_set_errno(ERR_IO, FAULT_GATEWAY, "signalfd");
}

/* The next signal that came; 0 when there is none. */
static int next_signal(const struct server *server)
{
    struct signalfd_siginfo info;
    return sys_read(server->signal_fd, &info, sizeof(info)) == sizeof(info) ? (int)info.ssi_signo
                                                                            : 0;
}

/* --- the end -------------------------------------------------------------------------------------
 */

static void announce_drain(struct worker *worker, void *arg)
{
    (void)worker;
    (void)arg;
    http_server_announce_drain();
}

static void drain_worker(struct worker *worker, void *arg)
{
    (void)worker;
    (void)arg;
    http_server_drain();
    bridge_drain();
}

static void cancel_worker(struct worker *worker, void *arg)
{
    (void)worker;
    (void)arg;
    http_server_cancel_all();
}

/* Waits until fn says 0. False when the time is up or a second signal came (then *is_urgent). */
static bool wait_for_none(struct server *server, int64_t (*fn)(const struct workers *),
                          int64_t max_wait_ns, bool *is_urgent)
{
    int64_t end_ns = clock_add_ns(clock_mono_ns(), max_wait_ns);
    while (fn(&server->workers) > 0) {
        if (*is_urgent || clock_mono_ns() >= end_ns)
            return false;
        struct pollfd signals = {.fd = server->signal_fd, .events = POLLIN};
        poll(&signals, 1, DRAIN_LOOK_MS);
        for (int number; (number = next_signal(server)) != 0;) {
            if (number == SIGUSR1)
                access_log_reopen();
            else if (number == SIGTERM || number == SIGINT)
                *is_urgent = true;
        }
    }
    return true;
}

/*
 * Lets the requests that run end. `has_successor`: another process accepts from the same sockets,
 * else what waits in their queues is still served here.
 */
static void drain(struct server *server, bool has_successor)
{
    const struct settings *settings = snapshot_settings(server->snapshot);
    bool is_urgent = false;
    gateway_set_draining(true);
    workers_run(&server->workers, announce_drain, NULL);
    listening_stop(server->listening, &server->workers, !has_successor);
    /* Connections that one thread has accepted for another. */
    wait_for_none(server, workers_incoming, LAST_WORDS_NS, &is_urgent);
    workers_run(&server->workers, drain_worker, NULL);
    log_event(LOG_INFO, "process", "not accepting any more; %lld connections are left to end",
              (long long)workers_load(&server->workers));
    if (wait_for_none(server, workers_load, settings->timeouts.drain, &is_urgent))
        return;
    log_event(LOG_WARN, "process", "%s; %lld connections are ended now",
              is_urgent ? "told to end at once" : "the time for draining is over",
              (long long)workers_load(&server->workers));
    workers_run(&server->workers, cancel_worker, NULL);
    wait_for_none(server, workers_load, LAST_WORDS_NS, &is_urgent);
}

/* --- start ---------------------------------------------------------------------------------------
 */

/* Reads the config and says what is wrong with it, in plain words: a person or a service manager
 * has just started the program. */
static int load_first(struct server *server)
{
    const char *path = server->options->config;
    struct arena *arena = arena_new(4096);
    if (arena == NULL)
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "out of memory");
    struct config_report report;
    struct config_files files = {.count = 0};
    struct buf text = BUF_INIT;
    config_report_init(&report, arena, str_c(path));
    server->snapshot = load_snapshot(path, &server->config, 1, &report, &files);
    config_report_write(&report, &text);
    fwrite(text.ptr != NULL ? text.ptr : "", 1, text.len, stderr);
    buf_fini(&text);
    arena_free(arena);
    if (path != NULL)
        server->watch = watch_new();
    server_watch_files(server, &files);
    return server->snapshot != NULL ? 0 : err_set(ERR_INVALID, FAULT_GATEWAY, "not started");
}

static int open_log(struct server *server)
{
    const struct settings *settings = snapshot_settings(server->snapshot);
    log_set_level(settings->log_level);
    metrics_init(server->threads, settings->metrics_series, clock_wall_ns());
    metrics_set_generation(1, clock_wall_ns());
    health_init(HEALTH_ENTRIES_DEFAULT);
    int r = helper_start(HELPERS, HELPER_QUEUE);
    return r < 0 ? r : access_log_open(settings->access_log, server->threads);
}

/* So that the first request does not wait while the system's certificates are read. */
static void preload_tls(const struct settings *settings)
{
    for (unsigned i = 0; i < settings->provider_count; i++) {
        const struct provider *p = &settings->providers[i];
        if (p->url_is_tls && !p->is_simulated && p->ca_file == NULL) {
            tls_preload();
            return;
        }
    }
}

static int start_serving(struct server *server, struct inheritance *inheritance)
{
    const struct settings *settings = snapshot_settings(server->snapshot);
    struct listening_plan *plan;
    server->listening = listening_new(server->threads);
    if (server->listening == NULL)
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "out of memory");
    int r = listening_prepare(server->listening, settings, inheritance, &plan);
    if (r < 0)
        return r;
    r = workers_start(&server->workers, server->threads, server->snapshot);
    if (r < 0) {
        struct err failure = *err_slot();
        listening_abandon(plan);
        *err_slot() = failure;
        return r;
    }
    r = listening_commit(server->listening, plan, &server->workers);
    if (r == 0)
        watchdog_start(server->workers.loops, server->threads, WATCHDOG_WARN_MS, WATCHDOG_ABORT_MS);
    return r;
}

/* Tells everybody who waits for it that weir serves now. */
static int tell_ready(struct server *server)
{
    const struct server_options *options = server->options;
    bool is_successor = upgrade_is_successor();
    if (options->pid_file != NULL) {
        int r = process_pid_file_write(options->pid_file);
        if (r < 0)
            return r;
    }
    if (options->print_port && !is_successor && listening_count(server->listening) > 0) {
        bool has_tls;
        printf("%u\n", net_addr_port(listening_address(server->listening, 0, &has_tls)));
        fflush(stdout);
    }
    char status[256];
    server_status(server, status, sizeof(status));
    server_say_hello(server);
    notify_ready(status);
    upgrade_tell_ready();
    return 0;
}

static int start(struct server *server)
{
    struct inheritance inheritance;
    process_raise_file_limit();
    mem_reuse_large_blocks();
    process_forbid_dumps();
    int r = inheritance_init(&inheritance);
    if (r < 0)
        return r;
    server->config.activated = server->activated;
    server->config.activated_count =
        inheritance_activated(&inheritance, server->activated, ACTIVATED_MAX);
    r = load_first(server);
    if (r == 0) {
        unsigned wanted = snapshot_settings(server->snapshot)->threads;
        server->threads = wanted > 0 ? wanted : process_processors();
        r = open_log(server);
    }
    if (r == 0)
        r = start_serving(server, &inheritance);
    inheritance_fini(&inheritance);
    if (r == 0)
        r = tell_ready(server);
    if (r == 0)
        preload_tls(snapshot_settings(server->snapshot));
    return r;
}

/* --- running -------------------------------------------------------------------------------------
 */

static void begin_upgrade(struct server *server)
{
    if (server->upgrade.child != 0) {
        log_event(LOG_WARN, "upgrade", "one is under way already, as process %d",
                  (int)server->upgrade.child);
        return;
    }
    if (upgrade_start(&server->upgrade, server->listening, server->options->argv) < 0)
        log_event(LOG_ERROR, "upgrade", "%s; going on as before", err_slot()->message);
    else
        log_event(LOG_INFO, "upgrade", "started %s as process %d", process_program(),
                  (int)server->upgrade.child);
}

enum next { GO_ON, END, END_REPLACED };

static enum next on_signal(struct server *server, int number)
{
    switch (number) {
    case SIGTERM:
    case SIGINT:
        return END;
    case SIGHUP:
        server_reload(server);
        break;
    case SIGUSR1:
        access_log_reopen();
        break;
    case SIGUSR2:
        begin_upgrade(server);
        break;
    default:
        break;
    }
    return GO_ON;
}

static enum next on_upgrade(struct server *server)
{
    if (upgrade_check(&server->upgrade) != UPGRADE_READY)
        return GO_ON;
    log_event(LOG_INFO, "upgrade", "process %d serves; this one ends", (int)server->upgrade.child);
    return END_REPLACED;
}

static int wait_ms(const struct server *server)
{
    int64_t due_ns = MIN(server->reload_due_ns, server->upgrade.deadline_ns);
    if (due_ns == CLOCK_NEVER)
        return -1;
    int64_t left_ns = MAX(due_ns - clock_mono_ns(), 0);
    return (int)MIN((left_ns + NS_PER_MS - 1) / NS_PER_MS, 60000);
}

/* Until the process is to end. */
static enum next run(struct server *server)
{
    enum next next = GO_ON;
    while (next == GO_ON) {
        /* poll leaves negative descriptors out. */
        struct pollfd waits[] = {
            {.fd = server->signal_fd, .events = POLLIN},
            {.fd = server->watch != NULL ? watch_fd(server->watch) : -1, .events = POLLIN},
            {.fd = server->upgrade.child != 0 ? server->upgrade.pipe : -1, .events = POLLIN},
        };
        if (poll(waits, ARRAY_LEN(waits), wait_ms(server)) < 0 && errno != EINTR) {
            log_event(LOG_ERROR, "process", "poll: %s", strerror(errno));
            return END;
        }
        for (int number; next == GO_ON && (number = next_signal(server)) != 0;)
            next = on_signal(server, number);
        if (server->watch != NULL && watch_take_events(server->watch))
            server->reload_due_ns = clock_add_ns(clock_mono_ns(), RELOAD_QUIET_NS);
        if (next == GO_ON && server->reload_due_ns <= clock_mono_ns())
            server_reload_if_changed(server);
        if (next == GO_ON && server->upgrade.child != 0)
            next = on_upgrade(server);
    }
    return next;
}

/* Gives back what start took, as far as it got. */
static void finish(struct server *server)
{
    watchdog_stop();
    bool is_clean = workers_stop(&server->workers);
    helper_stop();
    access_log_close(LOG_FLUSH_NS);
    if (server->options->pid_file != NULL)
        process_pid_file_remove(server->options->pid_file);
    if (server->signal_fd >= 0)
        sys_close(server->signal_fd);
    watch_free(server->watch);
    /* What tasks that did not end may still point to is left to the end of the process. */
    if (!is_clean)
        return;
    health_fini();
    listening_free(server->listening);
    snapshot_unref(server->snapshot);
}

int server_run(const struct server_options *options)
{
    struct server server = {
        .options = options,
        .config = {.listen = options->listen,
                   .listen_count = options->listen_count,
                   .threads = options->threads},
        .upgrade.deadline_ns = CLOCK_NEVER,
        .reload_due_ns = CLOCK_NEVER,
    };
    process_remember_program(options->argv[0]);
    server.signal_fd = take_signals();
    int r = server.signal_fd < 0 ? server.signal_fd : start(&server);
    if (r < 0) {
        struct err failure = *err_slot();
        finish(&server);
        *err_slot() = failure;
        return fail();
    }
    enum next next = run(&server);
    upgrade_cancel(next == END ? &server.upgrade : &(struct upgrade){.child = 0});
    if (next == END_REPLACED)
        notify_hand_over(server.upgrade.child);
    else
        notify_stopping();
    drain(&server, next == END_REPLACED);
    finish(&server);
    return 0;
}
