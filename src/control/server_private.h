/*
 * The server from the inside: what start, reload and end work on.
 * Main thread.
 * Nothing yields.
 * The server owns all of it.
 * As server.h.
 */
#ifndef WEIR_CONTROL_SERVER_PRIVATE_H
#define WEIR_CONTROL_SERVER_PRIVATE_H

#include "control/listening.h"
#include "control/server.h"
#include "control/upgrade.h"
#include "control/watch.h"

enum { ACTIVATED_MAX = 64 };

/* A changed file is read when nothing has happened to it for so long: editors write in steps. */
#define RELOAD_QUIET_NS (150 * NS_PER_MS)

struct server {
    const struct server_options *options;
    struct net_addr activated[ACTIVATED_MAX]; /* what config.activated points to */
    struct config_options config;
    struct snapshot *snapshot;
    unsigned threads;
    struct workers workers;
    struct listening *listening;
    struct watch *watch; /* NULL = there is nothing to watch, or no way to */
    struct upgrade upgrade;
    int signal_fd;
    int64_t reload_due_ns; /* CLOCK_NEVER = no file has changed */
    bool file_was_gone;
};

/* Reads the config again; what is wrong with it is logged, and nothing changes then. */
void server_reload(struct server *server);
/* The watch told of a change: looks whether it is one, and reloads then. */
void server_reload_if_changed(struct server *server);
/* Watches these files, and takes the list. */
void server_watch_files(struct server *server, struct config_files *files);

/* Tells on stderr where weir listens and what it offers. */
void server_say_hello(const struct server *server);
/* "serving on http://..., generation 3", for the service manager. */
void server_status(const struct server *server, char *out, size_t cap);

#endif
