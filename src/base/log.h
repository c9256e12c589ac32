/*
 * Diagnostic log: what the operator should know that is not a request's line.
 * Any thread. Nothing yields; formatting happens on the caller's stack (bounded to 1 KiB).
 * The sink is replaceable: until one is set, lines go to stderr directly.
 * A line is one JSON object: time, level, area, message. Never a body or a secret.
 * Cannot fail; a sink that is full drops and counts.
 */
#ifndef WEIR_BASE_LOG_H
#define WEIR_BASE_LOG_H

#include "base/str.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

void log_event(enum log_level level, const char *area, const char *format, ...) PRINTF_LIKE(3, 4);
/* Events below it are not formatted. Default LOG_INFO. */
void log_set_level(enum log_level level);
enum log_level log_level(void);

/* Gets whole lines with their newline. NULL = stderr. */
typedef void log_sink_fn(struct str line);
void log_set_sink(log_sink_fn *fn);

/* True at most `per_minute` times a minute for this place; *suppressed gets how many were held
 * back before. For things that a peer can cause. */
struct log_limit {
    int64_t minute;
    unsigned seen;
};
bool log_allow(struct log_limit *limit, unsigned per_minute, unsigned *suppressed);

#endif
