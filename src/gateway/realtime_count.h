/*
 * How many realtime sessions each virtual key has open, over all threads.
 * Any thread; takes a lock for a few instructions, twice a session.
 * Nothing yields.
 * Names are copied; a name is kept while it has a session.
 * -ERR_BUSY at the limit, -ERR_NOMEM.
 */
#ifndef WEIR_GATEWAY_REALTIME_COUNT_H
#define WEIR_GATEWAY_REALTIME_COUNT_H

#include "base/str.h"

/* Counts a session of the key in; `most` 0 = no bound. Each 0 wants its realtime_count_leave. */
int realtime_count_enter(struct str key_name, unsigned most);
void realtime_count_leave(struct str key_name);

#endif
