/*
 * The access log: one JSON line a request, through a ring a thread and one writer thread.
 * access_log_open/close in the main thread; access_log_write on loop threads.
 * Nothing yields or blocks: a full ring drops the line and counts it.
 * The record is copied into the ring; formatting happens on the writer thread.
 * open: -ERR_IO with the path and the reason.
 */
#ifndef WEIR_OBSERVE_ACCESS_LOG_H
#define WEIR_OBSERVE_ACCESS_LOG_H

#include "base/err.h"
#include "observe/record.h"

/*
 * `target`: a path (appended to, reopened on access_log_reopen for rotation), "stdout", "stderr",
 * or NULL = off. `threads`: how many threads will write; lines of any further ones are dropped.
 * Diagnostic lines of base/log go through the same writer to stderr; whoever is about to abort
 * calls log_set_sink(NULL) first, so that the last words are written at once. May be called again
 * with another target (reload); the lines of the old one are written first.
 */
int access_log_open(const char *target, unsigned threads);
void access_log_reopen(void);
/* Writes what is in the rings, at most for `max_wait_ns`, and stops the writer. Threads that write
 * must have ended. */
void access_log_close(int64_t max_wait_ns);

void access_log_write(const struct request_record *record);
/* Lines dropped because the sink was too slow or failed. */
uint64_t access_log_dropped(void);
uint64_t access_log_written(void);

/* The line of a record, for the writer and for tests. */
struct buf;
void access_log_format(struct buf *out, const struct request_record *record);

#endif
