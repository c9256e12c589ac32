/*
 * Watching the files that a config was made of, by inotify on their folders: editors replace files,
 * and Kubernetes swaps a symbolic link above them.
 * Main thread.
 * Nothing yields.
 * The watch owns its descriptor and copies of the paths.
 * -ERR_IO when the kernel gives no watch: a reload by signal still works.
 */
#ifndef WEIR_CONTROL_WATCH_H
#define WEIR_CONTROL_WATCH_H

#include "control/config.h"

struct watch;

/* NULL with the error slot set. */
struct watch *watch_new(void);
void watch_free(struct watch *watch);
/* To be polled for reading. */
int watch_fd(const struct watch *watch);

/* Watches these files from now on instead. Those that were watched before keep what is remembered
 * of them; of others it is remembered what they are now. */
int watch_set(struct watch *watch, const struct config_files *files);
/* Remembers anew what all of them are: to be called before they are read, so that a change while
 * they are read is seen as one. */
void watch_remember(struct watch *watch);
/* Reads what happened; true when it may concern one of the files. */
bool watch_take_events(struct watch *watch);

enum watch_state { WATCH_SAME, WATCH_CHANGED, WATCH_GONE };
/* Whether a file is another one than remembered, or (the first of them) is not there. */
enum watch_state watch_compare(const struct watch *watch);

#endif
