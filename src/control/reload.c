#include <stdlib.h>

#include "base/log.h"
#include "control/config_keys.h"
#include "control/load.h"
#include "control/notify.h"
#include "control/server_private.h"
#include "observe/access_log.h"
#include "observe/metrics.h"

/* --- what a reload cannot change ----------------------------------------------------------------
 */

static void warn_of_restart_keys(const struct config_section *section, const char *path,
                                 const void *before, const void *after)
{
    for (uint32_t i = 0; i < section->count; i++) {
        const struct config_key *key = &section->keys[i];
        if (key->type == CONFIG_SECTION)
            warn_of_restart_keys(key->section, key->name, before, after);
        else if (key->is_restart && memcmp((const char *)before + key->offset,
                                           (const char *)after + key->offset, key->width) != 0)
            log_event(LOG_WARN, "config", "%s%s%s takes effect at the next start or upgrade", path,
                      path[0] != '\0' ? "." : "", key->name);
    }
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* --- carrying out -------------------------------------------------------------------------------
 */

static void swap(struct worker *worker, void *arg)
{
    gateway_thread_swap(worker->gateway, arg);
}

/* All that can fail has been tried when this begins. */
static void carry_out(struct server *server, struct snapshot *next, struct listening_plan *plan)
{
    const struct settings *before = snapshot_settings(server->snapshot);
    const struct settings *after = snapshot_settings(next);
    warn_of_restart_keys(&config_root, "", before, after);
    log_set_level(after->log_level);
    workers_run(&server->workers, swap, next);
    if (listening_commit(server->listening, plan, &server->workers) < 0)
        log_event(LOG_ERROR, "config", "%s", err_slot()->message);
    snapshot_unref(server->snapshot);
    server->snapshot = next;
    metrics_set_generation(snapshot_generation(next), clock_wall_ns());
}

/* 0 when the new snapshot is the one that is served. */
static int try_next(struct server *server, struct snapshot *next)
{
    const struct settings *before = snapshot_settings(server->snapshot);
    const struct settings *after = snapshot_settings(next);
    struct listening_plan *plan;
    int r = listening_prepare(server->listening, after, NULL, &plan);
    if (r < 0)
        return r;
    if (!same_text(before->access_log, after->access_log)) {
        r = access_log_open(after->access_log, server->threads);
        if (r < 0) {
            listening_abandon(plan);
            return r;
        }
    }
    carry_out(server, next, plan);
    return 0;
}

static void log_problems(const struct config_report *report)
{
    for (unsigned i = 0; i < report->count; i++) {
        struct buf text = BUF_INIT;
        config_problem_write(report, &report->problems[i], &text);
        log_event(report->problems[i].is_warning ? LOG_WARN : LOG_ERROR, "config", "%.*s",
                  STR_ARG(buf_str(&text)));
        buf_fini(&text);
    }
}

void server_watch_files(struct server *server, struct config_files *files)
{
    if (server->watch != NULL && watch_set(server->watch, files) < 0)
        log_event(LOG_WARN, "config", "%s: use SIGHUP after a change", err_slot()->message);
    config_files_free(files);
    /* Between the old watch and the new one nobody looked. */
    if (server->watch != NULL && watch_compare(server->watch) == WATCH_CHANGED)
        server->reload_due_ns = clock_add_ns(clock_mono_ns(), RELOAD_QUIET_NS);
}

/* Reads, checks and carries out; false when nothing has changed. */
static bool load_next(struct server *server, struct config_report *report)
{
    struct config_files files = {.count = 0};
    if (server->watch != NULL)
        watch_remember(server->watch);
    struct snapshot *next =
        load_snapshot(server->options->config, &server->config,
                      snapshot_generation(server->snapshot) + 1, report, &files);
    /* Also after an error: it may be mended in any of them. */
    server_watch_files(server, &files);
    log_problems(report);
    if (next == NULL)
        return false;
    if (try_next(server, next) == 0)
        return true;
    log_event(LOG_ERROR, "config", "%s", err_slot()->message);
    snapshot_unref(next);
    return false;
}

void server_reload(struct server *server)
{
    const char *path = server->options->config;
    server->reload_due_ns = CLOCK_NEVER;
    if (path == NULL) {
        log_event(LOG_INFO, "config", "nothing to read again: the config is the environment");
        return;
    }
    struct arena *arena = arena_new(4096);
    if (arena == NULL) {
        log_event(LOG_ERROR, "config", "no memory for reading the config");
        return;
    }
    struct config_report report;
    config_report_init(&report, arena, str_c(path));
    notify_reloading();
    bool is_loaded = load_next(server, &report);
    metrics_count(is_loaded ? METRIC_CONFIG_RELOADS_OK : METRIC_CONFIG_RELOADS_FAILED, 1);
    unsigned long long generation = snapshot_generation(server->snapshot);
    if (is_loaded)
        log_event(LOG_INFO, "config", "%s is loaded, generation %llu", path, generation);
    else
        log_event(LOG_ERROR, "config", "%s was refused; generation %llu goes on", path, generation);
    char status[256];
    server_status(server, status, sizeof(status));
    notify_ready(status);
    arena_free(arena);
}

void server_reload_if_changed(struct server *server)
{
    server->reload_due_ns = CLOCK_NEVER;
    enum watch_state state = watch_compare(server->watch);
    if (state == WATCH_CHANGED) {
        server->file_was_gone = false;
        server_reload(server);
    } else if (state == WATCH_GONE && !server->file_was_gone) {
        server->file_was_gone = true;
        log_event(LOG_WARN, "config", "%s is gone; what it said goes on", server->options->config);
    }
}
