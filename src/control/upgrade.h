/*
 * Replacing the running program by the one that is now at its path, without refusing a connection:
 * the new process gets the listening sockets, says when it is ready, and then this one ends.
 * Main thread.
 * Nothing yields.
 * An upgrade owns the pipe on which its child tells that it is ready.
 * -ERR_x with the error slot set when the new process cannot be started.
 */
#ifndef WEIR_CONTROL_UPGRADE_H
#define WEIR_CONTROL_UPGRADE_H

#include "control/listening.h"

/* How long the new process may take to be ready. */
#define UPGRADE_TIMEOUT_NS (30 * NS_PER_SEC)

struct upgrade {
    pid_t child;         /* 0 = none is under way */
    int pipe;            /* to be polled for reading while one is */
    int64_t deadline_ns; /* for the child to be ready */
};

enum upgrade_state { UPGRADE_PENDING, UPGRADE_READY, UPGRADE_FAILED };

/* Starts the program anew with the arguments of this one. */
int upgrade_start(struct upgrade *upgrade, const struct listening *listening, char *const *argv);
/* Reads the pipe. READY: the child serves. FAILED: it is gone, and why is logged. */
enum upgrade_state upgrade_check(struct upgrade *upgrade);
/* Ends a child that has not become ready. */
void upgrade_cancel(struct upgrade *upgrade);

/* In the new process: whether there is an older one that waits, and telling it. */
bool upgrade_is_successor(void);
void upgrade_tell_ready(void);

#endif
