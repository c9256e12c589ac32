/*
 * Time: monotonic nanoseconds for every wait and duration, wall time for what people read.
 * Any thread; nothing yields; owns nothing; cannot fail.
 * The seam of the simulation: clock_fake makes this thread see a time that the test moves.
 * Deadlines are absolute monotonic nanoseconds; CLOCK_NEVER is one that does not come.
 * A loop thread that needs "now" once a turn uses loop_now_ns (rt/loop.h) instead.
 */
#ifndef WEIR_BASE_CLOCK_H
#define WEIR_BASE_CLOCK_H

#include "base/defs.h"

#define CLOCK_NEVER INT64_MAX
#define NS_PER_US INT64_C(1000)
#define NS_PER_MS INT64_C(1000000)
#define NS_PER_SEC INT64_C(1000000000)

int64_t clock_mono_ns(void);
/* Nanoseconds since 1970-01-01T00:00:00Z. */
int64_t clock_wall_ns(void);

/* now + delta without overflow; a delta of CLOCK_NEVER (or <= 0 meaning "none" at the caller's
 * choice) is not special here. */
int64_t clock_add_ns(int64_t now_ns, int64_t delta_ns);

/* From now on this thread's clocks stand at these values until moved or set to real again. */
void clock_fake(int64_t mono_ns, int64_t wall_ns);
void clock_fake_advance(int64_t delta_ns);
void clock_real(void);

/* "2026-11-21T03:58:23.123Z": writes 24 bytes and a NUL. */
#define CLOCK_ISO_LEN 24
void clock_format_iso(int64_t wall_ns, char out[CLOCK_ISO_LEN + 1]);
/* "Sat, 21 Nov 2026 03:58:23 GMT" (IMF-fixdate, RFC 9110 section 5.6.7): 29 bytes and a NUL. */
#define CLOCK_HTTP_LEN 29
void clock_format_http(int64_t wall_ns, char out[CLOCK_HTTP_LEN + 1]);

#endif
