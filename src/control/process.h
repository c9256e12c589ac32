/*
 * The process as the kernel sees it: its limits, its processors, its pid file, its program's path.
 * Main thread, before other threads are started (except process_pid_file_*).
 * Nothing yields.
 * Strings returned belong to the module.
 * What cannot be had is logged or returned as -ERR_IO with the error slot set.
 */
#ifndef WEIR_CONTROL_PROCESS_H
#define WEIR_CONTROL_PROCESS_H

#include <sys/types.h>

#include "base/str.h"

/* Remembers where the program is, as it was called: an upgrade runs what is there then. */
void process_remember_program(const char *argv0);
/* The absolute path, symbolic links kept; "/proc/self/exe" when it cannot be found. */
const char *process_program(void);

/* As many open files as the hard limit allows. */
void process_raise_file_limit(void);
/* No core dumps and no reading of this process's memory by others: it holds secrets.
 * WEIR_ALLOW_CORE=1 leaves both as they are. */
void process_forbid_dumps(void);

/* Processors that this process may use: its affinity mask, cut to the control group's quota. At
 * least 1. */
unsigned process_processors(void);
/* What a control group's quota and period are worth in processors, rounded up; 0 = no bound. */
unsigned process_quota(struct str quota, struct str period);

/* Writes the pid into the file, by a rename so that a reader sees the old or the new one whole. */
int process_pid_file_write(const char *path);
/* Removes the file if it still names this process. */
void process_pid_file_remove(const char *path);
/* The pid in the file; 0 when there is none. */
pid_t process_pid_file_read(const char *path);

#endif
