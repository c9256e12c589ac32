/*
 * Telling the service manager how it goes: sd_notify(3)'s protocol, one datagram a message.
 * Main thread.
 * Nothing yields; a manager that does not listen costs nothing.
 * Owns nothing.
 * Failures are ignored: the manager has its own time limits.
 */
#ifndef WEIR_CONTROL_NOTIFY_H
#define WEIR_CONTROL_NOTIFY_H

#include <sys/types.h>

/* READY=1 with MAINPID, which an upgrade changes. */
void notify_ready(const char *status);
/* RELOADING=1 with the time, as Type=notify-reload wants it; notify_ready follows. */
void notify_reloading(void);
void notify_stopping(void);
/* The service goes on as another process: nothing more is said by this one. */
void notify_hand_over(pid_t successor);

#endif
