/*
 * The life of the process: start, reload, upgrade, drain, end. The main thread is the control
 * thread; it takes the signals and watches the config, and never serves a request.
 * Main thread.
 * server_run blocks until the process is to end.
 * The options belong to the caller.
 * Returns an exit status; what went wrong has been told on stderr or in the log.
 *
 *   SIGTERM, SIGINT  drain and end; the second one ends at once
 *   SIGHUP           read the config again
 *   SIGUSR1          open the access log anew (after a rotation)
 *   SIGUSR2          hand over to the program that is at the same path now
 */
#ifndef WEIR_CONTROL_SERVER_H
#define WEIR_CONTROL_SERVER_H

#include "control/config.h"

struct server_options {
    const char *config; /* NULL = the environment */
    const char *const *listen;
    unsigned listen_count;
    unsigned threads; /* 0 = as the config says */
    bool print_port;
    const char *pid_file; /* NULL = none */
    char *const *argv;    /* for an upgrade */
};

int server_run(const struct server_options *options);

/* Says what server_run would say of the config, and a summary when it is right. */
int server_check(const char *config);

#endif
